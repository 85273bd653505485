package conformance

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestExpiryMayDifferByASecondAndNothingElse(t *testing.T) {
	const row = "TCP 00:59  SYN_RECV    192.0.2.1:1        198.18.0.100:80    10.0.0.21:80\n"
	for _, c := range []struct {
		name, want, got string
		equal           bool
	}{
		{"the same", row, row, true},
		{"a second less", row, strings.Replace(row, "00:59", "00:58", 1), true},
		{"a second more, over the minute", row, strings.Replace(row, "00:59", "01:00", 1), true},
		{"two seconds less", row, strings.Replace(row, "00:59", "00:57", 1), false},
		{"another state", row, strings.Replace(row, "SYN_RECV   ", "ESTABLISHED", 1), false},
		{"another server", row, strings.Replace(row, ".21", ".22", 1), false},
		{"one missing", row + row, row, false},
		{"one too many", row, row + row, false},
		{"a masked expiry", "TCP MM:SS  A\n", "TCP 00:01  A\n", false},
		{"other words", "a\nb\n", "a\nc\n", false},
		{"less", "a\nb\n", "a\n", false},
		{"more", "a\n", "a\nb\n", false},
		{"no last newline", "a\n", "a", false},
	} {
		if d := compareText(c.want, c.got); (d == "") != c.equal {
			t.Errorf("%s: %q", c.name, d)
		}
	}
}

func TestSessionsMayComeInAnyOrder(t *testing.T) {
	a, b := "TCP 00:59  SYN_RECV    a\n", "UDP 04:59  UDP         b\n"
	if d := compareText("head\n"+a+b+"tail\n", "head\n"+b+a+"tail\n"); d != "" {
		t.Error(d)
	}
	if d := compareText(a+a, a+b); d == "" {
		t.Error("a session listed twice equals two sessions")
	}
	proc := "TCP C0000201 9C40 C6120064 0050 0A000015 0050 SYN_RECV         59\n"
	if d := compareText(proc, strings.Replace(proc, "59", "58", 1)); d != "" {
		t.Error(d)
	}
	if d := compareText(proc, strings.Replace(proc, "59", "50", 1)); d == "" {
		t.Error("nine seconds less pass")
	}
}

// local is the recorded director's.
func local(a netip.Addr) bool { return Recorded().isLocal(a) }

func TestEveryRecordedFrameEqualsItself(t *testing.T) {
	every(t, func(s *Scenario) {
		for i, step := range s.Steps {
			if step.In == nil {
				continue
			}
			m := &masker{step.In.Hex, local}
			if d := compareFrames(m, step.Out, step.Out); d != "" {
				t.Errorf("%s step %d: %s", s.Name, i, d)
			}
		}
	})
}

func TestAChangedByteIsNoticedUnlessItIsMasked(t *testing.T) {
	noticed, masked := 0, 0
	for _, name := range []string{
		"fwd_nat", "fwd_dr", "fwd_tun_ipip", "fwd_tun_gue_csum", "fwd_tun_gre_csum_v6", "icmp_nat",
	} {
		for i, step := range scenario(t, name).Steps {
			for k := range step.Out {
				m := &masker{step.In.Hex, local}
				free := m.free(step.Out[k].Hex)
				for at := range step.Out[k].Hex {
					if compareFrames(m, step.Out, flipped(step.Out, k, at)) != "" {
						noticed++
						continue
					}
					masked++
					if !slices.Contains(free, at) {
						t.Errorf("%s step %d: a change in byte %d passes: %s", name, i, at, Describe(step.Out[k].Hex))
					}
				}
			}
		}
	}
	if noticed < 1000 || masked == 0 {
		t.Errorf("hardly anything was tried: %d changes noticed, %d not", noticed, masked)
	}
}

// free lists the bytes of a frame in which a change by itself may pass. A changed id or port alone may not: the
// checksum is wrong then.
func (m *masker) free(b []byte) (free []int) {
	v, ok := viewIP(b)
	if !ok || !m.own(v) {
		return nil
	}
	if v.v6 {
		free = []int{v.at + 1, v.at + 2, v.at + 3}
	}
	switch {
	case !v.fragment || v.later:
	case v.proto == 17:
		free = append(free, v.l4, v.l4+1, v.l4+6, v.l4+7)
	case v.proto == 47:
		free = append(free, v.l4+4, v.l4+5)
	}
	return free
}

func TestAnIDAndItsChecksumMayDiffer(t *testing.T) {
	m := &masker{nil, local}
	want := scenario(t, "no_server").Steps[2].Out[0]
	got := Frame{If: want.If, Hex: bytes.Clone(want.Hex)}
	ip := got.Hex[14:34]
	clear(ip[10:12])
	ip[4] ^= 0x5a
	check := ^sum(ip)
	ip[10], ip[11] = byte(check>>8), byte(check)
	if d := compareFrames(m, []Frame{want}, []Frame{got}); d != "" {
		t.Error(d)
	}
	m.local = func(netip.Addr) bool { return false }
	if d := compareFrames(m, []Frame{want}, []Frame{got}); d == "" {
		t.Error("the id of a forwarded packet may change")
	}
}

func TestFragmentsOfOnePacketShareTheirID(t *testing.T) {
	want := scenario(t, "fwd_tun_ipip").Steps[19].Out
	if len(want) != 2 {
		t.Fatalf("the recording has %d frames", len(want))
	}
	got := flipped(want, 1, 18)
	if sameIDs(want, got) || !sameIDs(want, want) {
		t.Error("fragments with different ids pass for those of one packet")
	}
}

func flipped(list []Frame, which, at int) []Frame {
	list = slices.Clone(list)
	list[which].Hex = bytes.Clone(list[which].Hex)
	list[which].Hex[at] ^= 1
	return list
}

func TestFramesOfTwoInterfacesMayComeInAnyOrder(t *testing.T) {
	a, b := Frame{If: "c0", Hex: []byte("a")}, Frame{If: "s0", Hex: []byte("b")}
	m := &masker{nil, local}
	if d := compareFrames(m, []Frame{a, b}, []Frame{b, a}); d != "" {
		t.Error(d)
	}
	c := Frame{If: "c0", Hex: []byte("c")}
	if d := compareFrames(m, []Frame{a, c}, []Frame{c, a}); d == "" {
		t.Error("frames of one interface come in another order, and it passes")
	}
}

func TestDescriptionsNameWhatMatters(t *testing.T) {
	every(t, func(s *Scenario) {
		for i, step := range s.Steps {
			for _, f := range step.Out {
				got := Describe(f.Hex)
				for _, word := range strings.Fields(f.Desc) {
					if strings.HasPrefix(word, "ttl=") && !strings.Contains(got, word) {
						t.Errorf("%s step %d: %q lacks %q of %q", s.Name, i, got, word, f.Desc)
					}
				}
			}
		}
	})
}

func FuzzFrames(f *testing.F) {
	every(f, func(s *Scenario) {
		for _, step := range s.Steps[:min(len(s.Steps), 12)] {
			if step.In != nil && len(step.Out) > 0 {
				f.Add([]byte(step.In.Hex), []byte(step.Out[0].Hex))
			}
		}
	})
	f.Fuzz(func(t *testing.T, in, out []byte) {
		m := &masker{in, local}
		Describe(in)
		m.difference(&Frame{Hex: in}, &Frame{Hex: out})
		m.difference(&Frame{Hex: out}, &Frame{Hex: out}) // differs from itself if its tunnel's checksum is wrong
		m.local = func(netip.Addr) bool { return false }
		if d := m.difference(&Frame{Hex: out}, &Frame{Hex: out}); d != "" {
			t.Errorf("a forwarded frame differs from itself: %s", d)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"name":"x","steps":[{"in":{"if":"c0","hex":"00ff"},"out":[{"if":"s0","hex":""}]}]}`))
	f.Add([]byte(`{"steps":[{"cmd":"true","text":"","rc":1},{"note":"n"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("fuzz", text)
		if err == nil && len(s.Steps) == 0 {
			t.Error("a scenario without steps")
		}
	})
}
