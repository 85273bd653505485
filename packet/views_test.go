package packet

import (
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func hexBytes(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// want compares and says what differed.
func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func wantHex(t *testing.T, got []byte, wantHex string) {
	t.Helper()
	if w := hexBytes(t, wantHex); !bytes.Equal(got, w) {
		t.Errorf("bytes differ\n got %x\nwant %x", got, w)
	}
}

func TestEthernetEncodesAndReadsBack(t *testing.T) {
	h := Ethernet(make([]byte, 16))
	a, b := MAC{2, 0, 0, 0, 1, 1}, MAC{2, 0, 0, 0, 0, 1}
	h.Encode(&EthernetFields{Dst: a, Src: b, EtherType: EtherTypeIPv6})
	wantHex(t, h, "020000000101 020000000001 86dd 0000")
	want(t, "destination", h.Dst(), a)
	want(t, "source", h.Src(), b)
	want(t, "payload", len(h.Payload()), 2)
	h.SwapMACs()
	wantHex(t, h, "020000000001 020000000101 86dd 0000")
	h.SetMACs(&[12]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	wantHex(t, h, "010203040506 0708090a0b0c 86dd 0000")
	want(t, "13 bytes valid", Ethernet(h[:13]).Valid(), false)
}

func TestMACs(t *testing.T) {
	m, ok := MACFromBytes(net.HardwareAddr{2, 0, 0, 0, 1, 0xfe})
	want(t, "text", m.String(), "02:00:00:00:01:fe")
	want(t, "ok", ok, true)
	_, ok = MACFromBytes(make([]byte, 8))
	want(t, "an InfiniBand address ok", ok, false)
	want(t, "unicast is multicast", m.IsMulticast(), false)
	want(t, "broadcast is multicast", BroadcastMAC().IsMulticast(), true)
}

func TestPushAndPopVLAN(t *testing.T) {
	raw := udp4().frame()
	f := Frame{Buf: append(make([]byte, 4), raw...), Off: 4, Len: uint16(len(raw))}
	want(t, "pushed", PushVLAN(&f, 0x6007), true)
	if !bytes.Equal(f.Bytes(), udp4().tagged(0x6007).frame()) {
		t.Errorf("tagged frame is\n%x", f.Bytes())
	}
	tag := VLAN(f.Bytes()[14:])
	want(t, "VID", tag.VID(), 7)
	want(t, "PCP", tag.PCP(), 3)
	want(t, "pushed without headroom", PushVLAN(&f, 1), false)
	want(t, "popped", PopVLAN(&f), true)
	if !bytes.Equal(f.Bytes(), raw) {
		t.Errorf("untagged frame is\n%x", f.Bytes())
	}
	want(t, "popped again", PopVLAN(&f), false)
	runt := Frame{Buf: make([]byte, 20), Off: 8, Len: 12}
	want(t, "pushed into a runt", PushVLAN(&runt, 1), false)
	tag.SetTCI(0x1fff)
	tag.SetEtherType(EtherTypeARP)
	wantHex(t, tag[:4], "1fff0806")
}

func TestFrameGrowsAndShrinksWithinItsChunk(t *testing.T) {
	f := Frame{Buf: make([]byte, 64), Off: 16, Len: 32}
	want(t, "17 bytes prepended", f.Prepend(17), false)
	want(t, "16 bytes prepended", f.Prepend(16), true)
	want(t, "length", len(f.Bytes()), 48)
	f.TrimFront(8)
	want(t, "length", len(f.Bytes()), 40)
	want(t, "resized to the end", f.Resize(56), true)
	want(t, "resized beyond", f.Resize(57), false)
	want(t, "resized below zero", f.Resize(-1), false)
	want(t, "length", f.Len, 56)
}

func TestARPEncodesAndReadsBack(t *testing.T) {
	h := ARP(make([]byte, ARPLen))
	f := ARPFields{Op: ARPReply, SenderMAC: MAC{2, 0, 0, 0, 1, 1}, TargetMAC: MAC{2, 0, 0, 0, 0, 1},
		SenderIP: WireV4(netip.MustParseAddr("198.18.0.100")), TargetIP: WireV4(netip.MustParseAddr("192.0.2.1"))}
	h.Encode(&f)
	wantHex(t, h, "0001 0800 06 04 0002 020000000101 c6120064 020000000001 c0000201")
	want(t, "valid", h.Valid(), true)
	want(t, "read back", ARPFields{h.Op(), h.SenderMAC(), h.TargetMAC(), h.SenderIP(), h.TargetIP()}, f)
	want(t, "27 bytes valid", ARP(h[:27]).Valid(), false)
}

func TestIPv4EncodesAndReadsBack(t *testing.T) {
	h := IPv4(make([]byte, 24))
	src, dst := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.18.0.100")
	h.Encode(&IPv4Fields{TOS: 0xb8, TTL: 63, Proto: ProtoIPIP, DF: true, ID: 0xbbe4, TotalLen: 24,
		Src: WireV4(src), Dst: WireV4(dst)})
	wantHex(t, h[:10], "45b80018bbe440003f04")
	want(t, "valid", h.Valid(), true)
	want(t, "checksum right", h.ChecksumOK(), true)
	want(t, "source", h.Src(), src)
	want(t, "destination", h.Dst(), dst)
	want(t, "both", h.AddrWire(), uint64(h.SrcWire())|uint64(h.DstWire())<<32)
	want(t, "TOS", h.TOS(), 0xb8)
	want(t, "ID", h.ID(), 0xbbe4)
	want(t, "protocol", h.Proto(), ProtoIPIP)
	want(t, "payload", len(h.Payload()), 4)
	want(t, "options", len(h.Options()), 0)
	want(t, "23 bytes valid", IPv4(h[:23]).Valid(), false)
	want(t, "19 bytes valid", IPv4(h[:19]).Valid(), false)
}

func TestIPv4SettersTouchOnlyTheirField(t *testing.T) {
	h := IPv4(make([]byte, 20))
	h.Encode(&IPv4Fields{TotalLen: 20, TTL: 1})
	h.SetFragment(1480, true)
	want(t, "DF", h.DF(), false)
	h.SetDF(true)
	want(t, "DF", h.DF(), true)
	want(t, "MF", h.MF(), true)
	want(t, "offset", h.FragOff(), 1480)
	h.SetFragment(8, false)
	want(t, "DF after SetFragment", h.DF(), true)
	want(t, "MF", h.MF(), false)
	h.SetDF(false)
	want(t, "offset", h.FragOff(), 8)
	h.SetTOS(1)
	h.SetTotalLen(0x0203)
	h.SetID(0x0405)
	h.SetTTL(6)
	h.SetProto(7)
	h.SetChecksum(0x0908)
	wantHex(t, h, "45 01 0203 0405 0001 06 07 0809 00000000 00000000")
}

func TestChangedIPv4AddressesKeepTheChecksumRight(t *testing.T) {
	h := IPv4(tcp4().options(1, 1, 1, 1).packet())
	a, b := netip.MustParseAddr("10.0.0.21"), netip.MustParseAddr("203.0.113.255")
	h.ChangeSrc(WireV4(a))
	h.ChangeDst(WireV4(b))
	want(t, "source", h.Src(), a)
	want(t, "destination", h.Dst(), b)
	want(t, "checksum right", h.ChecksumOK(), true)
}

func TestIPv6EncodesAndReadsBack(t *testing.T) {
	h := IPv6(make([]byte, 44))
	src, dst := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fd00::21")
	h.Encode(&IPv6Fields{TrafficClass: 0xb8, NextHeader: ProtoIPIP, HopLimit: 63, FlowLabel: 0xfabcde,
		PayloadLen: 4, Src: WireV6(src), Dst: WireV6(dst)})
	wantHex(t, h, "6b8abcde 0004 04 3f 20010db8000000000000000000000001 fd000000000000000000000000000021 00000000")
	want(t, "valid", h.Valid(), true)
	want(t, "source", h.Src(), src)
	want(t, "destination", h.Dst(), dst)
	want(t, "class", h.TrafficClass(), 0xb8)
	want(t, "flow label", h.FlowLabel(), 0xabcde)
	want(t, "payload", len(h.Payload()), 4)
	h.SetTrafficClass(0x12)
	h.SetFlowLabel(1 << 20)
	h.SetPayloadLen(5)
	h.SetNextHeader(59)
	h.DecHopLimit()
	wantHex(t, h[:8], "61200000 0005 3b 3e")
	want(t, "valid beyond its bytes", h.Valid(), false)
	h.SetHopLimit(255)
	h.SetSrcWire(WireV6(dst))
	h.SetDstWire(WireV6(src))
	want(t, "source", h.Src(), dst)
	want(t, "destination", h.Dst(), src)
}

func TestExtensionHeaderLengths(t *testing.T) {
	h := ExtHeader{6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	want(t, "destination options", h.Len(ProtoDestOpts), 16)
	want(t, "authentication", h.Len(ProtoAH), 12)
	want(t, "fragment", h.Len(ProtoFragment), 8)
	want(t, "15 bytes valid", h[:15].Valid(ProtoDestOpts), false)
	want(t, "15 bytes valid as AH", h[:15].Valid(ProtoAH), true)
	want(t, "next", h.NextHeader(), 6)
}

func TestIPv6FragmentEncodesAndReadsBack(t *testing.T) {
	h := IPv6Fragment(make([]byte, FragmentLen))
	h.Encode(&IPv6FragmentFields{NextHeader: ProtoUDP, More: true, Off: 1232, ID: 0x01020304})
	wantHex(t, h, "11 00 04d1 01020304")
	want(t, "valid", h.Valid(), true)
	want(t, "offset", h.Off(), 1232)
	want(t, "more", h.More(), true)
	want(t, "ID", h.ID(), 0x01020304)
	want(t, "next", h.NextHeader(), ProtoUDP)
}

func TestWalkExtensionsTellsWhereTheL4HeaderIs(t *testing.T) {
	k := udp6().ext(0, 1, 4, 0, 0, 0, 0).frag6(0, true)
	x, err := WalkExtensions(IPv6(k.packet()).Payload(), ProtoHopByHop)
	want(t, "error", err, ErrNone)
	want(t, "found", x, Extensions{Len: 16, Proto: ProtoUDP, Fragment: true, More: true, FragID: 0x01020304})
	x, err = WalkExtensions(nil, ProtoTCP)
	want(t, "error without headers", err, ErrNone)
	want(t, "found without headers", x, Extensions{Proto: ProtoTCP})
}
