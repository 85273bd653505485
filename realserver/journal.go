package realserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"ulvs/internal/wholefile"
)

// DefaultState is the journal: what Setup was asked for and what was there before. It is gone after
// a reboot, as is what it is about.
const DefaultState = "/run/ulvs/realserver.json"

// maxFile bounds the files that are read, in bytes: 1024 VIPs take a tenth.
const maxFile = 1 << 20

// Kinds of change.
const (
	kindSysctl   = "sysctl"   // Key had Old and got New
	kindAddress  = "address"  // Key is on Link, or on lo
	kindRoute    = "route"    // Route was added
	kindReplaced = "replaced" // Route was there, and a route took its place
	kindRule     = "rule"     // from Key to Table
	kindUp       = "up"       // link Key was down
	kindMade     = "made"     // link Key was not there
	kindDecap    = "decap"    // link Key got the program
)

// change is one thing that Setup did, with what undoes it.
type change struct {
	ID    string      `json:"id"` // of the part
	Kind  string      `json:"kind"`
	Key   string      `json:"key,omitempty"`
	Link  string      `json:"link,omitempty"`
	Old   string      `json:"old,omitempty"`
	New   string      `json:"new,omitempty"`
	Table int         `json:"table,omitempty"`
	Route *savedRoute `json:"route,omitempty"`
}

func (c *change) same(d *change) bool { return c.ID == d.ID && c.Kind == d.Kind && c.Key == d.Key }

// journal is the state file, held locked.
type journal struct {
	path    string
	lock    *os.File
	Configs []Config `json:"configs"`
	Changes []change `json:"changes"` // in the order in which they were made
}

// open locks the state file and reads it; a missing one is empty.
func open(path string) (*journal, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{path: path, lock: lock}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", lock.Name(), err), lock.Close())
	}
	err = readJSON(path, j)
	if err == nil {
		err = j.validate()
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return j, nil
}

// validate refuses what Setup never writes: the file may be damaged, and undoing acts on it.
func (j *journal) validate() error {
	for i := range j.Configs {
		if err := j.Configs[i].Validate(); err != nil {
			return fmt.Errorf("%s: %w: remove it and set up again", j.path, err)
		}
	}
	for i := range j.Changes {
		if c := &j.Changes[i]; !c.valid() {
			return fmt.Errorf("%s: change %d (%.40q, %.40q) is none of ours: remove it and set up again",
				j.path, i, c.Kind, c.ID)
		}
	}
	return nil
}

func (c *change) valid() bool {
	switch c.Kind {
	case kindSysctl:
		return strings.HasPrefix(c.Key, confDir+"/") && filepath.Clean(c.Key) == c.Key
	case kindAddress:
		p, err := netip.ParsePrefix(c.Key)
		return err == nil && p.IsSingleIP() && (c.Link == "" || c.Link == device4)
	case kindRule:
		_, err := netip.ParseAddr(c.Key)
		return err == nil
	case kindRoute, kindReplaced:
		return c.Route != nil && c.Route.Dst.IsValid()
	case kindUp, kindMade, kindDecap:
		return c.Key != ""
	}
	return false
}

func (j *journal) close() { _ = j.lock.Close() }

// readJSON reads a file into v; a missing one leaves it as it is.
func readJSON(path string, v any) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if info.Size() > maxFile {
		return fmt.Errorf("%s has %d bytes: at most %d; remove it and set up again", path, info.Size(), maxFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("read %s: %w: remove it and set up again", path, err)
	}
	return nil
}

// writeJSON replaces a file in one step.
func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return wholefile.Write(path, append(text, '\n'), 0o644)
}

// save writes the file; a journal of nothing needs none.
func (j *journal) save() error {
	if len(j.Configs)+len(j.Changes) > 0 {
		return writeJSON(j.path, j)
	}
	if err := os.Remove(j.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// note records a change before it is made. What was there before the first one of its kind stays recorded,
// however often it is made again; only for a replaced route the last one counts.
func (j *journal) note(c change) error {
	for i := range j.Changes {
		if !j.Changes[i].same(&c) {
			continue
		}
		if c.Kind == kindReplaced {
			j.Changes[i].Route = c.Route
		}
		j.Changes[i].New = c.New
		return j.save()
	}
	j.Changes = append(j.Changes, c)
	return j.save()
}
