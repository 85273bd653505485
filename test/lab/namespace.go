package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespaceDir is where iproute2 keeps named namespaces.
const namespaceDir = "/run/netns"

// ErrForeign is returned when a namespace has a name of the lab's and no mark of
// its: somebody else made it, and the lab leaves it alone.
var ErrForeign = errors.New("not made by this lab")

// namespace is one named network namespace of a lab. Whose it is stands inside of
// it, as the alias of its loopback, so that a name and its mark cannot come apart.
type namespace struct {
	name string // as in "ip netns"
	mark string
}

func (n namespace) path() string { return filepath.Join(namespaceDir, n.name) }

// markOf is what the loopback of every namespace under the prefix carries.
func markOf(prefix string) string { return "ulvs-lab:" + prefix }

// owner says what is known of a name.
type owner int

const (
	absent  owner = iota // no such name
	ours                 // it carries our mark
	foreign              // it exists and does not
)

// owned finds out whose the name is.
func (n namespace) owned() (owner, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(n.path(), &fs); errors.Is(err, unix.ENOENT) {
		return absent, nil
	} else if err != nil {
		return foreign, fmt.Errorf("look at %s: %w", n.path(), err)
	}
	if fs.Type != unix.NSFS_MAGIC {
		return n.placeholderOwner()
	}
	var alias string
	err := n.do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			alias = lo.Attrs().Alias
		}
		return err
	})
	if err != nil {
		return foreign, fmt.Errorf("read the mark of %s: %w", n.name, err)
	}
	if alias != n.mark {
		return foreign, nil
	}
	return ours, nil
}

// placeholderOwner judges a name that no namespace is mounted on: what is left of
// one after a reboot, or after a crash between creating the file and mounting.
func (n namespace) placeholderOwner() (owner, error) {
	text, err := os.ReadFile(n.path())
	if err != nil {
		return foreign, fmt.Errorf("read %s: %w", n.path(), err)
	}
	if string(text) == n.mark {
		return ours, nil
	}
	return foreign, nil
}

// create makes the namespace, marked before it gets its name, loopback up.
func (n namespace) create() error {
	if err := os.MkdirAll(namespaceDir, 0o755); err != nil {
		return err
	}
	err := onThrowawayThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		if err := markLoopback(n.mark); err != nil {
			return err
		}
		return n.bind()
	})
	if err != nil {
		return fmt.Errorf("make namespace %s: %w", n.name, err)
	}
	return nil
}

// bind gives the calling thread's namespace its name. The file below the mount says
// whose it is as well, for the time before and after the mount; it appears under
// the name with its text in it, so no moment is without.
func (n namespace) bind() error {
	draft := n.draft()
	if err := os.WriteFile(draft, []byte(n.mark), 0o644); err != nil {
		return err
	}
	err := os.Link(draft, n.path()) // refuses a name that is taken
	if err := errors.Join(err, os.Remove(draft)); err != nil {
		return err
	}
	self := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
	if err := unix.Mount(self, n.path(), "", unix.MS_BIND, ""); err != nil {
		return errors.Join(fmt.Errorf("mount on %s: %w", n.path(), err), os.Remove(n.path()))
	}
	return nil
}

// draft is the name of the file before it has its text.
func (n namespace) draft() string { return filepath.Join(namespaceDir, draftPrefix+n.name) }

// draftPrefix begins names that only the lab uses.
const draftPrefix = ".ulvs-lab-"

// remove takes the name away; links inside go with the last process in it. The
// caller has made sure that it is ours.
func (n namespace) remove() error {
	err := unix.Unmount(n.path(), unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: nothing mounted
		return fmt.Errorf("unmount %s: %w", n.path(), err)
	}
	return os.Remove(n.path())
}

// do runs fn on this goroutine with its thread in the namespace; see Lab.Do.
func (n namespace) do(fn func() error) error {
	target, err := netns.GetFromPath(n.path())
	if err != nil {
		return fmt.Errorf("open namespace %s: %w", n.name, err)
	}
	defer func() { _ = target.Close() }()
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("get the thread's namespace: %w", err)
	}
	defer func() { _ = home.Close() }()
	if err := netns.Set(target); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter namespace %s: %w", n.name, err)
	}
	defer func() {
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		} // else the thread ends with its goroutine and runs nothing else
	}()
	return fn()
}

// onThrowawayThread runs fn on a thread that ends afterwards, whatever fn did to it.
func onThrowawayThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked
		done <- fn()
	}()
	return <-done
}

func markLoopback(mark string) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetAlias(lo, mark); err != nil {
		return fmt.Errorf("mark lo: %w", err)
	}
	return netlink.LinkSetUp(lo)
}
