// Package wholefile replaces files in one step: whoever reads one, and whoever finds it after a power cut, finds all
// of the old text or all of the new.
//
// It owns the new file until that has the other's name. It keeps no two writers apart, makes no folders, and does not
// follow a symbolic link at the path: the link is replaced. Who means what a link points to resolves it first.
package wholefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Write has path hold text, with that mode whatever the umask is. When it returns nil, that outlives a power cut.
func Write(path string, text []byte, mode fs.FileMode) error {
	return replace(path, text, func(f *os.File) error { return f.Chmod(mode) })
}

// Rewrite is Write with the mode and the owner of the file that is there; mode is for one that is not.
func Rewrite(path string, text []byte, mode fs.FileMode) error {
	return replace(path, text, func(f *os.File) error { return dressAs(f, path, mode) })
}

// SyncFolder has what became of a folder's names outlive a power cut: Write's own, and removals.
func SyncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// replace puts a new file in path's place; dress gives it its mode. On an error before that the old one stays.
func replace(path string, text []byte, dress func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	if err = dress(f); err == nil {
		_, err = f.Write(text)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return SyncFolder(filepath.Dir(path))
}

// dressAs gives f the mode and owner of the file at path; mode if there is none.
func dressAs(f *os.File, path string, mode fs.FileMode) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f.Chmod(mode)
	}
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && (int(st.Uid) != os.Geteuid() || int(st.Gid) != os.Getegid()) {
		err = f.Chown(int(st.Uid), int(st.Gid))
	}
	return errors.Join(err, f.Chmod(info.Mode().Perm()))
}
