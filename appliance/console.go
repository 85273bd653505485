package appliance

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Consoles are all the terminals on which the kernel talks: a screen, a serial port.
type Consoles []*os.File

// OpenConsoles opens those of the machine whose root is given; without any, /dev/console, which is a container's.
func OpenConsoles(root string) (list Consoles) {
	names := strings.Fields(read(filepath.Join(root, "sys/class/tty/console"), "active"))
	for _, name := range append(names, "console") {
		if name == "console" && len(list) > 0 {
			break
		}
		if f, err := os.OpenFile(filepath.Join(root, "dev", name), os.O_RDWR|unix.O_NOCTTY, 0); err == nil {
			list = append(list, f)
		}
	}
	return list
}

// Write writes to all of them. One that does not take it does not hinder the others.
func (c Consoles) Write(b []byte) (int, error) {
	for _, f := range c {
		_, _ = f.Write(b)
	}
	return len(b), nil
}

// First returns a dialog on the console where somebody presses Enter first; nil when nobody does within wait.
func (c Consoles) First(wait time.Duration) *Dialog {
	pressed := make(chan *Dialog, len(c))
	for _, f := range c {
		d := NewDialog(f, f, func(on bool) { setEcho(f, on) })
		go func() {
			// Whatever is typed means that somebody is there. What the terminal says of its end does not.
			if _, err := d.in.ReadSlice('\n'); err == nil {
				pressed <- d
			}
		}()
	}
	select {
	case d := <-pressed:
		return d
	case <-time.After(wait):
		return nil
	}
}

// setEcho has a terminal show what is typed, or not. It shows the end of a line all the same.
func setEcho(f *os.File, on bool) {
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return
	}
	t.Lflag &^= unix.ECHO
	t.Lflag |= unix.ECHONL
	if on {
		t.Lflag |= unix.ECHO
	}
	_ = unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t)
}

// say prints a line that is found again among the kernel's.
func say(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "ulvs firstboot: "+format+"\n", args...)
}
