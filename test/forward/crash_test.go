package forward

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/test/lab"
	"ulvs/test/lab/labtest"
)

// directorLinks are the interfaces of d1 that ulvs takes frames from.
var directorLinks = []string{"c0", "s0"}

// load wants quick exchanges in both families through a service of the method.
func load(tb testing.TB, l *lab.Lab, m lvs.Method) {
	tb.Helper()
	for _, v6 := range []bool{false, true} {
		loadFamily(tb, l, m, v6)
	}
}

func loadFamily(tb testing.TB, l *lab.Lab, m lvs.Method, v6 bool) {
	tb.Helper()
	labtest.Load(tb, l, lab.LoadOptions{Kind: lab.KindHTTP, Target: target(l, m, v6, lab.PortHTTP), Connections: 6})
}

func TestTheHostKeepsItsNetworkWhenUlvsIsKilled(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-kill9", Queues: 2})
	d := start(t, l, lab.ConfigOptions{})
	load(t, l, lvs.MethodNAT)
	d.kill()
	forgetNeighbours(t, l, "c1", "c0")
	own := l.Addresses().Directors[0].Client
	for _, v6 := range []bool{false, true} {
		if err := ping(l, own.Family(v6)); err != nil {
			t.Errorf("the director's kernel: %v", err)
		}
	}
	testutil.Await(t, "XDP programs to go with the process", func() bool {
		return !hasXDP(t, l, "d1", "c0") && !hasXDP(t, l, "d1", "s0")
	})
}

func TestUlvsStartsRightAfterItWasKilled(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-again", Queues: 2})
	d := start(t, l, lab.ConfigOptions{})
	for range 3 { // sockets of the dead process let go of their queues some time later
		d.kill()
		d = start(t, l, lab.ConfigOptions{})
		for _, m := range methods {
			load(t, l, m)
		}
	}
	d.proveCarrier(100)
}

func TestASecondUlvsSaysWhoHoldsTheInterface(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-second"})
	d := start(t, l, lab.ConfigOptions{})
	first, config := d.status(), l.Config(lab.ConfigOptions{})
	other := l.ControlSocket("d9")
	for _, c := range []struct{ name, config string }{
		{"same interfaces", strings.ReplaceAll(config, l.ControlSocket("d1"), other)},
		{"same control socket", config},
	} {
		code, said := runFailing(t, l, c.config)
		if who := fmt.Sprintf("%d", first.PID); code != 1 || !strings.Contains(said, who) {
			t.Errorf("%s: exit status %d, want 1 and process %s named:\n%s", c.name, code, who, said)
		}
	}
	if _, err := os.Stat(other); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the second one left its socket: %v", err)
	}
	load(t, l, lvs.MethodDR)
	if now := d.status(); now.PID != first.PID || len(now.Ports) != 2 {
		t.Errorf("process %d with %d ports runs now, want %d with 2", now.PID, len(now.Ports), first.PID)
	}
}

func TestSIGTERMLeavesNothingBehind(t *testing.T) {
	for _, mode := range []string{"user", "netlink"} {
		t.Run("vip_mode "+mode, func(t *testing.T) {
			l := newLab(t, lab.Options{Prefix: "t-term"})
			before := settledAddresses(t, l, "d1")
			d := start(t, l, lab.ConfigOptions{Extra: fmt.Sprintf("vip_mode = %q", mode)})
			load(t, l, lvs.MethodTUN)
			d.stop() // wants exit status 0
			for _, link := range directorLinks {
				if hasXDP(t, l, "d1", link) {
					t.Errorf("an XDP program is left on %s", link)
				}
			}
			if _, err := os.Stat(l.ControlSocket("d1")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the control socket is left: %v", err)
			}
			if after := addressesOf(t, l, "d1"); before != after {
				t.Errorf("addresses before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

func TestABadConfigurationChangesNothing(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-bad", RealServers: 1})
	before := settledAddresses(t, l, "d1")
	code, said := runFailing(t, l, fmt.Sprintf(`[node]
interfaces = ["c0", "eth77"]
vip_mode = "netlink"
control_socket = %q
colour = "red"

[[service]]
vip = "198.18.0.100:80"
scheduler = "wlcc"
  [[service.real_server]]
  address = "10.18.1.11:8080"
  [[service.real_server]]
  address = "10.18.1.300:80"
  [[service.real_server]]
  address = "10.18.1.12:80"
  weight = -1

[[service]]
vip = "198.18.0.100:80"
`, l.ControlSocket("d1")))
	if code != 1 {
		t.Errorf("exit status %d, want 1", code)
	}
	for _, want := range []string{
		":2: ", "eth77", ":5: ", "colour", ":9: ", "did you mean wlc", ":11: ", ":13: ",
		"10.18.1.300", ":16: ", "weight", ":18: ",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("not a word of %q", want)
		}
	}
	if t.Failed() {
		t.Log(said)
	}
	for _, link := range directorLinks {
		if hasXDP(t, l, "d1", link) {
			t.Errorf("an XDP program is on %s", link)
		}
	}
	if _, err := os.Stat(l.ControlSocket("d1")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the control socket exists: %v", err)
	}
	if after := addressesOf(t, l, "d1"); before != after {
		t.Errorf("addresses before:\n%s\nafter:\n%s", before, after)
	}
}
