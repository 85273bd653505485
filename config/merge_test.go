package config

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ulvs/internal/testutil"
	"ulvs/lvs"
)

// mergedInto applies edits to what text says and merges the result into it.
func mergedInto(t *testing.T, text string, edits ...*lvs.Edit) string {
	t.Helper()
	state := mustParse(t, text).State()
	for _, e := range edits {
		next, err := e.ApplyTo(state.Services)
		if err != nil {
			t.Fatal(err)
		}
		state.Services = next
	}
	out, err := Merge("f", []byte(text), state)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if got := mustParse(t, string(out)).State(); !got.Equal(state) {
		t.Fatalf("differs: %v\n%s", Words(Diff(got, state)), out)
	}
	return string(out)
}

func tcp(vip string) lvs.ServiceKey {
	ap := netip.MustParseAddrPort(vip)
	return lvs.ServiceKey{Addr: ap.Addr(), Port: ap.Port(), Proto: lvs.ProtoTCP}
}

func dest(address string, weight int32) lvs.Destination {
	ap := netip.MustParseAddrPort(address)
	return lvs.Destination{Addr: ap.Addr(), Port: ap.Port(), Weight: weight}
}

const commented = `# ours

[node] # this machine
interfaces = ["eth0"]

# The shop.
[[service]]
vip = "192.0.2.10:80"   # the VIP
scheduler = "rr"        # as ever

  # The old one.
  [[service.real_server]]
  address = "10.0.0.1:80"
  weight  =  3          # slow
  # weight = 4

  # The new one.
  [[service.real_server]]
  address = "10.0.0.2:80"

# About nothing.

# The other shop.
[[service]]
vip = "192.0.2.11:80"

[timeouts]
tcp = 900 # long
# The end.
`

func TestMergeChangesNothingElse(t *testing.T) {
	first, second := tcp("192.0.2.10:80"), tcp("192.0.2.11:80")
	replace := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(commented) }
	cases := []struct {
		name  string
		edits []*lvs.Edit
		want  string
	}{
		{"nothing", nil, commented},
		{"a weight", []*lvs.Edit{{Op: lvs.EditSetDest, Key: first, Dest: dest("10.0.0.1:80", 0)}},
			replace(`weight  =  3 `, `weight  =  0 `)},
		{"a weight that was not given", []*lvs.Edit{{Op: lvs.EditSetDest, Key: first, Dest: dest("10.0.0.2:80", 7)}},
			replace("10.0.0.2:80\"\n", "10.0.0.2:80\"\n  weight = 7\n")},
		{"a scheduler and persistence", []*lvs.Edit{{Op: lvs.EditSetService, Key: first,
			Service: lvs.Service{Scheduler: "sh", SchedFlags: lvs.SchedPort, Persistence: 90 * time.Minute, PersistBits: 24}}},
			replace(`"rr"        # as ever`+"\n", `"sh"        # as ever`+"\nflags = [\"sh-port\"]\n"+
				"persistence_timeout = \"1h30m\"\npersistence_granularity = 24\n")},
		{"a real server less", []*lvs.Edit{{Op: lvs.EditDelDest, Key: first, Dest: dest("10.0.0.1:80", 0)}},
			replace("  # The old one.\n  [[service.real_server]]\n  address = \"10.0.0.1:80\"\n"+
				"  weight  =  3          # slow\n  # weight = 4\n\n", "")},
		{"a real server more", []*lvs.Edit{{Op: lvs.EditAddDest, Key: first, Dest: dest("10.0.0.3:80", 2)}},
			replace("10.0.0.2:80\"\n", "10.0.0.2:80\"\n\n  [[service.real_server]]\n"+
				"  address = \"10.0.0.3:80\"\n  weight = 2\n")},
		{"a first real server", []*lvs.Edit{{Op: lvs.EditAddDest, Key: second, Dest: dest("10.0.0.3:80", 1)}},
			replace("192.0.2.11:80\"\n", "192.0.2.11:80\"\n\n  [[service.real_server]]\n  address = \"10.0.0.3:80\"\n")},
		{"a service less", []*lvs.Edit{{Op: lvs.EditDelService, Key: second}},
			replace("# The other shop.\n[[service]]\nvip = \"192.0.2.11:80\"\n\n", "")},
		{"a service more", []*lvs.Edit{{Op: lvs.EditAddService, Key: tcp("[2001:db8::1]:443"),
			Service: lvs.Service{Scheduler: "wlc"}}},
			replace("192.0.2.11:80\"\n", "192.0.2.11:80\"\n\n[[service]]\nvip = \"[2001:db8::1]:443\"\n")},
		{"a service removed and added", []*lvs.Edit{{Op: lvs.EditDelService, Key: first},
			{Op: lvs.EditAddService, Key: first, Service: lvs.Service{Scheduler: "rr"}}},
			"# ours\n\n[node] # this machine\ninterfaces = [\"eth0\"]\n\n# About nothing.\n\n# The other shop.\n[[service]]\n" +
				"vip = \"192.0.2.11:80\"\n\n# The shop.\n[[service]]\nvip = \"192.0.2.10:80\"   # the VIP\n" +
				"scheduler = \"rr\"        # as ever\n\n[timeouts]\ntcp = 900 # long\n# The end.\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := mergedInto(t, commented, c.edits...); got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

func TestMergeWritesTimeoutsAndSettings(t *testing.T) {
	state := mustParse(t, commented).State()
	state.Timeouts.TCP, state.Timeouts.UDP = 10*time.Minute, time.Second
	state.Settings.DropEntry, state.Settings.SloppyTCP = 2, 1
	out, err := Merge("f", []byte(commented), state)
	want := strings.Replace(commented, "tcp = 900 # long\n", "tcp = \"10m\" # long\nudp = \"1s\"\n", 1) +
		"\n[settings]\ndrop_entry = 2\nsloppy_tcp = 1\n"
	if err != nil || string(out) != want {
		t.Errorf("%v\n got:\n%s\nwant:\n%s", err, out, want)
	}
}

func TestMergeUnderstandsEveryFormOfTOML(t *testing.T) {
	key := tcp("192.0.2.10:80")
	texts := []string{
		service + "real_server = [{ address = \"10.0.0.1\" },\n " +
			"{ address = \"10.0.0.2\", weight = 2 }]",
		"service = [{ vip = \"192.0.2.10:80\", real_server = [{ address = \"10.0.0.1\" }, " +
			"{ address = '10.0.0.2' }] }]\n" + node,
		"timeouts = { tcp = 60 }\nsettings.drop_entry = 1\n" + node + "[[ \"service\" ]]\nvip = \"192.0.2.10:80\"\n" +
			"[['service'.real_server]]\naddress = \"10.0.0.1\"\n[[service.real_server]]\naddress = \"10.0.0.2\"",
		strings.ReplaceAll(node+"[[service]]\nvip = \"192.0.2.10:80\"\n[[service.real_server]]\naddress = \"10.0.0.1\"\n"+
			"[timeouts]\n[[service.real_server]]\naddress = \"10.0.0.2\"", "\n", "\r\n"),
	}
	for i, text := range texts {
		out := mergedInto(t, text, &lvs.Edit{Op: lvs.EditDelDest, Key: key, Dest: dest("10.0.0.1:80", 0)},
			&lvs.Edit{Op: lvs.EditSetDest, Key: key, Dest: dest("10.0.0.2:80", 5)},
			&lvs.Edit{Op: lvs.EditAddDest, Key: key, Dest: dest("10.0.0.1:80", 4)},
			&lvs.Edit{Op: lvs.EditAddService, Key: tcp("192.0.2.12:80"), Service: lvs.Service{Scheduler: "mh"}})
		if strings.Contains(text, "\r") && strings.Contains(strings.ReplaceAll(out, "\r\n", ""), "\n") {
			t.Errorf("text %d has other line ends:\n%q", i, out)
		}
		state := mustParse(t, text).State()
		state.Timeouts.UDP, state.Settings.DropEntry = time.Minute, 3
		if _, err := Merge("f", []byte(text), state); err != nil {
			t.Errorf("text %d: timeouts and settings: %v", i, err)
		}
	}
}

func TestWhatCannotBeSaidIsNotWritten(t *testing.T) {
	state := mustParse(t, commented).State()
	state.Services[0].Destinations[0].Addr = netip.MustParseAddr("127.0.0.1")
	_, err := Merge("f", []byte(commented), state)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1 is a loopback address") {
		t.Errorf("got %v", err)
	}
	if _, err := Merge("f", []byte("[node]\n"), state); err == nil {
		t.Error("a file with errors was merged into")
	}
}

// editor makes random edits.
type editor struct {
	rnd      *rand.Rand
	services []lvs.Service
	care     []Care
}

func (e *editor) pick(words ...string) string { return words[e.rnd.IntN(len(words))] }

func (e *editor) key() lvs.ServiceKey {
	if n := len(e.services); n > 0 && e.rnd.IntN(3) > 0 {
		return e.services[e.rnd.IntN(n)].Key
	}
	if e.rnd.IntN(4) == 0 {
		addr := netip.MustParseAddr(e.pick("0.0.0.0", "::"))
		return lvs.ServiceKey{Addr: addr, Mark: 1 + uint32(e.rnd.IntN(3))}
	}
	k := tcp(e.pick("192.0.2.1:80", "192.0.2.2:80", "[2001:db8::1]:80", "192.0.2.1:0"))
	k.Proto = [...]uint8{lvs.ProtoTCP, lvs.ProtoUDP, lvs.ProtoSCTP}[e.rnd.IntN(3)]
	return k
}

func (e *editor) service(k lvs.ServiceKey) lvs.Service {
	s := lvs.Service{Scheduler: e.pick("rr", "wlc", "sh", "mh"), SchedFlags: lvs.SchedFlags(e.rnd.IntN(8))}
	if k.Mark == 0 && k.Port == 0 || e.rnd.IntN(2) == 0 {
		s.Persistence, s.PersistBits = time.Duration(1+e.rnd.IntN(8000))*time.Second, uint8(e.rnd.IntN(32))
		if k.Addr.Is4() && e.rnd.IntN(4) == 0 {
			s.SetClientMask4(e.rnd.Uint32())
		}
	}
	s.OnePacket = (k.Mark != 0 || k.Proto == lvs.ProtoUDP) && e.rnd.IntN(2) == 0
	return s
}

func (e *editor) dest(k lvs.ServiceKey) lvs.Destination {
	d := dest(e.pick("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "[2001:db8:1::1]:80", "[2001:db8:1::2]:80"), 1)
	d.Weight, d.Upper, d.Port = int32(e.rnd.IntN(4)), uint32(e.rnd.IntN(3)), k.Port
	d.Lower = uint32(e.rnd.IntN(int(d.Upper) + 1))
	d.Method = lvs.Method(e.rnd.IntN(3))
	if d.Addr.Is4() != k.Addr.Is4() {
		d.Method = lvs.MethodTUN
	}
	if d.Method == lvs.MethodTUN {
		d.Tunnel = lvs.Tunnel{Type: lvs.TunnelType(e.rnd.IntN(3))}
		d.Tunnel.Checksum = uint8(e.rnd.IntN(int([...]int{1, 3, 2}[d.Tunnel.Type])))
		if d.Tunnel.Type == lvs.TunnelGUE {
			d.Tunnel.Port = uint16(6080 + e.rnd.IntN(2))
		}
	}
	if d.Method == lvs.MethodNAT && k.Port != 0 && e.rnd.IntN(2) == 0 {
		d.Port = 8080
	}
	return d
}

func (e *editor) edit() {
	k := e.key()
	ops := []lvs.EditOp{lvs.EditAddService, lvs.EditSetService, lvs.EditDelService, lvs.EditAddDest, lvs.EditAddDest,
		lvs.EditAddDest, lvs.EditSetDest, lvs.EditSetDest, lvs.EditDelDest}
	if e.rnd.IntN(3) == 0 {
		e.attend(k)
	}
	change := lvs.Edit{Op: ops[e.rnd.IntN(len(ops))], Key: k, Service: e.service(k), Dest: e.dest(k)}
	if next, err := change.ApplyTo(e.services); err == nil {
		e.services = next
	}
}

// attend changes what is said of a service's health, and its policy.
func (e *editor) attend(k lvs.ServiceKey) {
	for i := range e.services {
		if s := &e.services[i]; s.Key == k {
			s.Policy = lvs.Policy{SlowStart: time.Duration(e.rnd.IntN(3)) * time.Minute, SorryInhibit: e.rnd.IntN(2) == 0}
			if e.rnd.IntN(2) == 0 {
				addr := netip.MustParseAddr(e.pick("192.0.2.99", "127.0.0.1"))
				s.Policy.Sorry = lvs.Sorry{Server: netip.AddrPortFrom(addr, k.Port), Method: lvs.MethodTUN}
			}
			if s.Policy.OnFailure = lvs.OnFailure(e.rnd.IntN(6)); s.Policy.OnFailure == lvs.FailInhibit {
				s.Policy.OnFailure = lvs.FailReset
			}
			s.Destinations = slices.Clone(s.Destinations)
			for d := range s.Destinations {
				s.Destinations[d].Inhibit = e.rnd.IntN(2) == 0
			}
			e.care = append(slices.DeleteFunc(slices.Clone(e.care), func(c Care) bool { return c.Service == k }), e.careOf(s))
		}
	}
}

func (e *editor) careOf(s *lvs.Service) Care {
	keys := []Keys{
		nil, {"quorum": int64(1 + e.rnd.IntN(9)), "omega": true}, {"check": Keys{"type": "tcp", "connect_port": int64(80)}},
		{"delay_loop": "1m30s", "checks": []any{Keys{"type": "http", "regex": "a\"\\b"}, Keys{"type": "ping"}}},
		{"check": Keys{"type": "script", "path": []any{"/bin/a", "b c"}, "timeout": "250ms"}}, {"check": "none"},
	}
	if s.Key.Port == 0 { // nothing to connect to
		keys = []Keys{{"check": Keys{"type": "ping"}}, {"check": "none"}}
	}
	c := Care{Service: s.Key, Keys: keys[e.rnd.IntN(len(keys)-1)]}
	for i := range s.Destinations {
		if k := keys[e.rnd.IntN(len(keys))]; k != nil && !k.Has("quorum") {
			c.Servers = append(c.Servers, ServerCare{s.Destinations[i].AddrPort(), k})
		}
	}
	return c
}

// sprinkle puts numbered comments and blank lines between the lines of a text.
func sprinkle(rnd *rand.Rand, text string) string {
	var b strings.Builder
	for i, line := range strings.SplitAfter(text, "\n") {
		switch rnd.IntN(6) {
		case 0:
			fmt.Fprintf(&b, "  # comment %d [[service]]\n", i)
		case 1:
			fmt.Fprintf(&b, "\n# loose %d\n\n", i)
		}
		b.WriteString(line)
	}
	return b.String()
}

func TestRandomEditsAreMergedExactly(t *testing.T) {
	seed := testutil.Seed(t)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for round := range testutil.Rounds(300) {
		text := sprinkle(rnd, Example())
		for range 4 {
			c, err := Parse("f", []byte(text), Options{})
			if err != nil {
				t.Fatalf("seed %d round %d: %v\n%s", seed, round, err, text)
			}
			e := &editor{rnd, c.Services(), c.Care()}
			for range 1 + rnd.IntN(8) {
				e.edit()
			}
			state := State{e.services, e.care, c.Timeouts, c.Settings}
			state.Timeouts.UDP, state.Settings.DropEntry = time.Duration(1+rnd.IntN(9))*time.Second, rnd.IntN(4)
			m := newMerger(text, c, state.canonical())
			out := m.merge()
			if err := says("f", out, c, state); err != nil {
				t.Fatalf("seed %d round %d: %v\n--- before\n%s\n--- after\n%s", seed, round, err, text, out)
			}
			kept(t, text, out)
			text = out
		}
	}
}

// kept checks that no line of [node] or [[mark]], and no loose comment, was lost.
func kept(t *testing.T, before, after string) {
	t.Helper()
	has := map[string]bool{}
	for _, line := range strings.Split(after, "\n") {
		has[line] = true
	}
	doc := newDocument(before)
	for _, p := range doc.pieces {
		if p.svc >= 0 || p.table == "timeouts" || p.table == "settings" {
			continue
		}
		for _, line := range strings.Split(doc.text[p.start:p.end], "\n") {
			if !has[line] {
				t.Fatalf("lost %q\n--- before\n%s\n--- after\n%s", line, before, after)
			}
		}
	}
}

func TestPiecesAreTheWholeText(t *testing.T) {
	for _, text := range []string{Example(), commented, "", "a = 1", "# c\n[a]\n# d\n[b]\n\n# e"} {
		doc, whole := newDocument(text), ""
		for _, p := range doc.pieces {
			whole += text[p.start:p.end]
		}
		if whole != text {
			t.Errorf("got %q, want %q", whole, text)
		}
	}
}

func FuzzMerge(f *testing.F) {
	f.Add([]byte(Example()), uint64(1))
	f.Add([]byte(commented), uint64(2))
	f.Add([]byte("service = [{ vip = '192.0.2.1:80', real_server = [{ address = \"10.0.0.1\" }] }]\n"+node), uint64(3))
	f.Add([]byte("timeouts.tcp = 1\n"+node+"[[service]]\nmark = 1\nreal_server = [ # c\n "+
		"{address = '10.0.0.1'},\n]"), uint64(4))
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		c, err := Parse("f", text, Options{})
		if err != nil {
			return
		}
		e := &editor{rand.New(rand.NewPCG(seed, 2)), c.Services(), c.Care()}
		for range 6 {
			e.edit()
		}
		state := State{e.services, e.care, c.Timeouts, c.Settings}
		out, err := Merge("f", text, state)
		if err != nil {
			return // said, not written
		}
		got, err := Parse("f", out, Options{})
		if err != nil || !got.State().Equal(state) || !reflect.DeepEqual(got.Node, c.Node) {
			t.Fatalf("%v\n--- before\n%s\n--- after\n%s", err, text, out)
		}
	})
}
