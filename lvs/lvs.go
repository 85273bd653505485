// Package lvs is the vocabulary: services, destinations, methods, and the
// immutable Snapshot of them that everything else reads.
//
// It owns the names and limits that operators know from ipvsadm, and the stable
// ids by which the connection table refers to services and destinations. It does
// not parse configuration, schedule, forward, or know a frame. Its one mutable
// thing is Load, the session counts of a destination.
package lvs

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"time"
)

// IP protocol numbers of services.
const (
	ProtoIP   = 0
	ProtoTCP  = 6
	ProtoUDP  = 17
	ProtoSCTP = 132
)

// Limits, each with the error of Build that names it.
const (
	MaxServices     = 1 << 16
	MaxDestinations = 1 << 18
	MaxWeight       = 1<<31 - 1 // ipvsadm's limit
)

// DefaultPersistence is the persistence timeout of ipvsadm -p without a value
// (the man page's 300 is wrong; a kernel and keepalived use 360).
const DefaultPersistence = 360 * time.Second

// Method is how a packet reaches the real server.
type Method uint8

// The zero Method is DR, ipvsadm's default.
const (
	MethodDR  Method = iota // -g: new MAC addresses, the packet untouched but for its TTL
	MethodNAT               // -m: destination rewritten, replies come back through us
	MethodTUN               // -i: put into an outer IP packet
)

// String returns the configuration word: dr, nat or tun.
func (m Method) String() string {
	switch m {
	case MethodDR:
		return "dr"
	case MethodNAT:
		return "nat"
	case MethodTUN:
		return "tun"
	}
	return fmt.Sprintf("method(%d)", uint8(m))
}

// ParseMethod reads dr, nat or tun; ok is false for anything else.
func ParseMethod(s string) (m Method, ok bool) {
	switch s {
	case "dr":
		return MethodDR, true
	case "nat":
		return MethodNAT, true
	case "tun":
		return MethodTUN, true
	}
	return 0, false
}

// ProtoName returns tcp, udp or sctp, or the number.
func ProtoName(proto uint8) string {
	switch proto {
	case ProtoTCP:
		return "tcp"
	case ProtoUDP:
		return "udp"
	case ProtoSCTP:
		return "sctp"
	}
	return fmt.Sprintf("proto(%d)", proto)
}

// SchedFlags are the flags of ipvsadm -b (flag-1 .. flag-3).
type SchedFlags uint8

// Flag 1 and 2 mean the same for sh and mh.
const (
	SchedFallback SchedFlags = 1 << iota // sh-fallback, mh-fallback
	SchedPort                            // sh-port, mh-port
	SchedFlag3
)

// TunnelType is the encapsulation of MethodTUN.
type TunnelType uint8

// Encapsulations by their ipvsadm --tun-type.
const (
	TunnelIPIP TunnelType = iota
	TunnelGUE
	TunnelGRE
)

// Tunnel says how a MethodTUN destination is reached.
type Tunnel struct {
	Type     TunnelType
	Port     uint16 // UDP destination port; valid iff Type == TunnelGUE
	Checksum uint8  // TunnelNoChecksum, TunnelChecksum or TunnelRemoteChecksum
}

// Values of Tunnel.Checksum, by ipvsadm's --tun-nocsum, --tun-csum and --tun-remcsum. The last differs
// from the second only for packets of the host's own making.
const (
	TunnelNoChecksum uint8 = iota
	TunnelChecksum
	TunnelRemoteChecksum
)

// ServiceKey is a service's identity: an address with port and protocol, or a
// firewall mark (then Addr only tells the family).
type ServiceKey struct {
	Addr  netip.Addr
	Port  uint16 // 0: every port (persistent services only)
	Proto uint8
	Mark  uint32 // 0: not a mark service
}

// AddrPort returns the VIP and port.
func (k ServiceKey) AddrPort() netip.AddrPort { return netip.AddrPortFrom(k.Addr, k.Port) }

// String returns "tcp 192.0.2.1:80", "fwm 7".
func (k ServiceKey) String() string {
	if k.Mark != 0 {
		return fmt.Sprintf("fwm %d", k.Mark)
	}
	return ProtoName(k.Proto) + " " + k.AddrPort().String()
}

// Identity returns 48 bits that name the service among directors, whatever numbers it has there. Two
// services of 65536 share one with a chance of 1 in 130000.
func (k ServiceKey) Identity() uint64 {
	h := fnv.New64a()
	// String leaves the family of a mark out.
	fmt.Fprintf(h, "%s %d %d %d", k.Addr, k.Port, k.Proto, k.Mark)
	sum := h.Sum64()
	sum ^= sum >> 29 // FNV's high bits alone are weak
	return sum * 0x9e3779b97f4a7c15 >> 16
}

// ServiceID and DestID name a service and a destination for as long as they, or
// sessions of theirs, live. They index Snapshot's slots. 0 is none.
type (
	ServiceID uint32
	DestID    uint32
)

// Service is a VIP with its scheduler and real servers.
type Service struct {
	ID          ServiceID // set by Build
	Born        uint64    `json:"-"` // set by Build: the generation that added it; another one of the same key has another
	Key         ServiceKey
	Scheduler   string
	SchedFlags  SchedFlags
	Persistence time.Duration // 0: none
	PersistBits uint8         // prefix length of the client's address in the template; 0 = whole address
	PersistWild uint32        // bits that a mask leaves out, for an IPv4 mask that is no prefix; else 0
	OnePacket   bool          // -o: no session outlives its packet
	Policy      Policy
	Scale       int32 // weights are so many times what people see, for a slow start of small ones; 0: once
	// Destinations are in the kernel's list order: most recently added first.
	// Every scheduler's ties follow it.
	Destinations []Destination
}

// Equal reports whether a and b say the same, order of destinations included.
func (s *Service) Equal(b *Service) bool {
	return s.Key == b.Key && s.ID == b.ID && s.Scheduler == b.Scheduler && s.SchedFlags == b.SchedFlags &&
		s.Persistence == b.Persistence && s.PersistBits == b.PersistBits && s.PersistWild == b.PersistWild &&
		s.OnePacket == b.OnePacket &&
		s.Policy == b.Policy && s.Scale == b.Scale && sameDestinations(s.Destinations, b.Destinations)
}

func sameDestinations(a, b []Destination) bool {
	if len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) {
		return true
	}
	return slices.Equal(a, b)
}

// Destination is a real server inside a service.
type Destination struct {
	ID      DestID // set by Build
	Service ServiceID
	Addr    netip.Addr
	Port    uint16
	Method  Method
	Tunnel  Tunnel
	Weight  int32 // 0: quiesced, no new sessions
	Upper   uint32
	Lower   uint32
	Edits   uint32 `json:"-"` // by ipvsadm -e: some schedulers heed even one that changes nothing
	Load    *Load  `json:"-"` // set by Build; shared by every Snapshot that names the destination
	Inhibit bool   // when it fails its weight becomes 0 and it stays (inhibit_on_failure)
	Removed bool   // no longer configured, but sessions still refer to it
	// Fate is what becomes of its sessions now that it failed or was removed; FailDefault: nothing but what
	// IPVS does. FailKeep never stands here.
	Fate OnFailure
	// Shunned: no session begins for a template's sake. It failed or is being drained.
	Shunned bool
}

// AddrPort returns the real server's address and port.
func (d *Destination) AddrPort() netip.AddrPort { return netip.AddrPortFrom(d.Addr, d.Port) }
