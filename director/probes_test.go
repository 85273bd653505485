package director

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ulvs/dataplane/afxdp"
	"ulvs/health"
	"ulvs/lvs"
)

func TestProbePortsThatTheKernelUsesAreNoticed(t *testing.T) {
	for _, c := range []struct{ name, local, reserved, want string }{
		{"the default", "32768\t60999\n", "\n", ""},
		{"a wide range", "1024\t65535\n", "\n", "61440-65535 overlap"},
		{"just touching", "1024\t61440\n", "\n", "overlap"},
		{"reserved", "1024\t65535\n", "8080,61000-65535\n", ""},
		{"half reserved", "1024\t65535\n", "61000-62000\n", "overlap"},
		{"nonsense", "x\n", "\n", "ip_local_port_range"},
	} {
		files := map[string]string{"ip_local_port_range": c.local, "ip_local_reserved_ports": c.reserved}
		read := func(path string) ([]byte, error) { return []byte(files[path[strings.LastIndex(path, "/")+1:]]), nil }
		err := checkProbePorts([2]uint16{61440, 65535}, read)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// target is a check of real server i of the service at port 80.
func target(i int, m lvs.Method) health.Target {
	real := netip.AddrPortFrom(realAddr(i), 80)
	return health.Target{
		Service: service(80).Key, Real: real, Method: m, Via: health.ViaPath,
		Address: netip.AddrPortFrom(vip, 80), Server: real,
	}
}

func TestAProbeGoesByTheMethodAsConfiguredAlsoToWhatIsDown(t *testing.T) {
	b := newBed(t)
	s := service(80, 1, 2, 3)
	s.Destinations[1].Method = lvs.MethodNAT
	s.Destinations[2].Method, s.Destinations[2].Tunnel = lvs.MethodTUN, lvs.Tunnel{Type: lvs.TunnelGRE}
	b.replace(s)
	b.SetServerHealth(s.Key, netip.AddrPortFrom(realAddr(1), 80), false, "down")
	b.Flush()
	p := newPathDialer()
	p.node = b.Node
	for i, want := range map[int]netip.Addr{1: own, 2: noClient4, 3: own} {
		tg := target(i, s.Destinations[i-1].Method)
		spec, err := p.spec("tcp", &tg)
		if err != nil {
			t.Fatal(err)
		}
		if spec.From != want || spec.Source != own || spec.To != tg.Address || spec.Proto != lvs.ProtoTCP {
			t.Errorf("real server %d: %+v, want from %s", i, spec, want)
		}
		if d := spec.Real; d.Addr != realAddr(i) || d.Method != tg.Method || d.Tunnel != s.Destinations[i-1].Tunnel {
			t.Errorf("real server %d: goes to %+v", i, d)
		}
	}
	b.replace(service(443, 1), s) // its place is another one now
	tg := target(3, lvs.MethodTUN)
	if _, err := p.spec("udp", &tg); err != nil {
		t.Errorf("a service that moved: %v", err)
	}
}

func TestAProbeThatCannotGoSaysWhy(t *testing.T) {
	b := newBed(t)
	b.replace(service(80, 1))
	p := newPathDialer()
	p.node = b.Node
	gone := target(2, lvs.MethodDR)
	if _, err := p.spec("tcp", &gone); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("no such real server: %v", err)
	}
	b.net.unrouted[realAddr(1)] = true
	tg := target(1, lvs.MethodDR)
	if _, err := p.spec("tcp", &tg); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("no route: %v", err)
	}
}

func TestAnswersToProbesAreSteeredHere(t *testing.T) {
	b := newBed(t)
	s := service(80, 1, 2)
	s.Destinations[0].Method = lvs.MethodNAT
	b.replace(s)
	if p := b.rules().Probes; p.Sources != nil || p.VIPs != nil {
		t.Errorf("without probes: %+v", p)
	}
	b.opt.Probes = true
	if p := b.rules().Probes; !slices.Equal(p.Sources, []netip.Addr{own}) || !slices.Equal(p.VIPs, []netip.Addr{vip}) {
		t.Errorf("with probes: %+v", p)
	}
	b.SetServerHealth(s.Key, netip.AddrPortFrom(realAddr(1), 80), false, "down")
	b.Flush()
	if r := b.rules().Replies; !slices.Equal(r, []afxdp.Rule{{Addr: realAddr(1), Port: 80, Proto: lvs.ProtoTCP}}) {
		t.Errorf("a NAT real server that is down: %+v", r)
	}
}

func TestARealServerOnThisHostHasNoNextHop(t *testing.T) {
	b := newBed(t)
	s := service(80, 1)
	for _, a := range []netip.Addr{netip.MustParseAddr("127.0.0.1"), own} {
		s.Destinations = append(s.Destinations, lvs.Destination{Addr: a, Port: 80, Weight: 1})
	}
	b.replace(s)
	for i, d := range b.built.Service(s.Key).Destinations {
		got := b.Snapshots().Load().Dests[d.ID]
		if got.Local != (i > 0) || (got.Hop == 0) != (i > 0) {
			t.Errorf("real server %s: local %v, hop %d", d.Addr, got.Local, got.Hop)
		}
	}
}

func TestWhichProbesHaveAPath(t *testing.T) {
	b := newBed(t)
	b.replace(service(80, 1))
	dr, nat, tun := target(1, lvs.MethodDR), target(1, lvs.MethodNAT), target(1, lvs.MethodTUN)
	otherPort, here := nat, dr
	otherPort.Server = netip.AddrPortFrom(realAddr(1), 8080)
	here.Real = netip.AddrPortFrom(own, 80)
	want := func(when string, has map[*health.Target]bool) {
		t.Helper()
		for tg, yes := range has {
			if b.hasPath(tg) != yes {
				t.Errorf("%s: %+v has a path: %v, want %v", when, tg, !yes, yes)
			}
		}
	}
	want("alone", map[*health.Target]bool{&dr: true, &nat: true, &tun: true, &otherPort: false, &here: false})
	b.SetUnits([][]netip.Addr{{vip}}, nil)
	want("as BACKUP", map[*health.Target]bool{&dr: true, &nat: false, &tun: true, &otherPort: false, &here: false})
	b.SetHold(0, HoldAnswers)
	want("as MASTER", map[*health.Target]bool{&nat: true})
}
