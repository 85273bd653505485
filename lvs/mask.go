package lvs

import (
	"math/bits"
	"net/netip"
)

// ClientMask4 is the mask of clients' IPv4 addresses in templates: 255.255.255.0 is 0xffffff00.
func (s *Service) ClientMask4() uint32 {
	if s.PersistWild != 0 {
		return ^s.PersistWild
	}
	return ^uint32(0) << ((32 - min(s.PersistBits, 32)) % 32)
}

// SetClientMask4 sets it; any mask is good, with holes, too.
func (s *Service) SetClientMask4(mask uint32) {
	s.PersistBits, s.PersistWild = 0, 0
	if ones := bits.LeadingZeros32(^mask); ones == bits.OnesCount32(mask) && ones > 0 {
		s.PersistBits = uint8(ones % 32)
	} else {
		s.PersistWild = ^mask
	}
}

// MasksClients reports whether templates are of networks, not of clients.
func (s *Service) MasksClients() bool { return s.PersistBits != 0 || s.PersistWild != 0 }

// DottedMask4 writes an IPv4 mask.
func DottedMask4(mask uint32) string {
	return netip.AddrFrom4([4]byte{byte(mask >> 24), byte(mask >> 16), byte(mask >> 8), byte(mask)}).String()
}
