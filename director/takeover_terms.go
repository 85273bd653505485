package director

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"ulvs/internal/wholefile"
)

// termStore keeps the terms that this director voted in over a crash: a vote is worth nothing if its director
// forgets it, and gives the same term to two others.
type termStore struct {
	path string
	file termFile
}

// termFile is what the file says.
type termFile struct {
	Node  string            `json:"node"`
	Terms map[string]uint32 `json:"terms"` // by unit
}

const (
	termFileName = "terms.json"
	termFileMax  = 1 << 20
	// abstainFor is how long a director that lost its file keeps out of votes: longer than any vote is under way.
	abstainFor = 10 * time.Second
)

// openTerms reads what was kept in a directory, and makes the directory where there is none. lost says why that is
// not known; then the file is set aside. An error means that nothing can be kept.
func openTerms(dir, node string) (s *termStore, lost, err error) {
	s = &termStore{path: filepath.Join(dir, termFileName), file: termFile{Node: node, Terms: map[string]uint32{}}}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, nil, fmt.Errorf("keep the terms of votes (mode quorum): %w; give node.state_directory", err)
	}
	if lost = s.read(node); lost != nil {
		if err := os.Rename(s.path, s.path+".bad"); err != nil {
			return nil, nil, fmt.Errorf("set %s aside, which is of no use (%w): %w", s.path, lost, err)
		}
	}
	if err := s.write(); err != nil { // now, and not at the first vote
		return nil, nil, err
	}
	return s, lost, nil
}

func (s *termStore) read(node string) error {
	info, err := os.Stat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Size() > termFileMax:
		return fmt.Errorf("%s has %d bytes, more than it can have", s.path, info.Size())
	}
	text, err := os.ReadFile(s.path)
	if err != nil {
		return err
	}
	var f termFile
	if err := json.Unmarshal(text, &f); err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	if f.Node != node {
		return fmt.Errorf("%s is of director %.60q, this one is %q", s.path, f.Node, node)
	}
	for unit, term := range f.Terms {
		s.file.Terms[unit] = term
	}
	return nil
}

// keep writes a term down. When it returns without an error, the term is on the disk.
func (s *termStore) keep(unit string, term uint32) error {
	if term <= s.file.Terms[unit] {
		return nil
	}
	before := s.file.Terms[unit]
	s.file.Terms[unit] = term
	if err := s.write(); err != nil {
		s.file.Terms[unit] = before
		return err
	}
	return nil
}

// write replaces the file: there is always a whole one.
func (s *termStore) write() error {
	text, err := json.Marshal(s.file)
	if err != nil {
		return fmt.Errorf("keep terms: %w", err)
	}
	if err := wholefile.Write(s.path, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("keep terms: %w", err)
	}
	return nil
}
