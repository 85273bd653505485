package packet

import "testing"

func TestParseInner(t *testing.T) {
	for _, c := range []struct {
		name  string
		quote []byte
		want  Error
		kind  Kind
		ports bool
	}{
		{"a whole packet", tcp4().packet(), ErrNone, KindFlow, true},
		{"a quote of 8 bytes of TCP", tcp4().packet()[:28], ErrNone, KindFlow, true},
		{"a quote of 3 bytes of TCP", tcp4().packet()[:23], ErrL4Short, KindNone, false},
		{"a quote without any L4 byte", udp4().packet()[:20], ErrL4Short, KindNone, false},
		{"a quote of 8 bytes of SCTP", base4().sctp().packet()[:28], ErrNone, KindFlow, true},
		{"a quote behind options", tcp4().options(1, 1, 1, 1).packet()[:32], ErrNone, KindFlow, true},
		{"a quote of an echo", icmp4(8).packet(), ErrNone, KindICMP, false},
		{"an expired packet, TTL 0", udp4().withTTL(0).packet(), ErrNone, KindFlow, true},
		{"a checksum that the router left wrong", edit(udp4().packet(), 10, 1), ErrNone, KindFlow, true},
		{"a total length in host order", edit(udp4().packet(), 2, 0xff, 0), ErrNone, KindFlow, true},
		{"an unknown protocol without payload", base4().protocol(253).packet(), ErrNone, KindOther, false},
		{"a later fragment", udp4().frag(1480, false).packet(), ErrNone, KindFlow, true},
		{"a later fragment of 1 byte", udp4().payload(1).frag(1480, false).packet(), ErrL4Short, KindNone, false},
		{"a cut IPv4 header", udp4().packet()[:19], ErrIPShort, KindNone, false},
		{"options that were cut", tcp4().options(1, 1, 1, 1).packet()[:23], ErrIPHeaderLength, KindNone, false},
		{"IHL 4", edit(udp4().packet(), 0, 0x44), ErrIPHeaderLength, KindNone, false},
		{"nothing", nil, ErrIPShort, KindNone, false},
		{"no IP at all", []byte{0x50}, ErrIPVersion, KindNone, false},
		{"8 bytes of UDP over IPv6", udp6().packet()[:48], ErrNone, KindFlow, true},
		{"3 bytes of UDP over IPv6", udp6().packet()[:43], ErrL4Short, KindNone, false},
		{"a cut IPv6 header", udp6().packet()[:39], ErrIPShort, KindNone, false},
		{"ports behind extension headers", udp6().ext(60, 1, 4, 0, 0, 0, 0).packet(), ErrNone, KindFlow, true},
		{"an extension header cut", udp6().ext(60, 1, 4, 0, 0, 0, 0).packet()[:47], ErrExtHeaderChain, KindNone, false},
		{"a later fragment over IPv6", udp6().frag6(1232, false).packet()[:48], ErrNone, KindOther, false},
		{"a payload that no frame holds", edit(udp6().packet(), 4, 0xff, 0xff), ErrIPTotalLength, KindNone, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := dirtyParsed()
			want(t, "error", ParseInner(c.quote, &p), c.want)
			want(t, "kind", p.Kind, c.kind)
			if c.kind != KindNone {
				want(t, "has ports", uint32(p.L4) != 0, c.ports)
				want(t, "IP header at", p.L3Off, 0)
			}
		})
	}
}

func TestParseInnerReadsTCPFlagsOnlyIfTheQuoteReachesThem(t *testing.T) {
	var p Parsed
	want(t, "error", ParseInner(tcp4().packet()[:33], &p), ErrNone)
	want(t, "flags", p.TCPFlags, 0)
	want(t, "error", ParseInner(tcp4().packet()[:34], &p), ErrNone)
	want(t, "flags", p.TCPFlags, TCPSyn)
}

func TestEveryErrorHasANameOfItsOwnFitForACounter(t *testing.T) {
	seen := map[string]bool{}
	for e := range Error(NumErrors) {
		name := e.String()
		if name == "" || name == "unknown" || seen[name] {
			t.Errorf("error %d is called %q", e, name)
		}
		for _, r := range name {
			if r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9') {
				t.Errorf("%q is not snake_case", name)
			}
		}
		seen[name] = true
	}
	want(t, "success", ErrNone.String(), "ok")
	want(t, "a reason from nowhere", Error(200).String(), "unknown")
}

func TestEveryErrorHasATestFrame(t *testing.T) {
	seen := map[Error]bool{}
	for _, c := range parseCases() {
		seen[c.want] = true
	}
	for e := range Error(NumErrors) {
		if !seen[e] {
			t.Errorf("no frame in parseCases is refused with %s", e)
		}
	}
}
