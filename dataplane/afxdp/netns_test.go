package afxdp

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"ulvs/internal/testutil"
	"ulvs/packet"
)

// need skips the test for lack of what ("netns" or "afxdp"), unless ULVS_REQUIRE
// says that here it must not be lacking.
func need(t testing.TB, what string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if strings.Contains(os.Getenv("ULVS_REQUIRE"), what) {
		t.Fatalf("ULVS_REQUIRE has %s: %v", what, err)
	}
	t.Skipf("no %s here: %v", what, err)
}

// enterNamespace moves the test's goroutine into a network namespace of its own.
func enterNamespace(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		need(t, "netns", errors.New("not root"))
	}
	runtime.LockOSThread()
	home, err := netns.Get()
	need(t, "netns", err)
	own, err := netns.New()
	need(t, "netns", err)
	t.Cleanup(func() {
		if err := netns.Set(home); err != nil {
			t.Errorf("leave the namespace: %v", err) // the thread stays locked and dies
			return
		}
		own.Close()
		home.Close()
		runtime.UnlockOSThread()
	})
	for _, f := range []string{"all", "default"} {
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+f+"/disable_ipv6", []byte("1"), 0)
	}
}

// wire is a veth pair: near is ours, far is where a packet socket injects and
// captures frames.
type wire struct {
	near, far Interface
	nearMAC   [6]byte
	fd        int // packet socket on far, all frames
}

// newWire makes the pair name0 (near), name1 (far) with n queues at each end.
func newWire(t testing.TB, name string, queues int) *wire {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.NumTxQueues, attrs.NumRxQueues = name+"0", queues, queues
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerNumTxQueues, veth.PeerNumRxQueues = name+"1", uint32(queues), uint32(queues)
	need(t, "netns", netlink.LinkAdd(veth))
	w := &wire{near: up(t, name+"0"), far: up(t, name+"1"), fd: -1}
	l, err := netlink.LinkByName(name + "0")
	if err != nil {
		t.Fatal(err)
	}
	copy(w.nearMAC[:], l.Attrs().HardwareAddr)
	w.listen(t)
	return w
}

func up(t testing.TB, name string) Interface {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		t.Fatal(err)
	}
	return Interface{Name: name, Index: l.Attrs().Index}
}

func (w *wire) listen(t testing.TB) {
	t.Helper()
	proto := uint16(unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(proto))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: w.far.Index}); err != nil {
		t.Fatal(err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	w.fd = fd
}

// inject sends a frame from the far end.
func (w *wire) inject(t testing.TB, frame []byte) {
	t.Helper()
	for {
		err := unix.Send(w.fd, frame, 0)
		if err == nil {
			return
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOBUFS) {
			t.Fatalf("inject: %v", err)
		}
	}
}

// capture returns the next frame that arrived at the far end with the marker in
// its payload, nil when none comes within the time.
func (w *wire) capture(t testing.TB, marker string, within time.Duration) []byte {
	t.Helper()
	buf := make([]byte, 4096)
	for end := time.Now().Add(within); ; {
		n, from, err := unix.Recvfrom(w.fd, buf, 0)
		if err == nil {
			ll, ok := from.(*unix.SockaddrLinklayer)
			if ok && ll.Pkttype != unix.PACKET_OUTGOING && strings.Contains(string(buf[:n]), marker) {
				return append([]byte(nil), buf[:n]...)
			}
			continue
		}
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
		_, _ = unix.Poll(fds, int(left.Milliseconds())+1)
	}
}

// attachAll attaches a steering program that takes everything sent to 10.9.9.9.
func attachAll(t testing.TB, wires ...*wire) *Steering {
	t.Helper()
	st, err := LoadSteering(SteeringOptions{MaxServices: 64, MaxQueues: 8})
	need(t, "afxdp", err)
	t.Cleanup(func() { st.Close() })
	if err := st.Set(Rules{VIPs: []addr{testVIP}}); err != nil {
		t.Fatal(err)
	}
	for _, w := range wires {
		a, err := st.Attach(w.near, AttachAuto)
		need(t, "afxdp", err)
		if a.Mode != AttachNative {
			t.Fatalf("attached to %s in mode %v, want native", w.near.Name, a.Mode)
		}
	}
	return st
}

// testQueue is what a Set and an AsavieSet have in common.
type testQueue interface {
	Recv([]packet.Frame) int
	Send([]packet.Frame) int
	Release([]packet.Frame)
	Alloc([]packet.Frame) int
	Wait(time.Duration) error
	Wake()
	Close() error
	FD(int) int
	Info() []PortInfo
	Stats() []PortStats
	Account() Account
}

// backend is one implementation the same tests run on.
type backend struct {
	name string
	open func(Options) (testQueue, error)
}

func backends() []backend {
	return []backend{
		{"own", func(o Options) (testQueue, error) { return Open(o) }},
		{"asavie", func(o Options) (testQueue, error) { return OpenAsavie(o) }},
	}
}

// each runs the test on every backend, in a namespace of its own.
func each(t *testing.T, f func(*testing.T, backend)) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			enterNamespace(t)
			f(t, b)
		})
	}
}

// openOn opens queue q of the wires and registers it.
func (b backend) openOn(t testing.TB, st *Steering, o Options, wires ...*wire) testQueue {
	t.Helper()
	for _, w := range wires {
		o.Interfaces = append(o.Interfaces, w.near)
	}
	o.Debug = true
	q, err := b.open(o)
	need(t, "afxdp", err)
	t.Cleanup(func() { q.Close() })
	for i, w := range wires {
		if err := st.Register(w.near.Index, o.Queue, q.FD(i)); err != nil {
			t.Fatal(err)
		}
	}
	return q
}

// forward moves frames from every port to the one to until n have arrived or
// the time is up, and returns how many were received and how many sent.
func forward(t testing.TB, q testQueue, to uint8, n int, within time.Duration) (got, sent int) {
	t.Helper()
	frames := make([]packet.Frame, 64)
	for end := time.Now().Add(within); got < n && time.Now().Before(end); {
		k := q.Recv(frames)
		if k == 0 {
			if err := q.Wait(5 * time.Millisecond); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got += k
		for i := range frames[:k] {
			frames[i].Port = to
		}
		sent += q.Send(frames[:k])
	}
	return got, sent
}

// settle lets completions come back until nothing is in the transmit rings.
func settle(t testing.TB, q testQueue) {
	t.Helper()
	frames := make([]packet.Frame, 64)
	for end := time.Now().Add(testutil.AwaitLimit); time.Now().Before(end); {
		q.Release(frames[:q.Recv(frames)])
		tx := 0
		for _, p := range q.Account().Ports {
			tx += p.TX
		}
		if tx == 0 {
			break
		}
		runtime.Gosched()
	}
	if err := q.Account().Check(); err != nil {
		t.Error(err)
	}
}

func frameText(i int) string { return fmt.Sprintf("ulvs-frame-%06d", i) }
