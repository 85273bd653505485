package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"ulvs/sandbox"
)

// confinement takes from the process what it needs no more when it forwards. What cannot be taken is no reason not to.
func confinement(configPath string, log *slog.Logger) func(sandbox.Limits) sandbox.Limits {
	return func(before sandbox.Limits) sandbox.Limits {
		opt := sandbox.Options{ReadSearch: !rootsOwn(configPath), Before: before}
		if opt.ReadSearch {
			log.Info("the configuration is not root's, so files of others stay readable", "path", configPath)
		}
		now, err := sandbox.Enter(opt)
		switch {
		case errors.Is(err, sandbox.ErrCgo):
			log.Debug("capabilities stay", "err", err)
		case err != nil:
			log.Warn("more privileges left than needed", "err", err)
		default:
			log.Debug("privileges that are not needed are gone")
		}
		return now
	}
}

// rootsOwn tells whether root can read the file by owning it, and every folder above: without capabilities root is a
// user like others.
func rootsOwn(path string) bool {
	for {
		info, err := os.Stat(path)
		if err != nil {
			return false
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if readable := info.Mode().Perm()&0o004 != 0; !ok || st.Uid != 0 && !readable {
			return false
		}
		if path == filepath.Dir(path) {
			return true
		}
		path = filepath.Dir(path)
	}
}
