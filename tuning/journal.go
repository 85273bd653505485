package tuning

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"ulvs/internal/wholefile"
)

// DefaultJournal is where apply writes what was there before.
const DefaultJournal = "/var/lib/ulvs/tuning.json"

// journalVersion is that of the file's form.
const journalVersion = 1

// Journal is what was there before the first apply, in the order of the changes.
type Journal struct {
	Version int `json:"version"`
	// BootID is that of the machine's start: none of the settings outlives it, and a journal of an earlier one is over.
	BootID string `json:"boot_id"`
	// Complete says that the apply that wrote it came to its end.
	Complete bool     `json:"complete"`
	Entries  []Before `json:"entries"`
}

// Before is what a setting was before, and what apply made of it.
type Before struct {
	Setting
	Before string `json:"before"`
	// After is empty for what is only kept: queues that go take it with them.
	After string `json:"after,omitempty"`
}

func (j *Journal) entry(s Setting) *Before {
	for i := range j.Entries {
		if j.Entries[i].Setting == s {
			return &j.Entries[i]
		}
	}
	return nil
}

// Store keeps a journal.
type Store interface {
	// Load returns the journal; nil if there is none.
	Load() (*Journal, error)
	// Save returns when the journal would survive a power cut.
	Save(j *Journal) error
	Remove() error
}

// FileStore is a Store in one file.
type FileStore struct{ Path string }

// Load reads the file.
func (s FileStore) Load() (*Journal, error) {
	text, err := os.ReadFile(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read the tuning journal: %w", err)
	}
	return parseJournal(s.Path, text)
}

func parseJournal(path string, text []byte) (*Journal, error) {
	var j Journal
	if err := json.Unmarshal(text, &j); err != nil {
		return nil, fmt.Errorf("the tuning journal %s is damaged, nothing is changed; set the machine back by a restart, "+
			"then remove the file: %w", path, err)
	}
	if j.Version != journalVersion {
		return nil, fmt.Errorf("the tuning journal %s has version %d, this ulvs knows %d: undo with the ulvs that wrote it",
			path, j.Version, journalVersion)
	}
	return &j, nil
}

// Save writes a new file and puts it in the place of the old one.
func (s FileStore) Save(j *Journal) error {
	text, err := json.MarshalIndent(j, "", " ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(s.Path), 0o755)
	}
	if err == nil {
		err = wholefile.Write(s.Path, append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the tuning journal: %w", err)
	}
	return nil
}

// Remove removes the file.
func (s FileStore) Remove() error {
	if err := os.Remove(s.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the tuning journal: %w", err)
	}
	return wholefile.SyncFolder(filepath.Dir(s.Path))
}

// Lock keeps other ulvs from tuning until the result is called. It waits for nobody.
func (s FileStore) Lock() (unlock func(), err error) {
	folder := filepath.Dir(s.Path)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("make a place for the tuning journal: %w", err)
	}
	d, err := os.Open(folder)
	if err != nil {
		return nil, fmt.Errorf("lock the tuning journal: %w", err)
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("another ulvs is tuning this machine (%s is locked): wait for it", folder)
	}
	return func() { _ = d.Close() }, nil
}
