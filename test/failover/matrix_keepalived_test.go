package failover

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"ulvs/internal/testutil"
	"ulvs/test/lab"
)

// keepalivedAdvert is fast in keepalived's seconds.
const keepalivedAdvert = "0.03"

// keepalivedFaults are those of faults that can be told of a pair of keepalived: a stopped one leaves the kernel
// answering, so SIGSTOP shows nothing.
var keepalivedFaults = []fault{
	{"kill -9", "started again, takes back", func(s *site) {
		s.killed()
		s.taken()
	}, func(s *site) {
		s.d1 = startKeepalived(s.root, s.l, "d1", 3, 200, keepalivedAdvert)
		s.given()
	}},
	{"cut off both networks", "plugged in, takes back", func(s *site) {
		unplug(s)
		s.taken()
	}, func(s *site) {
		plug(s)
		s.given()
	}},
	{"link down and up 3 times", "up, takes back", func(s *site) {
		for i := range 3 {
			shell(s.t, s.l, "sw0", "ip", "link", "set", "d1-c0", "down")
			s.taken()
			if i < 2 {
				shell(s.t, s.l, "sw0", "ip", "link", "set", "d1-c0", "up")
			}
		}
	}, func(s *site) {
		shell(s.t, s.l, "sw0", "ip", "link", "set", "d1-c0", "up")
		s.given()
	}},
	{"planned handover", "planned failback", func(s *site) {
		s.d1.end(syscall.SIGTERM)
		s.taken()
	}, func(s *site) {
		s.d1 = startKeepalived(s.root, s.l, "d1", 3, 200, keepalivedAdvert)
		s.given()
	}},
}

func (s *site) taken() {
	testutil.Await(s.t, "d2's keepalived to have the VIP", func() bool { return holds(s.t, s.l, "d2") })
}

func (s *site) given() {
	testutil.Await(s.t, "d1's keepalived to have the VIP back", func() bool {
		return holds(s.t, s.l, "d1") && !holds(s.t, s.l, "d2")
	})
}

// killed has d1 die: its keepalived, the process that it does VRRP in, and the VIP, which a dead router's kernel would
// answer for ever otherwise.
func (s *site) killed() {
	parent := s.d1.cmd.Process.Pid
	pids := []int{parent}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", parent))
	for _, text := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(text); err == nil {
			pids = append(pids, pid)
		}
	}
	for _, pid := range pids { // none can clean up after another
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	vip := &net.IPNet{IP: s.l.Addresses().DR.IPv4.AsSlice(), Mask: net.CIDRMask(32, 32)}
	if err := s.l.Do("d1", func() error {
		link, err := netlink.LinkByName("c0")
		if err != nil {
			return err
		}
		return netlink.AddrDel(link, &netlink.Addr{IPNet: vip})
	}); err != nil {
		s.t.Fatal(err)
	}
	for _, pid := range pids[1:] {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	s.d1.end(syscall.SIGKILL)
}

// keepalivedMatrix makes the faults to two keepalived, whose kernels echo at the VIP.
func keepalivedMatrix(t *testing.T, l *lab.Lab, table *outcomes) {
	for _, ns := range []string{"d1", "d2"} {
		echo, err := l.Serve(t.Context(), ns, lab.ServeOptions{Name: ns, UDP: fmt.Sprintf(":%d", lab.PortEcho)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = echo.Stop() })
	}
	s := &site{t: t, root: t, l: l, table: table}
	s.d1 = startKeepalived(t, l, "d1", 3, 200, keepalivedAdvert)
	s.d2 = startKeepalived(t, l, "d2", 3, 100, keepalivedAdvert)
	s.given()
	s.probe = startProbe(t, l)
	for _, f := range keepalivedFaults {
		for range matrixRounds() {
			s.do(f.name, time.Now(), f.strike)
			s.do(f.mended, time.Now(), f.mend)
		}
	}
}
