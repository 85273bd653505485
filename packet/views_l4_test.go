package packet

import (
	"net/netip"
	"testing"
)

func TestTCPEncodesAndReadsBack(t *testing.T) {
	h := TCP(make([]byte, TCPLen))
	h.Encode(&TCPFields{SrcPort: 0xbbe4, DstPort: 80, Seq: 1000, Ack: 5, Flags: TCPSyn | TCPAck, Window: 0xffff})
	wantHex(t, h, "bbe40050 000003e8 00000005 5012ffff 00000000")
	want(t, "source port", h.SrcPort(), 0xbbe4)
	want(t, "destination port", h.DstPort(), 80)
	want(t, "ports", h.PortsWire(), 0x5000e4bb)
	want(t, "sequence", h.Seq(), 1000)
	want(t, "acknowledgment", h.Ack(), 5)
	want(t, "flags", h.Flags(), 0x12)
	want(t, "window", h.Window(), 0xffff)
	want(t, "header", h.HeaderLen(), 20)
	h.SetSrcPort(1)
	h.SetDstPort(2)
	h.SetFlags(TCPRst)
	wantHex(t, h[:14], "00010002 000003e8 00000005 5004")
	h.SetPortsWire(0x5000e4bb)
	wantHex(t, h[:4], "bbe40050")
}

func TestUDPEncodesAndReadsBack(t *testing.T) {
	h := UDP(make([]byte, UDPLen))
	h.Encode(&UDPFields{SrcPort: 5353, DstPort: 53, Length: 9})
	wantHex(t, h, "14e9 0035 0009 0000")
	want(t, "source port", h.SrcPort(), 5353)
	want(t, "destination port", h.DstPort(), 53)
	want(t, "ports", h.PortsWire(), 0x3500e914)
	want(t, "length", h.Length(), 9)
	want(t, "7 bytes valid", h[:7].Valid(), false)
	h.SetSrcPort(1)
	h.SetDstPort(2)
	h.SetLength(3)
	h.SetChecksum(0x0500)
	wantHex(t, h, "0001 0002 0003 0005")
}

// NAT there: the destination becomes the real server, both checksums by one delta.
func TestNATByDeltaEqualsRecomputing(t *testing.T) {
	b := tcp4().packet()
	h, l4 := IPv4(b), TCP(IPv4(b).Payload())
	l4.UpdateChecksum(PseudoV4(h.AddrWire(), ProtoTCP, len(l4)))
	real := WireV4(netip.MustParseAddr("10.0.0.21"))
	ports := l4.PortsWire()&0xffff | uint32(WirePort(8080))<<16
	d := Delta(0).Change32(h.DstWire(), real).Change32(l4.PortsWire(), ports)
	h.ChangeDst(real)
	l4.SetChecksum(l4.Checksum().Apply(d))
	l4.SetPortsWire(ports)
	got := l4.Checksum()
	l4.UpdateChecksum(PseudoV4(h.AddrWire(), ProtoTCP, len(l4)))
	want(t, "port", l4.DstPort(), 8080)
	want(t, "IPv4 checksum right", h.ChecksumOK(), true)
	want(t, "TCP checksum", got, l4.Checksum())
}

func TestAnEchoRequestBecomesItsReply(t *testing.T) {
	h := ICMP(hexBytes(t, "0800 0000 0001 0002 70696e67"))
	h.UpdateChecksum()
	h.ChangeType(ICMPEchoReply)
	want(t, "type", h.Type(), ICMPEchoReply)
	want(t, "checksum right", h.ChecksumOK(), true)
	want(t, "identifier", h.EchoID(), 1)
	want(t, "sequence", h.EchoSeq(), 2)
	want(t, "payload", string(h.Payload()), "ping")
	want(t, "error", h.IsError(), false)
}

func TestAnICMPv6EchoRequestBecomesItsReply(t *testing.T) {
	b := hexBytes(t, "6000000000113a40 20010db8007700000000000000000005 20010db8000c00000000000000000100"+
		"8000610e0001000170696e672064617461")
	h := ICMPv6(b[IPv6Len:])
	s, d := IPv6(b).SrcWire(), IPv6(b).DstWire()
	pseudo := PseudoV6(&[4]uint64{d[0], d[1], s[0], s[1]}, ProtoICMPv6, len(h))
	want(t, "checksum right", h.ChecksumOK(pseudo), true)
	h.ChangeType(ICMPv6EchoReply)
	want(t, "reply's checksum right", h.ChecksumOK(pseudo), true)
	want(t, "identifier", h.EchoID(), 1)
	want(t, "sequence", h.EchoSeq(), 1)
	want(t, "rest", h.Rest(), 0x00010001)
	want(t, "error", h.IsError(), false)
	want(t, "payload", string(h.Payload()), "ping data")
}

func TestICMPErrorsEncode(t *testing.T) {
	h := ICMP(make([]byte, ICMPLen))
	h.Encode(&ICMPFields{Type: ICMPUnreachable, Code: ICMPCodeFragNeeded, Rest: 1480})
	wantHex(t, h, "0304 0000 0000 05c8")
	want(t, "MTU", h.MTU(), 1480)
	want(t, "error", h.IsError(), true)
	h.SetType(ICMPTimeExceeded)
	h.SetCode(1)
	h.SetRest(0x01020304)
	wantHex(t, h, "0b01 0000 01020304")
	v6 := ICMPv6(h)
	v6.Encode(&ICMPFields{Type: ICMPv6PacketTooBig, Rest: 1280})
	wantHex(t, v6, "0200 0000 00000500")
	want(t, "error", v6.IsError(), true)
	v6.SetType(ICMPv6TimeExceeded)
	v6.SetCode(2)
	v6.SetRest(7)
	v6.UpdateChecksum(0)
	want(t, "code", v6.Code(), 2)
	want(t, "checksum right", v6.ChecksumOK(0), true)
	want(t, "5 bytes valid", v6[:5].Valid(), false)
}

func TestANeighbourAdvertisementEncodesAndReadsBack(t *testing.T) {
	target := netip.MustParseAddr("2001:db8:c::100")
	f := NDPFields{Type: ICMPv6NeighborAdvert, Flags: NDPSolicited | NDPOverride, Target: WireV6(target),
		Option: NDPOptTargetMAC, MAC: MAC{2, 0, 0, 0, 1, 1}}
	h := NDP(make([]byte, f.Len()))
	h.Encode(&f)
	wantHex(t, h, "8800 0000 60000000 20010db8000c00000000000000000100 0201 020000000101")
	want(t, "valid", h.Valid(), true)
	want(t, "target", AddrV6(h.Target()), target)
	want(t, "flags", h.Flags(), NDPSolicited|NDPOverride)
	mac, ok := h.OptionMAC(NDPOptTargetMAC)
	want(t, "MAC", mac, f.MAC)
	want(t, "has it", ok, true)
	_, ok = h.OptionMAC(NDPOptSourceMAC)
	want(t, "has a source MAC", ok, false)
}

func TestASolicitationWithoutAnOptionIsShort(t *testing.T) {
	f := NDPFields{Type: ICMPv6NeighborSolicit}
	h := NDP(make([]byte, f.Len()))
	h.Encode(&f)
	want(t, "length", len(h), NDPLen)
	want(t, "valid", h.Valid(), true)
}

func TestNeighbourMessagesWithBadOptionsAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"an option of length 0":     "0100000000000000",
		"an option beyond the end":  "0102000000000000",
		"half an option":            "01010000",
		"a good and a broken one":   "0101020000000101 0100000000000000",
		"one byte after an option ": "0101020000000101 00",
	} {
		b := append(make([]byte, NDPLen), hexBytes(t, text)...)
		b[0] = ICMPv6NeighborSolicit
		want(t, name+": valid", NDP(b).Valid(), false)
	}
	want(t, "a router advertisement: valid", NDP{NDPLen: 0, 0: 134}[:NDPLen].Valid(), false)
	want(t, "code 1: valid", NDP{NDPLen: 0, 0: 135, 1: 1}[:NDPLen].Valid(), false)
	want(t, "23 bytes: valid", NDP{NDPLen: 0, 0: 135}[:NDPLen-1].Valid(), false)
}

func TestSolicitedNodeGroup(t *testing.T) {
	group, mac := SolicitedNode(WireV6(netip.MustParseAddr("2001:db8::ab:1234:5678")))
	want(t, "group", AddrV6(group).String(), "ff02::1:ff34:5678")
	want(t, "MAC", mac.String(), "33:33:ff:34:56:78")
}

func TestGREEncodesAsIPVSDoes(t *testing.T) {
	f := GREFields{EtherType: EtherTypeIPv4}
	h := GRE(append(make([]byte, f.Len()), 0x45, 0))
	h.Encode(&f)
	wantHex(t, h, "0000 0800 4500")
	want(t, "valid", h.Valid(), true)
	want(t, "payload", len(h.Payload()), 2)
	want(t, "checksum right when there is none", h.ChecksumOK(), true)

	f.Checksum = true
	h = GRE(append(make([]byte, f.Len()), 0x45, 0))
	h.Encode(&f)
	wantHex(t, h, "8000 0800 32ff 0000 4500")
	want(t, "valid", h.Valid(), true)
	want(t, "checksum right", h.ChecksumOK(), true)
	want(t, "EtherType", h.EtherType(), EtherTypeIPv4)
	h[9]++
	want(t, "checksum right after damage", h.ChecksumOK(), false)
}

func TestGREReadsKeysAndRefusesWhatItDoesNotKnow(t *testing.T) {
	h := GRE(hexBytes(t, "b000 0800 0000 0000 01020304 00000007 45"))
	key, ok := h.Key()
	want(t, "valid", h.Valid(), true)
	want(t, "key", key, 0x01020304)
	want(t, "has a key", ok, true)
	want(t, "header", h.HeaderLen(), 16)
	want(t, "cut header valid", h[:15].Valid(), false)
	_, ok = GRE{0, 0, 8, 0}.Key()
	want(t, "no key", ok, false)
	want(t, "version 1 (PPTP) valid", GRE{0, 1, 8, 0}.Valid(), false)
	want(t, "RFC 1701 routing valid", GRE{0x40, 0, 8, 0}.Valid(), false)
}

func TestGUEEncodesAsIPVSDoes(t *testing.T) {
	h := GUE(make([]byte, 6))
	h.Encode(ProtoIPIP)
	wantHex(t, h, "00040000 0000")
	want(t, "valid", h.Valid(), true)
	want(t, "protocol", h.Proto(), ProtoIPIP)
	want(t, "payload", len(h.Payload()), 2)
	want(t, "control", h.Control(), false)
	want(t, "flags", h.Flags(), 0)
	want(t, "variant 1 valid", GUE{0x45, 0, 0, 0}.Valid(), false)
	want(t, "optional fields beyond the end valid", GUE{1, 4, 0, 0}.Valid(), false)
	want(t, "control", GUE{0x20, 1, 0, 0}.Control(), true)
}
