package failover

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"ulvs/internal/testutil"
	"ulvs/test/lab"
)

// virtualMAC is the address of virtual router 51.
const virtualMAC = "00:00:5e:00:01:33"

// TestAVirtualMACMovesWithTheVIP: the client has the VIP at VRRP's MAC address for good, so that no announcement can
// help, and is served by whoever is master: ulvs, ulvs again, and keepalived.
func TestAVirtualMACMovesWithTheVIP(t *testing.T) {
	l := twoDirectors(t)
	o := options{priority: 200, advert: fast, extra: "use_vmac = true"}
	d1 := startULVS(t, l, "d1", o)
	d1.await("MASTER")
	d2 := startULVS(t, l, "d2", options{priority: 100, advert: fast, extra: "use_vmac = true"})
	for _, d := range []*peer{d1, d2} {
		if got := d.instance().VirtualMAC; got != virtualMAC {
			t.Errorf("%s says that its VIPs are at %q, want %s", d.name, got, virtualMAC)
		}
	}
	p := startProbe(t, l)
	if at := vipAt(t, l); at != virtualMAC {
		t.Fatalf("the client has the VIP at %s, want %s", at, virtualMAC)
	}
	onlyFirstListens := func() {
		t.Helper() // a busy machine may have d2 take over for a moment
		testutil.Await(t, "d1's interface (MASTER) to listen for the address and d2's (BACKUP) not to", func() bool {
			return listens(t, l, "d1") && !listens(t, l, "d2")
		})
	}
	onlyFirstListens()
	shell(t, l, "c1", "ip", "neigh", "replace", l.Addresses().DR.IPv4.String(), "lladdr", virtualMAC,
		"dev", clientDev(t, l), "nud", "permanent")
	awaitAnswers(t, p, 50)
	d1.end(syscall.SIGKILL)
	d2.await("MASTER")
	awaitAnswers(t, p, 50)
	d1 = startULVS(t, l, "d1", o)
	d1.await("MASTER")
	d2.await("BACKUP")
	awaitAnswers(t, p, 50)
	onlyFirstListens()

	d2.end(syscall.SIGTERM)
	keepalived := keepalivedWith(t, l, "d2", 3, 100, "0.03", " use_vmac vrrp51\n", "")
	testutil.Await(t, "keepalived to hear the master", func() bool {
		return strings.Contains(keepalived.log.String(), "BACKUP STATE")
	})
	d1.end(syscall.SIGTERM)
	testutil.Await(t, "keepalived to answer at the address", func() bool { return refused(t, l) })
	d1 = startULVS(t, l, "d1", o)
	d1.await("MASTER")
	awaitAnswers(t, p, 50)
}

// vipAt is where the client has the VIP.
func vipAt(t *testing.T, l *lab.Lab) string {
	t.Helper()
	out, err := l.Command("c1", "ip", "neigh", "show", l.Addresses().DR.IPv4.String()).Output()
	if err != nil {
		t.Fatal(err)
	}
	_, mac, _ := strings.Cut(string(out), "lladdr ")
	mac, _, _ = strings.Cut(mac, " ")
	return mac
}

// clientDev is the interface by which the client reaches the VIP.
func clientDev(t *testing.T, l *lab.Lab) string {
	t.Helper()
	out, err := l.Command("c1", "ip", "route", "get", l.Addresses().DR.IPv4.String()).Output()
	if err != nil {
		t.Fatal(err)
	}
	_, dev, _ := strings.Cut(string(out), "dev ")
	dev, _, _ = strings.Cut(dev, " ")
	return dev
}

// listens reports whether a director's veth takes frames to other addresses: it has no filter for a second one.
func listens(t *testing.T, l *lab.Lab, ns string) bool {
	t.Helper()
	out, err := l.Command(ns, "ip", "-d", "link", "show", "dev", "c0").Output()
	if err != nil {
		t.Fatal(err)
	}
	return !strings.Contains(string(out), "promiscuity 0")
}

// refused reports whether the VIP's host resets a connection: a keepalived without services does.
func refused(t *testing.T, l *lab.Lab) bool {
	t.Helper()
	to := netip.AddrPortFrom(l.Addresses().DR.IPv4, lab.PortHTTP).String()
	err := l.Do("c1", func() error {
		conn, err := net.DialTimeout("tcp", to, time.Second)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	return errors.Is(err, syscall.ECONNREFUSED)
}
