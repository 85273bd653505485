package dataplane

import "net/netip"

// MarkRule gives packets a firewall mark, as nftables would before IPVS sees them. Zero fields
// match everything.
type MarkRule struct {
	Mark     uint32 // not 0
	Port     int    // index of the interface it arrived on, plus one; 0: any
	Src, Dst netip.Prefix
	Proto    uint8
	DstPorts [2]uint16 // first and last destination port
}
