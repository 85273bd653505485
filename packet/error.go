package packet

// Error is why a frame was refused. The zero Error is success; every other one
// is an index into [NumErrors] counters and has a name that fits one.
type Error uint8

// The reasons, in the order in which [Parse] looks for them.
const (
	ErrNone             Error = iota // success
	ErrFrameShort                    // shorter than its Ethernet header or tag
	ErrVLANStacked                   // two 802.1Q tags, or an 802.1ad one (QinQ)
	ErrEtherType                     // neither IPv4, IPv6 nor ARP
	ErrARPShort                      // ARP of fewer than 28 bytes
	ErrARPFormat                     // ARP for something else than IPv4 over Ethernet
	ErrIPShort                       // fewer bytes than a fixed IP header
	ErrIPVersion                     // version field is not what the EtherType says
	ErrIPHeaderLength                // IHL below 5, or beyond the frame
	ErrIPTotalLength                 // total or payload length beyond the frame, or below the header
	ErrIPJumbo                       // IPv6 payload length 0 with hop-by-hop options (RFC 2675)
	ErrIPChecksum                    // IPv4 header checksum is wrong
	ErrMartian                       // an address that may not be on a wire
	ErrExtHeaderChain                // IPv6 extension headers cut, misplaced, repeated, or more than 8
	ErrExtHeaderRouting              // IPv6 routing header with segments left: not its final stop
	ErrFragmentBad                   // fragment is empty, ends past 65535, or is not whole 8s
	ErrL4Short                       // IP payload shorter than the L4 header
	numErrors
)

// NumErrors is how many Error values there are, ErrNone included: the size of
// an array of counters.
const NumErrors = int(numErrors)

var errorNames = [NumErrors]string{
	ErrNone:             "ok",
	ErrFrameShort:       "frame_short",
	ErrVLANStacked:      "vlan_stacked",
	ErrEtherType:        "ethertype",
	ErrARPShort:         "arp_short",
	ErrARPFormat:        "arp_format",
	ErrIPShort:          "ip_short",
	ErrIPVersion:        "ip_version",
	ErrIPHeaderLength:   "ip_header_length",
	ErrIPTotalLength:    "ip_total_length",
	ErrIPJumbo:          "ip_jumbo",
	ErrIPChecksum:       "ip_checksum",
	ErrMartian:          "martian",
	ErrExtHeaderChain:   "ext_header_chain",
	ErrExtHeaderRouting: "ext_header_routing",
	ErrFragmentBad:      "fragment_bad",
	ErrL4Short:          "l4_short",
}

// String returns the reason in snake_case, usable as a counter's name; "ok" for
// success.
func (e Error) String() string {
	if e >= numErrors {
		return "unknown"
	}
	return errorNames[e]
}
