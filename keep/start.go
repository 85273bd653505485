package keep

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Start returns the keeper at path, started if there is none: command with the listening socket as descriptor 3, in a
// session of its own, so that no signal to the director's group and no terminal ends it.
func Start(path string, command ...string) (*Client, error) {
	c, err := Dial(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the keeper's socket: %w", err)
	}
	l, err := Listen(path)
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // the keeper listens on
	defer l.Close()
	f, err := l.File()
	if err != nil {
		return nil, fmt.Errorf("start the keeper: %w", err)
	}
	defer f.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.ExtraFiles, cmd.Dir = []*os.File{f}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the keeper: %w", err), os.Remove(path))
	}
	go cmd.Wait() // it outlives us, or is reaped
	return Dial(path)
}

// Inherited is the listener that Start passed on to this process.
func Inherited() (*net.UnixListener, error) {
	f := os.NewFile(3, "keeper's socket")
	if f == nil {
		return nil, errors.New("descriptor 3 is not open: ulvs run starts the keeper itself")
	}
	defer f.Close() // the listener has a copy
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("descriptor 3 is no listening socket (%w): ulvs run starts the keeper itself", err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		return u, nil
	}
	return nil, errors.Join(errors.New("descriptor 3 is no unix socket: ulvs run starts the keeper itself"), l.Close())
}
