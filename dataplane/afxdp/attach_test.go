package afxdp

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ulvs/internal/testutil"
	"ulvs/packet"
)

// giveAddress puts an address on the near end and returns a UDP socket there:
// what arrives at that went through the kernel.
func giveAddress(t testing.TB, w *wire, cidr string, port int) (fd int, to netip.Addr) {
	t.Helper()
	l, err := netlink.LinkByName(w.near.Name)
	if err != nil {
		t.Fatal(err)
	}
	a, err := netlink.ParseAddr(cidr)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(l, a); err != nil {
		t.Fatal(err)
	}
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	to = netip.MustParsePrefix(cidr).Addr()
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: to.As4()}); err != nil {
		t.Fatal(err)
	}
	return fd, to
}

// heard reports whether a datagram arrives at the kernel's socket in time.
func heard(fd int, within time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, _ := unix.Poll(fds, int(within.Milliseconds()))
	if n == 1 {
		buf := make([]byte, 2048)
		_, _, _ = unix.Recvfrom(fd, buf, 0)
	}
	return n == 1
}

// kernelFrame is a UDP frame from a neighbour of the near end's 10.1.1.2/24.
func kernelFrame(w *wire, to netip.Addr, port uint16) []byte {
	return w.udpFrame(to, 1000, port, "for the kernel")
}

func TestOnlyServiceTrafficLeavesTheKernel(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		w := newWire(t, "a", 1)
		kernel, to := giveAddress(t, w, "10.1.1.2/24", 53)
		st := attachAll(t, w)
		q := b.openOn(t, st, Options{}, w)
		if err := st.Set(Rules{Services: []Rule{{to, 80, 17}}, Locals: []netip.Addr{to}}); err != nil {
			t.Fatal(err)
		}
		w.inject(t, kernelFrame(w, to, 53))
		if !heard(kernel, testutil.AwaitLimit) {
			t.Error("another port's datagram did not reach the kernel")
		}
		frames := make([]packet.Frame, 4)
		w.inject(t, kernelFrame(w, to, 80))
		recvOne(t, q, frames)
		q.Release(frames[:1])
		if err := st.Set(Rules{Services: []Rule{{to, 53, 17}}}); err != nil {
			t.Fatal(err)
		}
		w.inject(t, kernelFrame(w, to, 53))
		recvOne(t, q, frames)
		q.Release(frames[:1])
		if err := st.Unregister(w.near.Index, 0); err != nil {
			t.Fatal(err)
		}
		w.inject(t, kernelFrame(w, to, 53))
		if !heard(kernel, testutil.AwaitLimit) {
			t.Error("without a socket the service's datagram did not reach the kernel")
		}
	})
}

func TestAClosedSetGivesTheTrafficBack(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		w := newWire(t, "a", 1)
		kernel, to := giveAddress(t, w, "10.1.1.2/24", 53)
		st := attachAll(t, w)
		if err := st.Set(Rules{Services: []Rule{{to, 53, 17}}}); err != nil {
			t.Fatal(err)
		}
		q := b.openOn(t, st, Options{}, w)
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(testutil.AwaitLimit); ; {
			w.inject(t, kernelFrame(w, to, 53))
			if heard(kernel, 50*time.Millisecond) {
				return
			}
			if time.Now().After(end) {
				t.Fatal("the kernel did not get its traffic back")
			}
		}
	})
}

func TestASecondAttachSaysWhoIsThere(t *testing.T) {
	enterNamespace(t)
	w := newWire(t, "a", 1)
	attachAll(t, w)
	st, err := LoadSteering(SteeringOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for _, mode := range []AttachMode{AttachAuto, AttachNative, AttachGeneric} {
		_, err = st.Attach(w.near, mode)
		pid := fmt.Sprintf("pid %d", os.Getpid())
		if !errors.Is(err, ErrInterfaceBusy) || !strings.Contains(err.Error(), "program ulvs_steer (id ") ||
			!strings.Contains(err.Error(), pid) {
			t.Errorf("%v: got %v", mode, err)
		}
	}
}

func TestAttachTwiceAndDetach(t *testing.T) {
	enterNamespace(t)
	w := newWire(t, "a", 1)
	st, err := LoadSteering(SteeringOptions{})
	need(t, "afxdp", err)
	defer st.Close()
	a, err := st.Attach(w.near, AttachGeneric)
	need(t, "afxdp", err)
	if a.Mode != AttachGeneric {
		t.Errorf("got mode %v", a.Mode)
	}
	if _, err := st.Attach(w.near, AttachAuto); !errors.Is(err, ErrInterfaceBusy) {
		t.Errorf("attached twice: %v", err)
	}
	if err := errors.Join(a.Close(), a.Close()); err != nil {
		t.Error(err)
	}
	if id := programOn(w.near.Index); id != 0 {
		t.Errorf("program %d is still there", id)
	}
	if _, err := st.Attach(w.near, AttachAuto); err != nil {
		t.Error(err)
	}
	if err := st.Register(w.far.Index, 0, 0); err == nil {
		t.Error("registered on an interface without a program")
	}
	if err := st.Register(w.near.Index, 0, -1); err == nil {
		t.Error("registered no socket")
	}
}

func TestAutoFallsBackToGenericWhereTheDriverRefuses(t *testing.T) {
	enterNamespace(t)
	w := newWire(t, "a", 1)
	for _, i := range []Interface{w.near, w.far} { // a veth's native XDP ends at about 3500 bytes
		l, _ := netlink.LinkByName(i.Name)
		if err := netlink.LinkSetMTU(l, 9000); err != nil {
			t.Fatal(err)
		}
	}
	st, err := LoadSteering(SteeringOptions{})
	need(t, "afxdp", err)
	defer st.Close()
	if _, err := st.Attach(w.near, AttachNative); !errors.Is(err, unix.ERANGE) {
		t.Errorf("native: got %v, want ERANGE", err)
	}
	a, err := st.Attach(w.near, AttachAuto)
	if err != nil {
		t.Fatal(err)
	}
	if a.Mode != AttachGeneric {
		t.Errorf("got mode %v", a.Mode)
	}
}

func TestGenericModeForwards(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		w := newWire(t, "a", 1)
		st, err := LoadSteering(SteeringOptions{})
		need(t, "afxdp", err)
		defer st.Close()
		if _, err := st.Attach(w.near, AttachGeneric); err != nil {
			t.Fatal(err)
		}
		if err := st.Set(Rules{VIPs: []addr{testVIP}}); err != nil {
			t.Fatal(err)
		}
		q := b.openOn(t, st, Options{}, w)
		w.inject(t, w.udpFrame(testVIP, 1, 2, "generic"))
		if got, sent := forward(t, q, 0, 1, testutil.AwaitLimit); got != 1 || sent != 1 {
			t.Fatalf("received %d, sent %d", got, sent)
		}
		if w.capture(t, "generic", testutil.AwaitLimit) == nil {
			t.Error("nothing came out")
		}
	})
}

const attachEnv = "ULVS_TEST_ATTACH"

// TestHelperProcess is not a test: it is the process that the next one kills.
func TestHelperProcess(t *testing.T) {
	index, err := strconv.Atoi(os.Getenv(attachEnv))
	if err != nil {
		t.Skip("only as a child of TestKillLeavesTheKernelItsTraffic")
	}
	st, err := LoadSteering(SteeringOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ifc := Interface{Name: "a0", Index: index}
	if _, err := st.Attach(ifc, AttachAuto); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Interfaces: []Interface{ifc}})
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(st.Register(index, 0, s.FD(0)), st.Set(Rules{Services: []Rule{{ip("10.1.1.2"), 53, 17}}}))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	_ = s.Wait(time.Minute)
	_ = s.Wait(time.Minute)
}

func TestKillLeavesTheKernelItsTraffic(t *testing.T) {
	enterNamespace(t)
	w := newWire(t, "a", 1)
	attachAll(t, w).Close() // skips where there is no AF_XDP
	kernel, to := giveAddress(t, w, "10.1.1.2/24", 53)
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelperProcess$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", attachEnv, w.near.Index))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if line != "ready\n" {
		t.Fatalf("the child said %q", line)
	}
	w.inject(t, kernelFrame(w, to, 53))
	if heard(kernel, 100*time.Millisecond) {
		t.Error("the living child did not take the datagram")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for end := time.Now().Add(testutil.AwaitLimit); programOn(w.near.Index) != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the program outlived its process")
		}
	}
	w.inject(t, kernelFrame(w, to, 53))
	if !heard(kernel, testutil.AwaitLimit) {
		t.Error("the kernel does not answer after kill -9")
	}
	s, err := Open(Options{Interfaces: []Interface{w.near}})
	if err != nil {
		t.Fatalf("the queue is not free again: %v", err)
	}
	s.Close()
}
