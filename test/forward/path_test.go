package forward

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"ulvs/control"
	"ulvs/decap"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/test/lab"
	"ulvs/test/lab/labtest"
)

// checked adds a check down the path to every service that the lab's servers answer, and makes its real servers begin
// down, so that one that is up has answered.
func checked(config string) string {
	head, rest, _ := strings.Cut(config, "\n[[service]]\n")
	out := head
	for _, s := range strings.Split(rest, "\n[[service]]\n") {
		vip, _, _ := strings.Cut(s, "\n")
		udp := strings.Contains(s, `protocol = "udp"`)
		check := ""
		switch {
		case strings.HasSuffix(vip, `:80"`), strings.HasSuffix(vip, `:8080"`):
			check = `{ type = "http", path = "/" }`
		case strings.HasSuffix(vip, `:7"`) && udp:
			check = `{ type = "udp", require_reply = true }`
		case strings.HasSuffix(vip, `:7"`):
			check = `{ type = "tcp" }`
		default:
			continue
		}
		out += "\n[[service]]\ndelay_loop = \"1s\"\nconnect_timeout = \"2s\"\nretry = 0\nwarmup = \"0s\"\nalpha = true\n" +
			"via = \"path\"\ncheck = " + check + "\n" + s
	}
	return out
}

// awaitStates waits until every real server is in the state that want says, "" being up, and the workers know: it is
// told a moment earlier.
func (d *director) awaitStates(what string, want func(s *control.Service, r *control.RealServer) string) {
	d.tb.Helper()
	last := ""
	defer func() {
		if d.tb.Failed() {
			d.tb.Log(last)
		}
	}()
	testutil.Await(d.tb, what, func() bool {
		last = ""
		list, said := d.services(), d.lastSaid()
		for i := range list {
			for k := range list[i].RealServers {
				r := &list[i].RealServers[k]
				w := want(&list[i], r)
				words := r.Reason + "; " + said[list[i].Name()+" "+r.Address.String()]
				if r.TakesClients() == (w == "") && (w == "" && r.State == "up" ||
					w != "" && r.State == "down" && strings.Contains(words, w)) {
					continue
				}
				last += fmt.Sprintf("%s: %s is %s (%s), want %q\n", list[i].Name(), r.Address, r.State, words, w)
			}
		}
		return len(list) > 0 && last == ""
	})
}

// lastSaid is what the latest check of each service's real servers said. The reason for which one is down is the first
// check's: where a busy machine had no time to ask the server itself, the next ones do.
func (d *director) lastSaid() map[string]string {
	d.tb.Helper()
	list, err := d.client.Health(context.Background())
	if err != nil {
		d.tb.Fatal(err)
	}
	said := map[string]string{}
	for _, s := range list {
		for _, r := range s.RealServers {
			for _, c := range r.Checks {
				said[s.Service+" "+r.Address.String()] += c.Last
			}
		}
	}
	return said
}

func allUp(*control.Service, *control.RealServer) string { return "" }

// in runs a command in a namespace.
func in(tb testing.TB, l *lab.Lab, ns, line string) {
	tb.Helper()
	words := strings.Fields(line)
	if out, err := l.Command(ns, words[0], words[1:]...).CombinedOutput(); err != nil {
		tb.Fatalf("%s: %s: %v: %s", ns, line, err, out)
	}
}

func TestChecksFindWhatIsWrongOnTheRealPath(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-path"})
	d := startWith(t, l, checked(l.Config(lab.ConfigOptions{})))
	d.awaitStates("all real servers to pass", allUp)
	d.provesNoSessions()
	a := l.Addresses()
	in(t, l, "r1", "ip addr del "+a.DR.IPv4.String()+"/32 dev lo")
	in(t, l, "r2", "ip route replace default via "+a.GatewayServer.IPv4.String()+" dev e0")
	in(t, l, "r3", "ip link set e0 xdp off")
	d.awaitStates("the faults to be found and named", func(s *control.Service, r *control.RealServer) string {
		vip := s.VIP.Addr()
		switch r.Address.Addr() {
		case a.Reals[0].Addr.IPv4:
			if vip == a.DR.IPv4 {
				return "VIP missing on lo?"
			}
		case a.Reals[1].Addr.IPv4:
			if vip == a.NAT.IPv4 {
				return "default gateway not the director?"
			}
		case a.Reals[2].Addr.IPv4, a.Reals[2].Addr.IPv6:
			if vip == a.TUN.IPv4 || vip == a.TUN.IPv6 {
				return "decapsulation or VIP missing?"
			}
		}
		return ""
	})
	in(t, l, "r1", "ip addr add "+a.DR.IPv4.String()+"/32 dev lo")
	in(t, l, "r2", "ip route replace default via "+a.Directors[0].Server.IPv4.String()+" dev e0")
	if err := l.Do("r3", func() error { return decap.Attach("e0") }); err != nil {
		t.Fatal(err)
	}
	d.awaitStates("all real servers to pass again", allUp)
}

// provesNoSessions fails if checks down the path left sessions or counted for services.
func (d *director) provesNoSessions() {
	d.tb.Helper()
	for _, s := range d.services() {
		if s.Stats != (control.Stats{}) {
			d.tb.Errorf("%s %s: nobody came, and it counted %+v", s.Protocol, s.VIP, s.Stats)
		}
	}
	if st := d.status(); st.Sessions.Active+st.Sessions.Inactive != 0 {
		d.tb.Errorf("nobody came, and there are sessions: %+v", st.Sessions)
	}
	if d.verdict("tx_probe") == 0 || d.verdict("probe_answer") == 0 {
		d.tb.Error("no probe took the path")
	}
}

func TestChecksPassInEverySetting(t *testing.T) {
	for name, c := range map[string]struct {
		lab    lab.Options
		config lab.ConfigOptions
	}{
		"netlink":  {config: lab.ConfigOptions{Extra: `vip_mode = "netlink"`}},
		"asavie":   {config: lab.ConfigOptions{IO: "asavie"}},
		"queues":   {lab: lab.Options{Queues: 2}},
		"families": {config: lab.ConfigOptions{CrossFamily: true, Methods: []lvs.Method{lvs.MethodTUN}}},
	} {
		t.Run(name, func(t *testing.T) {
			c.lab.Prefix = "t-path"
			l := newLab(t, c.lab)
			d := startWith(t, l, checked(l.Config(c.config)))
			d.awaitStates("all real servers to pass", allUp)
			d.provesNoSessions()
		})
	}
}

func TestASorryServerOnTheDirectorAnswersWhenAllAreDown(t *testing.T) {
	l := labtest.Up(t, lab.Options{Prefix: "t-sorry"})
	stop, err := l.ServeAll(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	sorry, err := l.Serve(context.Background(), "d1", lab.ServeOptions{Name: "sorry", HTTP: "127.0.0.1:80"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sorry.Stop() })
	config := checked(l.Config(lab.ConfigOptions{Methods: []lvs.Method{lvs.MethodDR, lvs.MethodNAT}, Family: 4}))
	d := startWith(t, l, strings.ReplaceAll(config, "\ncheck = { type = \"http\"",
		"\nsorry_server = \"127.0.0.1:80\"\nsorry_server_method = \"nat\"\ncheck = { type = \"http\""))
	d.awaitStates("all real servers to pass", allUp)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for _, to := range []netip.AddrPort{
		target(l, lvs.MethodDR, false, lab.PortHTTP), target(l, lvs.MethodNAT, false, lab.PortMapped),
	} {
		d.awaitSorry(to)
		r := labtest.Load(t, l, lab.LoadOptions{
			Kind: lab.KindHTTP, Target: to, Connections: 20, Parallel: 4, Download: 1 << 18,
		})
		if r.ByRealServer["sorry"] != r.OK || r.OK != 20 {
			t.Errorf("%s: %d answers, by %v; want all of the sorry server", to, r.OK, r.ByRealServer)
		}
	}
	if out, err := exec.Command(binary, "conns", "--socket", l.ControlSocket("d1")).CombinedOutput(); err != nil ||
		!strings.Contains(string(out), "127.0.0.1:80") {
		t.Errorf("ulvs conns does not show the sessions of the sorry server: %v\n%s", err, out)
	}
	labtest.Serve(t, l)
	d.awaitStates("all real servers to pass again", allUp)
	back := target(l, lvs.MethodDR, false, lab.PortHTTP)
	labtest.Load(t, l, lab.LoadOptions{Kind: lab.KindHTTP, Target: back, Connections: 6})
}

// awaitSorry waits until the sorry server has the service, and is listed: then the workers know.
func (d *director) awaitSorry(service netip.AddrPort) {
	d.tb.Helper()
	testutil.Await(d.tb, service.String()+" to be the sorry server's", func() bool {
		for _, s := range d.services() {
			if s.VIP == service && s.Protocol == "tcp" {
				return s.State == control.StateSorry && slices.ContainsFunc(s.RealServers, func(r control.RealServer) bool {
					return r.State == control.StateSorry && r.TakesClients()
				})
			}
		}
		return false
	})
}
