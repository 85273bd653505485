package realserver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ulvs/control"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/realserver"
	"ulvs/test/lab"
	"ulvs/test/lab/labtest"
)

// binary is the ulvs under test, built by TestMain.
var binary string

func TestMain(m *testing.M) { labtest.Main(m, &binary) }

// rack is a lab whose real servers are set up by the command.
type rack struct {
	*lab.Lab
	t   *testing.T
	dir string // of the real servers' files
}

func newRack(t *testing.T, prefix string) *rack {
	t.Helper()
	r := &rack{labtest.Up(t, lab.Options{Prefix: prefix, Bare: true}), t, t.TempDir()}
	labtest.Serve(t, r.Lab)
	return r
}

// startDirector runs ulvs on d1 until the test ends.
func (r *rack) startDirector() {
	r.t.Helper()
	file := filepath.Join(r.dir, "ulvs.toml")
	if err := os.WriteFile(file, []byte(r.Config(lab.ConfigOptions{})), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.start("d1", "run", file)
	client := control.NewClient(r.ControlSocket("d1"))
	testutil.Await(r.t, "the director to forward", func() bool {
		st, err := client.Status(context.Background())
		return err == nil && st.Routing.NextHops > 0 && st.Routing.Unresolved == 0
	})
}

// start runs ulvs in a namespace; it ends with the test, well.
func (r *rack) start(ns string, args ...string) {
	r.t.Helper()
	cmd := r.Command(ns, binary, args...)
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || r.t.Failed() {
			r.t.Errorf("ulvs %v on %s ended: %v\n%s", args, ns, err, &log)
		}
	})
}

// ulvs runs "ulvs realserver" on a real server.
func (r *rack) ulvs(ns string, args ...string) (out string, err error) {
	all := append([]string{"realserver"}, args...)
	all = append(all, "--config", r.file(ns, "kept"), "--state", r.file(ns, "state"))
	text, err := r.Command(ns, binary, all...).CombinedOutput()
	return string(text), err
}

func (r *rack) file(ns, name string) string { return filepath.Join(r.dir, ns+"-"+name+".json") }

// must is ulvs, and has to do what it is told.
func (r *rack) must(ns string, args ...string) string {
	r.t.Helper()
	out, err := r.ulvs(ns, args...)
	if err != nil {
		r.t.Fatalf("%s: ulvs realserver %s: %v\n%s", ns, strings.Join(args, " "), err, out)
	}
	return out
}

// setups are the command lines that make a real server of all three methods: the director is the default
// gateway, for NAT, and what leaves as a VIP of DR or TUN goes by the router.
func (r *rack) setups() (list [][]string) {
	a := r.Addresses()
	vips := func(method string, vip, gateway lab.Dual) []string {
		return []string{"setup", "--method", method, "--vip", vip.IPv4.String(), "--vip", vip.IPv6.String(),
			"--gateway", gateway.IPv4.String(), "--gateway", gateway.IPv6.String()}
	}
	return [][]string{vips("dr", a.DR, a.GatewayServer), vips("tun", a.TUN, a.GatewayServer),
		vips("nat", a.NAT, a.Directors[0].Server)}
}

// serves sends requests by a method, and wants answers from every real server in equal parts.
func (r *rack) serves(m lvs.Method, v6 bool) {
	r.t.Helper()
	a := r.Addresses()
	target := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(a.VIP(m).Family(v6), port) }
	for _, o := range []lab.LoadOptions{
		{Kind: lab.KindHTTP, Target: target(lab.PortHTTP), Connections: 9, Download: 100_000},
		{Kind: lab.KindTCP, Target: target(lab.PortEcho), Connections: 3, Upload: 100_000},
		{Kind: lab.KindUDP, Target: target(lab.PortEcho), Connections: 9, Upload: 1000},
	} {
		report := labtest.Load(r.t, r.Lab, o)
		if len(report.ByRealServer) != len(a.Reals) {
			r.t.Errorf("%s %s: answers from %v, want all real servers", m, o.Kind, report.ByRealServer)
		}
	}
}

func (r *rack) servesAll() {
	r.t.Helper()
	for _, m := range []lvs.Method{lvs.MethodDR, lvs.MethodTUN, lvs.MethodNAT} {
		for _, v6 := range []bool{false, true} {
			r.serves(m, v6)
		}
	}
}

func TestHostsSetUpByTheCommandServeEveryMethod(t *testing.T) {
	r := newRack(t, "t-real")
	for _, real := range r.Addresses().Reals {
		for _, args := range r.setups() {
			if out, err := r.ulvs(real.Name, append([]string{"check"}, args[1:]...)...); exitCode(err) != 1 {
				t.Errorf("check before setup: %v\n%s", err, out)
			}
			r.must(real.Name, args...)
		}
		r.must(real.Name, "check", "--json")
	}
	r.areSilent()
	r.startDirector()
	r.servesAll()
	r.must("r1", "remove")
	r.must("r1", r.setups()[0]...)
	r.serves(lvs.MethodDR, false)
}

// areSilent wants no real server to answer ARP for a VIP, and all to when their settings are gone.
func (r *rack) areSilent() {
	r.t.Helper()
	a := r.Addresses()
	for _, vip := range []lab.Dual{a.DR, a.TUN} {
		if who := r.whoHas(vip.IPv4); who != "" {
			r.t.Errorf("%v: a real server answers ARP for it: %s", vip.IPv4, who)
		}
	}
	command(r.t, r.Lab, "r1", "sysctl -qw net.ipv4.conf.all.arp_ignore=0")
	if r.whoHas(a.DR.IPv4) == "" {
		r.t.Error("r1 was made to answer ARP, and nobody noticed")
	}
	out := strings.Join(strings.Fields(r.must("r1", r.setups()[0]...)), " ")
	if !strings.Contains(out, "all.arp_ignore = 1 set ") {
		r.t.Errorf("setup does not say that it mended arp_ignore:\n%s", out)
	}
}

// whoHas asks the real servers' segment by ARP for an address, from the router, and returns the answers.
func (r *rack) whoHas(vip netip.Addr) string {
	r.t.Helper()
	command(r.t, r.Lab, "rt", fmt.Sprintf("sysctl -qw net.ipv4.neigh.s0.retrans_time_ms=300; ip neigh flush dev s0;"+
		"ip route add %v dev s0", vip))
	defer command(r.t, r.Lab, "rt", fmt.Sprintf("ip route del %v dev s0", vip))
	err := r.Do("rt", func() error {
		conn, err := net.Dial("udp", netip.AddrPortFrom(vip, 9).String())
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte("who has it?"))
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	out := ""
	testutil.Await(r.t, "an answer by ARP, or none", func() bool {
		out = command(r.t, r.Lab, "rt", fmt.Sprintf("ip neigh show dev s0 %v", vip))
		return strings.Contains(out, "lladdr") || strings.Contains(out, "FAILED")
	})
	if strings.Contains(out, "lladdr") {
		return out
	}
	return ""
}

// command runs a script in a namespace.
func command(t *testing.T, l *lab.Lab, ns, script string) string {
	t.Helper()
	out, err := l.Command(ns, "sh", "-ec", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %s: %v\n%s", ns, script, err, out)
	}
	return string(out)
}

// The pitfall of the operators' notes: a new colleague restarts a real server's NIC, and forgets the VIP.
func TestAHostThatIsWatchedServesAgainAfterItsNetworkRestarted(t *testing.T) {
	r := newRack(t, "t-watch")
	for _, real := range r.Addresses().Reals {
		r.keep(real.Name)
		r.start(real.Name, "realserver", "watch", "--config", r.file(real.Name, "kept"),
			"--state", r.file(real.Name, "state"))
		r.awaitWhole(real.Name)
	}
	r.startDirector()
	r.servesAll()
	r.restartNetwork("r2")
	r.awaitWhole("r2")
	r.servesAll()
}

// keep writes what setup --persist keeps.
func (r *rack) keep(ns string) {
	r.t.Helper()
	a := r.Addresses()
	both := func(d lab.Dual) []netip.Addr { return []netip.Addr{d.IPv4, d.IPv6} }
	text, err := json.Marshal([]realserver.Config{
		{Method: "dr", VIPs: both(a.DR), Gateways: both(a.GatewayServer)},
		{Method: "tun", VIPs: both(a.TUN), Gateways: both(a.GatewayServer)},
		{Method: "nat", VIPs: both(a.NAT), Gateways: both(a.Directors[0].Server)},
	})
	if err == nil {
		err = os.WriteFile(r.file(ns, "kept"), text, 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rack) awaitWhole(ns string) {
	r.t.Helper()
	testutil.Await(r.t, ns+" to be set up", func() bool {
		_, err := r.ulvs(ns, "check")
		return err == nil
	})
}

// restartNetwork is what "systemctl restart networking" does to addresses and routes.
func (r *rack) restartNetwork(ns string) {
	r.t.Helper()
	a, real := r.Addresses(), lab.Real{}
	for _, one := range r.Addresses().Reals {
		if one.Name == ns {
			real = one
		}
	}
	script := fmt.Sprintf(`ip addr flush dev lo; ip link set lo down; ip link set e0 down; ip addr flush dev e0
		ip link set lo up; ip link set e0 up
		ip addr add %v/24 dev e0; ip addr add %v/64 dev e0 nodad
		ip route replace default via %v; ip -6 route replace default via %v`,
		real.Addr.IPv4, real.Addr.IPv6, a.GatewayServer.IPv4, a.GatewayServer.IPv6)
	command(r.t, r.Lab, ns, script)
}

func exitCode(err error) int {
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.ExitCode()
	}
	return 0
}
