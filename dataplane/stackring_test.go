package dataplane

import (
	"bytes"
	"net/netip"
	"testing"

	"ulvs/internal/testutil"
)

func TestAPacketRingKeepsOrderAndAddresses(t *testing.T) {
	r := newPacketRing()
	addrs := []netip.AddrPort{
		{}, netip.MustParseAddrPort("127.0.0.1:80"), netip.MustParseAddrPort("[::1]:8080"), {},
	}
	for i, to := range addrs {
		if !r.Push(bytes.Repeat([]byte{byte(i)}, i), to) {
			t.Fatalf("packet %d of 4 was refused", i)
		}
	}
	for i, to := range addrs {
		p := &r.Peek(1)[0]
		if !bytes.Equal(p.Bytes(), bytes.Repeat([]byte{byte(i)}, i)) || p.To() != to {
			t.Fatalf("packet %d: % x to %v", i, p.Bytes(), p.To())
		}
		r.Release(1)
	}
}

func TestAPacketRingRefusesAndCountsWhatDoesNotFit(t *testing.T) {
	r := newPacketRing()
	if r.Push(make([]byte, stackRoom+1), netip.AddrPort{}) || r.Lost() != 1 {
		t.Fatalf("a packet of %d bytes went in, %d lost", stackRoom+1, r.Lost())
	}
	for range stackSlots {
		if !r.Push(make([]byte, stackRoom), netip.AddrPort{}) {
			t.Fatal("a ring with room refused a packet")
		}
	}
	if r.Push(nil, netip.AddrPort{}) || r.Lost() != 2 {
		t.Fatalf("a full ring took a packet, %d lost", r.Lost())
	}
}

func TestAPacketRingAllocatesNothing(t *testing.T) {
	r, data, to := newPacketRing(), make([]byte, 1500), netip.MustParseAddrPort("[2001:db8::1]:80")
	testutil.AllocFree(t, func() {
		r.Push(data, to)
		r.Release(len(r.Peek(1)))
	})
}
