package afxdp

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	xdpPass     = 2
	xdpRedirect = 4
)

// withSocket puts an AF_XDP socket on queue 0 of the program, so that redirects
// succeed and the counters tell their kind.
func withSocket(t testing.TB, a *Attachment) {
	t.Helper()
	enterNamespace(t)
	w := newWire(t, "s", 1)
	s, err := Open(Options{Interfaces: []Interface{w.near}})
	need(t, "afxdp", err)
	t.Cleanup(func() { s.Close() })
	if err := a.objs.Xsks.Put(uint32(0), uint32(s.FD(0))); err != nil {
		t.Fatal(err)
	}
}

func TestSteeringTakesWhatIsOursAndPassesTheRest(t *testing.T) {
	st, a := loadForTest(t)
	withSocket(t, a)
	if err := st.Set(siteRules()); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, cases := range [][]steerCase{cases4(), casesICMP4(), casesProbe(), casesLink(), cases6()} {
		for _, c := range cases {
			total++
			got, ret := decision(t, a, c.in)
			wantRet := uint32(xdpRedirect)
			if c.want == "passed" {
				wantRet = xdpPass
			}
			if got != c.want || ret != wantRet {
				t.Errorf("%s: got %s (%d), want %s (%d)\n%x", c.name, got, ret, c.want, wantRet, c.in)
			}
		}
	}
	t.Logf("%d frames", total)
}

func TestSteeringWithoutRulesPassesEverything(t *testing.T) {
	_, a := loadForTest(t)
	for _, cases := range [][]steerCase{cases4(), casesICMP4(), casesProbe(), casesLink(), cases6()} {
		for _, c := range cases {
			if got, ret := decision(t, a, c.in); got != "passed" || ret != xdpPass {
				t.Errorf("%s: got %s (%d)", c.name, got, ret)
			}
		}
	}
}

func TestSteeringWithoutASocketPasses(t *testing.T) {
	st, a := loadForTest(t)
	if err := st.Set(siteRules()); err != nil {
		t.Fatal(err)
	}
	got, ret := decision(t, a, f4(plain4(cli4, svc4, 6, tcp(1, 80))))
	if got != "no socket" || ret != xdpPass {
		t.Errorf("got %s (%d)", got, ret)
	}
}

func TestSteeringEveryTruncationIsHarmless(t *testing.T) {
	st, a := loadForTest(t)
	if err := st.Set(siteRules()); err != nil {
		t.Fatal(err)
	}
	for _, cases := range [][]steerCase{cases4(), casesICMP4(), casesProbe(), casesLink(), cases6()} {
		for _, c := range cases {
			for n := unix.SizeofSockaddrInet4; n < len(c.in); n++ { // the kernel refuses runs below 14 bytes
				if _, ret := decision(t, a, c.in[:n]); ret != xdpPass { // no socket: never a redirect
					t.Fatalf("%s cut to %d: %d", c.name, n, ret)
				}
			}
		}
	}
}

func TestSetChangesOnlyWhatDiffers(t *testing.T) {
	st, a := loadForTest(t)
	web, ssh := f4(plain4(cli4, svc4, 6, tcp(1, 80))), f4(plain4(cli4, svc4, 6, tcp(1, 22)))
	expect := func(what string, frame []byte, want string) {
		t.Helper()
		if got, _ := decision(t, a, frame); got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
	set := func(r Rules) {
		t.Helper()
		if err := st.Set(r); err != nil {
			t.Fatal(err)
		}
		checkMaps(t, st)
	}
	set(Rules{Services: []Rule{{svc4, 80, 6}}})
	expect("80 set", web, "no socket")
	expect("22 not set", ssh, "passed")
	set(Rules{Services: []Rule{{svc4, 22, 6}}})
	expect("80 gone", web, "passed")
	expect("22 set", ssh, "no socket")
	set(siteRules())
	set(Rules{VIPs: []netip.Addr{svc4}})
	expect("VIP", ssh, "no socket")
	set(Rules{})
	expect("all gone", ssh, "passed")
}

// checkMaps compares the kernel's maps with what Steering believes.
func checkMaps(t *testing.T, st *Steering) {
	t.Helper()
	var k addrKey
	var v uint32
	n := 0
	for it := st.addrs.Iterate(); it.Next(&k, &v); n++ {
		if st.applied.addrs[k] != v {
			t.Errorf("address %x: flags %x, want %x", k, v, st.applied.addrs[k])
		}
	}
	var r ruleKey
	m := 0
	for it := st.rules.Iterate(); it.Next(&r, &v); m++ {
		if _, ok := st.applied.rules[r]; !ok {
			t.Errorf("rule %+v should not be there", r)
		}
	}
	if n != len(st.applied.addrs) || m != len(st.applied.rules) {
		t.Errorf("maps hold %d and %d, want %d and %d", n, m, len(st.applied.addrs), len(st.applied.rules))
	}
}

func TestSetRefusesWhatMakesNoSense(t *testing.T) {
	st, _ := loadForTest(t)
	many := Rules{}
	for i := range 65 {
		many.Services = append(many.Services, Rule{svc4, uint16(i + 1), 6})
	}
	for name, r := range map[string]Rules{
		"no address":      {Services: []Rule{{Port: 80, Proto: 6}}},
		"no protocol":     {Replies: []Rule{{real4, 80, 0}}},
		"an empty VIP":    {VIPs: []netip.Addr{{}}},
		"an empty local":  {Locals: []netip.Addr{{}}},
		"beyond the maps": many,
	} {
		if err := st.Set(r); err == nil {
			t.Errorf("%s: accepted", name)
		}
		checkMaps(t, st)
	}
}
