package dataplane

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"ulvs/packet"
)

// SetVirtual gives VIPs MAC addresses of their own, which VRRP derives from the router's number (RFC 5798 section
// 7.3): ARP and neighbour discovery are answered with those, and frames to them are taken on every port. Nil: none.
func (s *Snapshot) SetVirtual(of map[netip.Addr]packet.MAC) {
	s.virtual, s.wire = of, nil
	for _, mac := range of {
		var b [8]byte
		copy(b[:], mac[:])
		if w := binary.LittleEndian.Uint64(b[:]); !slices.Contains(s.wire, w) {
			s.wire = append(s.wire, w)
		}
	}
}

// macOf is what a VIP is at for those who ask on a port.
func (s *Snapshot) macOf(vip netip.Addr, port uint8) packet.MAC {
	if mac, ok := s.virtual[vip]; ok {
		return mac
	}
	return s.Ports[port].MAC
}
