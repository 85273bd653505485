package packet

import "encoding/binary"

// An 802.1Q tag stands between the source MAC and the EtherType (IEEE 802.1Q
// clause 9.6); TPID 0x8100 takes the EtherType's place:
//
//	 12      14                               16         18
//	+-------+-------+---+--------------------+----------+--
//	| 0x8100| PCP 3 |DEI| VID 12             | EtherType| payload
//	+-------+-------+---+--------------------+----------+--
const (
	vlanTCI  = 0
	vlanType = 2

	// VLANLen is the bytes an 802.1Q tag adds to a frame.
	VLANLen = 4
)

// VLAN views the 4 bytes after a TPID: TCI and the next EtherType. Call Valid
// before any other method.
type VLAN []byte

// Valid reports whether the tag is complete.
func (h VLAN) Valid() bool { return len(h) >= VLANLen }

// TCI returns priority, DEI and VID as one word, as in [Parsed].VLAN.
func (h VLAN) TCI() uint16 { return binary.BigEndian.Uint16(h[vlanTCI:]) }

// VID returns the VLAN's number, 0 for a tag that has only a priority.
func (h VLAN) VID() uint16 { return h.TCI() & 0xfff }

// PCP returns the priority, 0 to 7.
func (h VLAN) PCP() uint8 { return h[vlanTCI] >> 5 }

// EtherType returns the EtherType of what the tag carries.
func (h VLAN) EtherType() uint16 { return binary.BigEndian.Uint16(h[vlanType:]) }

// SetTCI writes priority, DEI and VID.
func (h VLAN) SetTCI(tci uint16) { binary.BigEndian.PutUint16(h[vlanTCI:], tci) }

// SetEtherType writes the EtherType of what the tag carries.
func (h VLAN) SetEtherType(t uint16) { binary.BigEndian.PutUint16(h[vlanType:], t) }

// PushVLAN puts an 802.1Q tag into an untagged frame, moving its MACs into the
// headroom, and reports whether there was room and an Ethernet header.
func PushVLAN(f *Frame, tci uint16) bool {
	if f.Len < EthernetLen || !f.Prepend(VLANLen) {
		return false
	}
	b := f.Bytes()
	copy(b[:ethType], b[VLANLen:VLANLen+ethType])
	binary.BigEndian.PutUint16(b[ethType:], EtherTypeVLAN)
	binary.BigEndian.PutUint16(b[ethType+2:], tci)
	return true
}

// PopVLAN takes the 802.1Q tag out of a frame and reports whether it had one.
func PopVLAN(f *Frame) bool {
	b := f.Bytes()
	if len(b) < EthernetLen+VLANLen || Ethernet(b).EtherType() != EtherTypeVLAN {
		return false
	}
	copy(b[VLANLen:VLANLen+ethType], b[:ethType])
	f.TrimFront(VLANLen)
	return true
}
