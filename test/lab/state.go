package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"ulvs/internal/wholefile"
)

// StateDir holds a file for each lab: its options, its lock, its directors' control sockets.
const StateDir = "/run/ulvs-lab"

// lockStep is how often a busy lock is tried again.
const lockStep = 50 * time.Millisecond

// state is what one run leaves for the next. Whose a namespace is does not depend
// on it: that is marked on the namespace.
type state struct {
	Options  Options `json:"options"`
	Complete bool    `json:"complete"`
}

func statePath(prefix, suffix string) string { return filepath.Join(StateDir, prefix+suffix) }

func readState(prefix string) (s state, err error) {
	text, err := os.ReadFile(statePath(prefix, ".json"))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return state{}, fmt.Errorf("read %s: %w", statePath(prefix, ".json"), err)
	}
	return s, nil
}

// writeState replaces the file in one step, so that a crash leaves the old or the new.
func writeState(s state) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return wholefile.Write(statePath(s.Options.Prefix, ".json"), append(text, '\n'), 0o644)
}

// removeState removes every file that belongs to a lab of the prefix but its lock:
// the state, control sockets that killed directors left, drafts of a killed Up.
func removeState(prefix string) error {
	list := []string{statePath(prefix, ".json")}
	for _, pattern := range []string{
		statePath(prefix, "-d[1-9].sock*"), filepath.Join(namespaceDir, draftPrefix+prefix+"-*"),
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		list = append(list, found...)
	}
	for _, path := range list {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// lock keeps other runs from building or removing the same lab until the returned file
// is closed. It waits for one that is at it, as long as ctx lets it.
func lock(ctx context.Context, prefix string) (*os.File, error) {
	if err := os.MkdirAll(StateDir, 0o755); err != nil {
		return nil, err
	}
	tick := time.NewTicker(lockStep)
	defer tick.Stop()
	for {
		f, err := tryLock(statePath(prefix, ".lock"))
		if f != nil || err != nil {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lab %s: wait for another run that is at it: %w", prefix, ctx.Err())
		case <-tick.C:
		}
	}
}

// tryLock returns nil when somebody else has the lock. Down removes the file while it
// holds the lock, so one that was opened before may be locked too late: it is then no
// longer the one that has the name.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, nil
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	ours, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if named, err := os.Stat(path); err != nil || !os.SameFile(ours, named) {
		return nil, f.Close()
	}
	return f, nil
}
