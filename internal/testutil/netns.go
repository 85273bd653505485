package testutil

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// NetNS is a network namespace without a name: it lives as long as its handle, the
// threads in it, and sockets opened in it, so a killed test leaves nothing behind.
type NetNS struct{ handle netns.NsHandle }

// NewNetNS makes a namespace, loopback up, and closes it when the test ends. Where
// namespaces cannot be made the test is skipped (see Require).
func NewNetNS(tb testing.TB) *NetNS {
	tb.Helper()
	n, err := newNetNS()
	if err != nil {
		Require(tb, NeedNetNS, fmt.Sprintf("cannot make a network namespace as uid %d: %v", os.Geteuid(), err))
	}
	tb.Cleanup(func() { _ = n.handle.Close() })
	if err := n.Do(loopbackUp); err != nil {
		tb.Fatalf("lo up in a new network namespace: %v", err)
	}
	return n
}

// Handle returns the namespace's descriptor, valid until the test ends. Borrowed:
// do not close it.
func (n *NetNS) Handle() netns.NsHandle { return n.handle }

// Do runs fn on this goroutine with its thread in the namespace, and returns fn's
// error. Sockets and child processes made by fn stay in the namespace;
// goroutines started by fn run outside of it. Read /proc/thread-self/net, not
// /proc/net. fn may end the test. A thread that cannot come back stays
// locked, so it ends with its goroutine and runs nothing else.
func (n *NetNS) Do(fn func() error) error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("get the thread's network namespace: %w", err)
	}
	defer func() { _ = home.Close() }()
	if err := netns.Set(n.handle); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the network namespace: %w", err)
	}
	defer func() {
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return fn()
}

// newNetNS makes the namespace on a thread that is thrown away: unshare cannot fail
// to come back if nothing comes back.
func newNetNS() (*NetNS, error) {
	type result struct {
		handle netns.NsHandle
		err    error
	}
	made := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends here
		handle, err := netns.New()
		made <- result{handle, err}
	}()
	r := <-made
	return &NetNS{r.handle}, r.err
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}
