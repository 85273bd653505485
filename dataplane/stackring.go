package dataplane

import (
	"net/netip"
	"sync/atomic"

	"ulvs/internal/ring"
)

// Sizes of a StackLink's rings: packets of a burst, and bytes of a packet. Larger ones are lost to the stack, which
// announces a smaller MSS.
const (
	stackSlots = 256
	stackRoom  = 4096
)

// PacketRing carries copies of packets from one writer to one reader. What does not fit is counted.
type PacketRing struct {
	*ring.SPSC[StackPacket]
	lost atomic.Uint64
}

// StackPacket is a packet in a PacketRing, with an address that the reader is told. It has no pointers: the
// collector would look through all of the ring's memory for others.
type StackPacket struct {
	len, port uint16
	addr      [16]byte // IPv4 mapped
	data      [stackRoom]byte
}

func newPacketRing() *PacketRing {
	return &PacketRing{SPSC: ring.New[StackPacket](stackSlots)}
}

// Push copies a packet in. It reports false when the ring is full or the packet too large. Only the writer may
// call it.
func (r *PacketRing) Push(b []byte, to netip.AddrPort) bool {
	var p *StackPacket
	if len(b) <= stackRoom {
		p = r.Claim()
	}
	if p == nil {
		r.lost.Add(1)
		return false
	}
	p.len, p.port = uint16(copy(p.data[:], b)), to.Port()
	p.addr = [16]byte{}
	if to.IsValid() {
		p.addr = to.Addr().As16()
	}
	r.Publish()
	return true
}

// Lost returns how many packets Push refused.
func (r *PacketRing) Lost() uint64 { return r.lost.Load() }

// Bytes returns the packet, the ring's until it is released.
func (p *StackPacket) Bytes() []byte { return p.data[:p.len] }

// To returns the address that Push was given; invalid for none.
func (p *StackPacket) To() netip.AddrPort {
	if p.port == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom16(p.addr).Unmap(), p.port)
}
