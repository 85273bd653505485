package keep

import (
	"os"
	"time"

	"ulvs/internal/sdnotify"
)

// Systemd keeps files in the service manager's store (FileDescriptorStoreMax=).
type Systemd struct {
	m     *sdnotify.Notifier
	files map[string]*os.File
}

// NewSystemd makes one of what the manager passed on to this process. Of several files with one name the first counts.
func NewSystemd(m *sdnotify.Notifier, inherited map[string][]*os.File) *Systemd {
	s := &Systemd{m: m, files: map[string]*os.File{}}
	for name, files := range inherited {
		s.files[name] = files[0]
		closeAll(files[1:])
	}
	return s
}

// Files returns what was kept. They are the caller's.
func (s *Systemd) Files() (map[string]*os.File, error) { return s.files, nil }

// Store has a file kept. The manager keeps another one of the same name beside it: give it a name of its own.
func (s *Systemd) Store(name string, f *os.File) error { return s.m.StoreFDs(name, f) }

// Forget lets the files of a name go.
func (s *Systemd) Forget(name string) error { return s.m.RemoveFDs(name) }

// Stay does nothing: the unit says how long (FileDescriptorStorePreserve=).
func (s *Systemd) Stay(time.Duration) error { return nil }

// Leave lets everything go that the caller names no more if d is 0; else the unit says how long.
func (s *Systemd) Leave(time.Duration) error { return nil }

// Close does nothing: the manager sees the process end.
func (s *Systemd) Close() error { return nil }
