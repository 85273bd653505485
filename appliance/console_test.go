package appliance

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminals returns consoles, and who sits at them.
func terminals(t *testing.T, n int) (consoles Consoles, people []*os.File) {
	t.Helper()
	for range n {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		a, b := os.NewFile(uintptr(fds[0]), "console"), os.NewFile(uintptr(fds[1]), "person")
		t.Cleanup(func() { _, _ = b.Close(), a.Close() })
		consoles, people = append(consoles, a), append(people, b)
	}
	return consoles, people
}

func TestWhoeverPressesEnterFirstIsAsked(t *testing.T) {
	consoles, people := terminals(t, 3)
	_ = people[0].Close() // a console that is not there
	if _, err := people[2].WriteString("\nlvs1\n"); err != nil {
		t.Fatal(err)
	}
	d := consoles.First(time.Minute)
	if d == nil {
		t.Fatal("nobody was found")
	}
	if answer, err := d.line(); answer != "lvs1" || err != nil {
		t.Errorf("%q, %v", answer, err)
	}
	b := make([]byte, 100)
	fmt.Fprint(d.out, "question")
	if n, err := people[2].Read(b); string(b[:n]) != "question" {
		t.Errorf("%q, %v", b[:n], err)
	}
	if d := consoles[:2].First(time.Millisecond); d != nil {
		t.Error("somebody was found where nobody is")
	}
}

func TestConsolesAreThoseOfTheKernel(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"sys/class/tty/console/active": "ttyS0 tty0 ttyS7\n", "dev/ttyS0": "", "dev/tty0": "", "dev/console": "",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	names := func() (list []string) {
		for _, f := range OpenConsoles(root) {
			list = append(list, filepath.Base(f.Name()))
			_ = f.Close()
		}
		return list
	}
	if got := fmt.Sprint(names()); got != "[ttyS0 tty0]" {
		t.Errorf("opened %s", got)
	}
	_ = os.Remove(filepath.Join(root, "sys/class/tty/console/active"))
	if got := fmt.Sprint(names()); got != "[console]" {
		t.Errorf("where the kernel names none: %s", got)
	}
}
