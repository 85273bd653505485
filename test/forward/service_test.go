package forward

import (
	"bytes"
	"context"
	"encoding/json"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"ulvs/control"
	"ulvs/lvs"
	"ulvs/test/lab"
	"ulvs/test/lab/labtest"
)

// withService adds lines to every service of a lab's configuration.
func withService(config, lines string) string {
	return strings.ReplaceAll(config, "\n[[service]]\n", "\n[[service]]\n"+lines+"\n")
}

func TestVIPsOnTheInterface(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-vipnl"})
	d := start(t, l, lab.ConfigOptions{Extra: `vip_mode = "netlink"`})
	forEach(t, func(t *testing.T, m lvs.Method, v6 bool) {
		serves(t, l, m, v6)
		vip := target(l, m, v6, 0).Addr()
		if err := ping(l, vip); err != nil {
			t.Error(err)
		}
		if !strings.Contains(addressesOf(t, l, "d1"), vip.String()+"/") {
			t.Errorf("%s is on no interface", vip)
		}
	})
	d.proveCarrier(1000)
	if n := d.verdict("tx_arp") + d.verdict("tx_nd") + d.verdict("tx_echo"); n != 0 {
		t.Errorf("ulvs answered %d ARP, ND or echo requests, which are the kernel's here", n)
	}
}

func TestTheEleventhOfTenSessionsIsRefused(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-max"})
	d := start(t, l, lab.ConfigOptions{Methods: []lvs.Method{lvs.MethodDR}, Family: 4, Extra: "max_conns = 10"})
	to := target(l, lvs.MethodDR, false, lab.PortEcho)
	var ten []*session
	for range 10 {
		ten = append(ten, connect(t, l, to))
	}
	r, err := l.Load(context.Background(), "c1", lab.LoadOptions{Kind: lab.KindTCP, Target: to, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if r.Connections != 0 || r.Failed != 1 {
		t.Errorf("the eleventh: %+v, want no connection", r)
	}
	for _, s := range ten {
		s.echo(strings.Repeat("the ten go on\n", 400))
	}
	st := d.status()
	if d.verdict("drop_table_full") == 0 || st.Sessions.Refused == 0 {
		t.Errorf("drop_table_full = %d, sessions %+v; want the refusal counted", d.verdict("drop_table_full"), st.Sessions)
	}
	if st.Sessions.MaxConns != 10 || st.Sessions.Active+st.Sessions.Inactive != 10 {
		t.Errorf("sessions %+v, want 10 of 10", st.Sessions)
	}
}

func TestAClientStaysWithItsRealServer(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-persist"})
	config := l.Config(lab.ConfigOptions{Methods: methods, Family: 4})
	d := startWith(t, l, withService(config, `persistence_timeout = "60s"`))
	for _, m := range methods {
		to := target(l, m, false, lab.PortHTTP)
		used := map[string]bool{}
		for _, c := range l.Addresses().Clients {
			used[onlyServer(t, l, to, c.IPv4)] = true
		}
		if len(used) != 3 {
			t.Errorf("%s: ten clients are on %v, rr uses all three real servers", m, used)
		}
		if n := d.templates(to); n != len(l.Addresses().Clients) {
			t.Errorf("%s: ulvs conns lists %d templates of %s, want one for each of %d clients",
				m, n, to, len(l.Addresses().Clients))
		}
	}
}

// onlyServer drives the target from one address and returns the one real server that answers.
func onlyServer(tb testing.TB, l *lab.Lab, to netip.AddrPort, from netip.Addr) string {
	tb.Helper()
	r := labtest.Load(tb, l, lab.LoadOptions{Kind: lab.KindHTTP, Target: to, Source: from, Connections: 5})
	if len(r.ByRealServer) != 1 {
		tb.Errorf("%s: answers from %v, want one real server", from, r.ByRealServer)
	}
	for name := range r.ByRealServer {
		return name
	}
	return ""
}

// templates counts the persistence templates of a service in "ulvs conns --json".
func (d *director) templates(service netip.AddrPort) (n int) {
	d.tb.Helper()
	out, err := exec.Command(binary, "conns", "--json", "--socket", d.lab.ControlSocket(d.name)).Output()
	if err != nil {
		d.tb.Fatal(err)
	}
	for line := range bytes.Lines(out) {
		var c control.Conn
		if err := json.Unmarshal(line, &c); err != nil {
			d.tb.Fatalf("%s: %v", line, err)
		}
		if slices.Contains(c.Flags, "template") && c.VIP == service && c.Protocol == "tcp" {
			n++
		}
	}
	return n
}

func TestSchedulersShareSanely(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-sched"})
	for _, c := range []struct {
		scheduler string
		sticky    bool // a client's address decides
	}{{"wlc", false}, {"lc", false}, {"wrr", false}, {"sh", true}, {"mh", true}} {
		t.Run(c.scheduler, func(t *testing.T) {
			d := start(t, l, lab.ConfigOptions{Scheduler: c.scheduler, Methods: []lvs.Method{lvs.MethodDR}})
			defer d.stop()
			for _, v6 := range []bool{false, true} {
				to := target(l, lvs.MethodDR, v6, lab.PortHTTP)
				if c.sticky {
					sharesByClient(t, l, to)
					continue
				}
				r := labtest.Load(t, l, lab.LoadOptions{Kind: lab.KindHTTP, Target: to, Connections: 30})
				for _, name := range []string{"r1", "r2", "r3"} {
					if n := r.ByRealServer[name]; n < 8 || n > 12 {
						t.Errorf("%s answered %d of 30 in turn, equals want about 10", name, n)
					}
				}
			}
		})
	}
}

// sharesByClient wants each client with one real server, and the clients with more than one.
func sharesByClient(t *testing.T, l *lab.Lab, to netip.AddrPort) {
	t.Helper()
	used := map[string]bool{}
	for _, c := range l.Addresses().Clients {
		used[onlyServer(t, l, to, c.Family(to.Addr().Is6()))] = true
	}
	if len(used) < 2 {
		t.Errorf("ten clients are all on %v", used)
	}
}

// The largest datagrams that need no fragment: 28 or 48 bytes of headers, in a tunnel as much again
// as the outer header. The answer is three bytes longer and, but for NAT, does not pass the director.
func TestLargeDatagrams(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-large"})
	d := start(t, l, lab.ConfigOptions{})
	forEach(t, func(t *testing.T, m lvs.Method, v6 bool) {
		n, outer := int64(lab.DefaultMTU-28-3), int64(20)
		if v6 {
			n, outer = lab.DefaultMTU-48-3, 40
		}
		if m == lvs.MethodTUN {
			n -= outer - 3
		}
		r := labtest.Load(t, l, lab.LoadOptions{
			Kind: lab.KindUDP, Target: target(l, m, v6, lab.PortEcho), Connections: 30, Upload: n,
		})
		if len(r.ByRealServer) != 3 {
			t.Errorf("answers from %v, want all three real servers", r.ByRealServer)
		}
	})
	if n := d.verdict("drop_too_big") + d.verdict("drop_fragment"); n != 0 {
		t.Errorf("%d datagrams were too large or fragments", n)
	}
}
