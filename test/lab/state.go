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
	path := statePath(s.Options.Prefix, ".json")
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func removeState(prefix string) error {
	if err := os.Remove(statePath(prefix, ".json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// lock keeps other runs from building or removing the same lab until unlock. It
// waits for one that is at it, as long as ctx lets it.
func lock(ctx context.Context, prefix string) (unlock func(), err error) {
	if err := os.MkdirAll(StateDir, 0o755); err != nil {
		return nil, err
	}
	path := statePath(prefix, ".lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(lockStep)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for another run that holds %s: %w", path, ctx.Err()), f.Close())
		case <-tick.C:
		}
	}
}
