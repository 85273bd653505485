package packet

import "testing"

// parseCase is a frame and what Parse must say of it. Each is also compared with
// the slow parser and seeds the fuzzers.
type parseCase struct {
	name  string
	frame []byte
	want  Error
	kind  Kind
	flags Flags
}

func parseCases() []parseCase {
	var all []parseCase
	for _, group := range [][]parseCase{
		goodCases(), linkCases(), headerCases(), addressCases(), fragmentCases(), l4Cases(), ipv6Cases(),
	} {
		all = append(all, group...)
	}
	return all
}

func goodCases() []parseCase {
	return []parseCase{
		{"TCP over IPv4 is a flow", tcp4().frame(), ErrNone, KindFlow, 0},
		{"UDP over IPv4 is a flow", udp4().frame(), ErrNone, KindFlow, 0},
		{"SCTP over IPv4 is a flow", base4().sctp().frame(), ErrNone, KindFlow, 0},
		{"the don't-fragment bit is seen", tcp4().dontFragment().frame(), ErrNone, KindFlow, FlagDF},
		{"TCP over IPv6 is a flow", tcp6().frame(), ErrNone, KindFlow, FlagV6},
		{"UDP over IPv6 is a flow", udp6().frame(), ErrNone, KindFlow, FlagV6},
		{"one tag is fine", tcp4().tagged(0x6007).frame(), ErrNone, KindFlow, FlagVLAN},
		{"one tag before IPv6 is fine", tcp6().tagged(7).frame(), ErrNone, KindFlow, FlagVLAN | FlagV6},
		{"IPv4 options are fine", tcp4().options(7, 7, 4, 0, 0, 0, 0, 0).frame(), ErrNone, KindFlow, FlagOptions},
		{"nonsense in IPv4 options is fine", tcp4().options(7, 0, 9, 9).frame(), ErrNone, KindFlow, FlagOptions},
		{"an echo request is ICMP", icmp4(ICMPEchoRequest).frame(), ErrNone, KindICMP, 0},
		{"an echo request over IPv6 is ICMP", icmp6(ICMPv6EchoRequest).frame(), ErrNone, KindICMP, FlagV6},
		{"a neighbour solicitation is ICMP", icmp6(ICMPv6NeighborSolicit).frame(), ErrNone, KindICMP, FlagV6},
		{"ICMPv6 over IPv4 is not ICMP", icmp4(0).protocol(ProtoICMPv6).frame(), ErrNone, KindOther, 0},
		{"ICMP over IPv6 is not ICMP", icmp6(0).protocol(ProtoICMP).frame(), ErrNone, KindOther, FlagV6},
		{"ESP is other", udp4().protocol(ProtoESP).frame(), ErrNone, KindOther, 0},
		{"AH is other", udp6().protocol(ProtoAH).frame(), ErrNone, KindOther, FlagV6},
		{"no next header is other", udp6().protocol(ProtoNoNext).payload().frame(), ErrNone, KindOther, FlagV6},
		{"an unknown protocol may be empty", base4().protocol(253).frame(), ErrNone, KindOther, 0},
		{"ARP for the VIP", arpFrame(), ErrNone, KindARP, 0},
		{"padding after the packet is fine", append(tcp4().frame(), 0, 0, 0, 0, 0, 0), ErrNone, KindFlow, 0},
		{"padding after IPv6 is fine", append(udp6().frame(), 1, 2, 3), ErrNone, KindFlow, FlagV6},
		{"TCP's data offset is not judged", edit(tcp4().frame(), 46, 4<<4), ErrNone, KindFlow, 0},
		{"UDP's length is not judged", edit(udp4().frame(), 38, 0xff, 0xff), ErrNone, KindFlow, 0},
		{"the reserved flag is not judged", resum(edit(tcp4().frame(), 20, 0x80)), ErrNone, KindFlow, 0},
		{"TTL 1 is the pipeline's affair", tcp4().withTTL(1).frame(), ErrNone, KindFlow, 0},
	}
}

func linkCases() []parseCase {
	return []parseCase{
		{"nothing at all", nil, ErrFrameShort, 0, 0},
		{"an Ethernet header cut", tcp4().frame()[:13], ErrFrameShort, 0, 0},
		{"a tag cut", tcp4().tagged(1).frame()[:17], ErrFrameShort, 0, 0},
		{"two 802.1Q tags", tcp4().tagged(1).tagged(2).frame(), ErrVLANStacked, 0, 0},
		{"an 802.1ad tag", edit(tcp4().tagged(1).tagged(2).frame(), 12, 0x88, 0xa8), ErrVLANStacked, 0, 0},
		{"an 802.1ad tag inside", edit(tcp4().tagged(1).tagged(2).frame(), 16, 0x88, 0xa8), ErrVLANStacked, 0, 0},
		{"LLDP", edit(tcp4().frame(), 12, 0x88, 0xcc), ErrEtherType, 0, 0},
		{"an 802.3 length", edit(tcp4().frame(), 12, 0, 40), ErrEtherType, 0, 0},
		{"ARP cut", arpFrame()[:41], ErrARPShort, 0, 0},
		{"ARP for other hardware", edit(arpFrame(), 14, 0, 6), ErrARPFormat, 0, 0},
		{"ARP with long addresses", edit(arpFrame(), 18, 255), ErrARPFormat, 0, 0},
		{"ARP for IPv6", edit(arpFrame(), 16, 0x86, 0xdd), ErrARPFormat, 0, 0},
	}
}

func headerCases() []parseCase {
	good := tcp4().frame()
	return []parseCase{
		{"no IPv4 header", good[:14], ErrIPShort, 0, 0},
		{"an IPv4 header cut", good[:33], ErrIPShort, 0, 0},
		{"no IPv6 header", tcp6().frame()[:53], ErrIPShort, 0, 0},
		{"IPv6 under IPv4's EtherType", edit(tcp6().frame(), 12, 8, 0), ErrIPVersion, 0, 0},
		{"IPv4 under IPv6's EtherType", edit(good, 12, 0x86, 0xdd), ErrIPVersion, 0, 0},
		{"IHL 4", resum(edit(good, 14, 0x44)), ErrIPHeaderLength, 0, 0},
		{"IHL beyond the frame", edit(good, 14, 0x4f), ErrIPHeaderLength, 0, 0},
		{"IHL beyond the total length", resum(edit(good, 14, 0x46, 0, 0, 20)), ErrIPTotalLength, 0, 0},
		{"total length 0", resum(edit(good, 16, 0, 0)), ErrIPTotalLength, 0, 0},
		{"total length 19", resum(edit(good, 16, 0, 19)), ErrIPTotalLength, 0, 0},
		{"a frame cut after its IP header", good[:34], ErrIPTotalLength, 0, 0},
		{"a frame cut in its ports", good[:38], ErrIPTotalLength, 0, 0},
		{"a frame cut in its TCP header", good[:44], ErrIPTotalLength, 0, 0},
		{"a wrong IPv4 checksum", edit(good, 24, 0xaa), ErrIPChecksum, 0, 0},
		{"a wrong checksum over options", edit(tcp4().options(1, 1, 1, 1).frame(), 35, 2), ErrIPChecksum, 0, 0},
		{"IPv6 payload beyond the frame", edit(tcp6().frame(), 18, 0, 21), ErrIPTotalLength, 0, 0},
	}
}

func addressCases() []parseCase {
	return []parseCase{
		{"a multicast source", tcp4().from("224.0.0.1").frame(), ErrMartian, 0, 0},
		{"a broadcast source", tcp4().from("255.255.255.255").frame(), ErrMartian, 0, 0},
		{"a loopback source", tcp4().from("127.0.0.1").frame(), ErrMartian, 0, 0},
		{"a zero source", tcp4().from("0.0.0.0").frame(), ErrMartian, 0, 0},
		{"a zero source to everybody is DHCP", udp4().from("0.0.0.0").to("255.255.255.255").frame(),
			ErrNone, KindFlow, 0},
		{"a source in 0/8 is the kernel's idea of unicast", tcp4().from("0.1.2.3").frame(), ErrNone, KindFlow, 0},
		{"a source in class E is, too", tcp4().from("240.0.0.1").frame(), ErrNone, KindFlow, 0},
		{"a zero destination", tcp4().to("0.0.0.0").frame(), ErrMartian, 0, 0},
		{"a loopback destination", tcp4().to("127.9.9.9").frame(), ErrMartian, 0, 0},
		{"a multicast destination passes", udp4().to("224.0.0.251").frame(), ErrNone, KindFlow, 0},
		{"a multicast IPv6 source", tcp6().from("ff02::1").frame(), ErrMartian, 0, 0},
		{"a loopback IPv6 source", tcp6().from("::1").frame(), ErrMartian, 0, 0},
		{"a mapped IPv6 source", tcp6().from("::ffff:192.0.2.1").frame(), ErrMartian, 0, 0},
		{"a mapped IPv6 destination", tcp6().to("::ffff:192.0.2.1").frame(), ErrMartian, 0, 0},
		{"an unspecified IPv6 destination", tcp6().to("::").frame(), ErrMartian, 0, 0},
		{"a loopback IPv6 destination", tcp6().to("::1").frame(), ErrMartian, 0, 0},
		{"TCP from the unspecified address", tcp6().from("::").frame(), ErrMartian, 0, 0},
		{"TCP from it behind options", tcp6().from("::").ext(60, 1, 4, 0, 0, 0, 0).frame(), ErrMartian, 0, 0},
		{"duplicate address detection", icmp6(135).from("::").frame(), ErrNone, KindICMP, FlagV6},
		{"LAND", tcp4().from("192.0.2.9").to("192.0.2.9").ports(80, 80).frame(), ErrNone, KindFlow, 0},
		{"LAND over IPv6", udp6().from("2001:db8::9").to("2001:db8::9").ports(5, 5).frame(), ErrNone, KindFlow, FlagV6},
	}
}

func fragmentCases() []parseCase {
	long := make([]byte, 24)
	long[1], long[3] = 1, 2 // ports
	firstTCP := base4().protocol(ProtoTCP).payload(long...)
	return []parseCase{
		{"a first fragment with its TCP header is a flow", firstTCP.frag(0, true).frame(),
			ErrNone, KindFlow, FlagFragment},
		{"a later fragment has no ports", udp4().frag(1480, false).frame(),
			ErrNone, KindOther, FlagFragment | FlagLaterFrag},
		{"a later fragment may be shorter than its L4 header", tcp4().payload(1).frag(1480, false).frame(),
			ErrNone, KindOther, FlagFragment | FlagLaterFrag},
		{"a later ICMP fragment is other", icmp4(8).frag(1480, true).frame(),
			ErrNone, KindOther, FlagFragment | FlagLaterFrag},
		{"a tiny first fragment is of no flow yet", firstTCP.payload(long[:16]...).frag(0, true).frame(),
			ErrNone, KindOther, FlagFragment},
		{"a fragment that ends past 65535", udp4().frag(65528, false).frame(), ErrFragmentBad, 0, 0},
		{"an IPv6 fragment that is not whole 8s", udp6().payload(1, 2, 3).frag6(0, true).frame(), ErrFragmentBad, 0, 0},
		{"an empty fragment", udp4().payload().frag(1480, true).frame(), ErrFragmentBad, 0, 0},
		{"the rest of a TCP header", tcp4().frag(8, false).frame(), ErrNone, KindOther, FlagFragment | FlagLaterFrag},
	}
}

func l4Cases() []parseCase {
	good := tcp4().frame()
	return []parseCase{
		{"total length 20 with TCP", resum(edit(good, 16, 0, 20)), ErrL4Short, 0, 0},
		{"total length 28 with TCP", resum(edit(good, 16, 0, 28)), ErrL4Short, 0, 0},
		{"total length 39 with TCP", resum(edit(good, 16, 0, 39)), ErrL4Short, 0, 0},
		{"7 bytes of UDP", udp4().payload(1, 2, 3, 4, 5, 6, 7).frame(), ErrL4Short, 0, 0},
		{"11 bytes of SCTP", base4().sctp().payload(make([]byte, 11)...).frame(), ErrL4Short, 0, 0},
		{"4 bytes of ICMP", icmp4(8).payload(8, 0, 0, 0).frame(), ErrL4Short, 0, 0},
		{"7 bytes of ICMPv6", icmp6(128).payload(make([]byte, 7)...).frame(), ErrL4Short, 0, 0},
		{"TCP port 0 is a port", tcp4().ports(0, 0).frame(), ErrNone, KindFlow, 0},
		{"UDP source port 0 over IPv6", udp6().ports(0, 80).frame(), ErrNone, KindFlow, FlagV6},
	}
}

func ipv6Cases() []parseCase {
	nops := []byte{1, 4, 0, 0, 0, 0}
	nine := tcp6()
	for range MaxExtHeaders + 1 {
		nine = nine.ext(ProtoDestOpts, nops...)
	}
	eight := tcp6()
	for range MaxExtHeaders {
		eight = eight.ext(ProtoDestOpts, nops...)
	}
	atomic, later := tcp6().frag6(0, false), tcp6().frag6(1232, false)
	first := udp6().payload(0, 1, 0, 2, 0, 8, 0, 0).frag6(0, true)
	return []parseCase{
		{"hop-by-hop options", tcp6().ext(0, nops...).frame(), ErrNone, KindFlow, FlagV6 | FlagOptions},
		{"all headers at once", tcp6().ext(0, nops...).ext(60, nops...).ext(43, 4, 0, 0, 0, 0, 0).frame(),
			ErrNone, KindFlow, FlagV6 | FlagOptions},
		{"eight headers", eight.frame(), ErrNone, KindFlow, FlagV6 | FlagOptions},
		{"nine headers", nine.frame(), ErrExtHeaderChain, 0, 0},
		{"hop-by-hop options not first", tcp6().ext(60, nops...).ext(0, nops...).frame(), ErrExtHeaderChain, 0, 0},
		{"two fragment headers", atomic.frag6(0, false).frame(), ErrExtHeaderChain, 0, 0},
		{"a header cut by the payload length", edit(tcp6().ext(60, nops...).frame(), 55, 9), ErrExtHeaderChain, 0, 0},
		{"an empty payload that should be a header", udp6().payload().protocol(60).frame(), ErrExtHeaderChain, 0, 0},
		{"a routing header with a stop left", tcp6().ext(43, 0, 1, 0, 0, 0, 0).frame(), ErrExtHeaderRouting, 0, 0},
		{"a jumbogram", edit(tcp6().ext(0, nops...).frame(), 18, 0, 0), ErrIPJumbo, 0, 0},
		{"an empty payload with TCP", edit(tcp6().frame(), 18, 0, 0), ErrL4Short, 0, 0},
		{"an atomic fragment is no fragment", atomic.frame(), ErrNone, KindFlow, FlagV6 | FlagOptions | FlagAtomic},
		{"a first IPv6 fragment is a flow", first.frame(), ErrNone, KindFlow, FlagV6 | FlagOptions | FlagFragment},
		{"a later IPv6 fragment has no ports", later.frame(), ErrNone, KindOther,
			FlagV6 | FlagOptions | FlagFragment | FlagLaterFrag},
		{"an IPv6 fragment that ends past 65535", tcp6().frag6(65528, false).frame(), ErrFragmentBad, 0, 0},
		{"a first IPv6 fragment without its chain", edit(first.ext(60, nops...).frame(), 63, 9), ErrFragmentBad, 0, 0},
		{"a tiny first IPv6 fragment", tcp6().payload(make([]byte, 8)...).frag6(0, true).frame(),
			ErrNone, KindOther, FlagV6 | FlagOptions | FlagFragment},
	}
}

func TestParse(t *testing.T) {
	for _, c := range parseCases() {
		t.Run(c.name, func(t *testing.T) {
			p := dirtyParsed()
			if err := Parse(c.frame, &p); err != c.want {
				t.Fatalf("got %s, want %s\n%x", err, c.want, c.frame)
			}
			if p.Kind != c.kind {
				t.Errorf("kind is %d, want %d\n%x", p.Kind, c.kind, c.frame)
			}
			if c.want == ErrNone && p.Flags != c.flags {
				t.Errorf("flags are %08b, want %08b\n%x", p.Flags, c.flags, c.frame)
			}
			compareWithOracle(t, c.frame)
		})
	}
}

func TestEveryCutOfEveryFrameIsReadLikeTheSlowParser(t *testing.T) {
	for _, c := range parseCases() {
		for n := range c.frame {
			compareWithOracle(t, c.frame[:n])
		}
	}
}
