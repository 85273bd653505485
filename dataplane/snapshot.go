package dataplane

import (
	"encoding/binary"
	"maps"
	"net/netip"

	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
	"ulvs/sched"
)

// HopID names a next hop for as long as anything may refer to it. 0 is none.
type HopID uint32

// HopState says whether a Hop can be used.
type HopState uint8

// The zero state is unresolved.
const (
	HopUnresolved HopState = iota // no MAC address known yet
	HopReady
	HopUnreachable // the kernel has no route there, or only through an interface that is not ours
)

// HopKey is a next hop's identity: a neighbour on a port, behind a VLAN tag or none.
type HopKey struct {
	Port uint8
	VLAN uint16 // VLAN id; 0 = untagged
	Addr netip.Addr
}

// Hop is a next hop with its frame header ready to be written.
type Hop struct {
	dstSrc uint64 // destination MAC and the first two bytes of the source, as they lie in the frame
	src    uint32 // the last four bytes of the source MAC
	VLAN   uint16 // VLAN id; 0 = untagged
	MTU    uint16 // bytes of an IP packet that fits
	Port   uint8
	State  HopState
}

// NewHop makes a usable hop out of its addresses.
func NewHop(key HopKey, dst, src [6]byte, mtu uint16) Hop {
	var b [12]byte
	copy(b[0:], dst[:])
	copy(b[6:], src[:])
	return Hop{
		dstSrc: binary.LittleEndian.Uint64(b[0:]), src: binary.LittleEndian.Uint32(b[8:]),
		VLAN: key.VLAN, MTU: mtu, Port: key.Port, State: HopReady,
	}
}

// DstMAC returns the neighbour's address.
func (h *Hop) DstMAC() (mac [6]byte) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], h.dstSrc)
	copy(mac[:], b[:6])
	return mac
}

// Routes finds the next hop of any address. An implementation is immutable.
type Routes interface {
	// NextHop returns the neighbour that packets for dst go to; false when the
	// kernel has no route or one that leaves by no port of ours.
	NextHop(dst netip.Addr) (HopKey, bool)
}

// Port is an interface that workers serve.
type Port struct {
	Name string
	MAC  [6]byte
	MTU  uint16
	IPv4 netip.Addr // its primary addresses, for errors about packets that are not for a VIP
	IPv6 netip.Addr

	wireMAC uint64 // MAC as a little-endian load; set by IndexServices
}

// Dest is what forwarding needs of a destination.
type Dest struct {
	Hop      HopID // next hop to the real server; 0 if it is on this host
	Local    bool  // on this host: sessions go to our own stack
	Method   lvs.Method
	Removed  bool          // its sessions go on no more
	Quiesced bool          // weight 0
	Shunned  bool          // templates are not followed
	Fate     lvs.OnFailure // of its sessions, if Removed; FailDefault: what IPVS does
	V6       bool
	Overhead uint8 // bytes that a tunnel to it adds
	Tunnel   lvs.Tunnel
	Port     uint16    // real server's port as it lies in the packet; 0: the packet's own
	Addr     [2]uint64 // real server's address as little-endian loads; IPv4 in the low half of [0]
	Source   [2]uint64 // our address towards it, same form: what an outer header has as its source
	addrSum  uint32    // of an IPv4 outer header
	Load     *lvs.Load // nil in an unused slot
	Service  lvs.ServiceID
}

// NewDest makes the Dest of d without its next hop. source is our address towards it.
func NewDest(d *lvs.Destination, source netip.Addr) Dest {
	out := Dest{
		Method: d.Method, Removed: d.Removed && d.Fate != lvs.FailInhibit, Quiesced: d.Weight == 0, Shunned: d.Shunned,
		Fate: d.Fate, Load: d.Load, Service: d.Service,
		Addr: wireAddr(d.Addr), Port: packet.WirePort(d.Port), V6: d.Addr.Is6(), Source: wireAddr(source),
	}
	if d.Fate == lvs.FailInhibit {
		out.Shunned = true // taken out, but sessions go on
	} else if d.Fate != lvs.FailDefault {
		out.Removed = true
	}
	out.Overhead, out.Tunnel = tunnelOverhead(d.Tunnel, d.Addr.Is6()), d.Tunnel
	out.addrSum = addrSum4(out.Source[0], out.Addr[0])
	return out
}

// wireAddr returns an address in wire words: IPv4 in the low half of the first; zero for none.
func wireAddr(a netip.Addr) [2]uint64 {
	if a.Is4() {
		return [2]uint64{uint64(packet.WireV4(a))}
	}
	return packet.WireV6(a)
}

// Service is what scheduling needs of a service.
type Service struct {
	Config    *lvs.Service
	Scheduler *sched.Scheduler
	Persist   conntrack.Tick // persistence timeout; 0 = none

	identity uint64 // Config.Key.Identity()
	derived  bool   // peers need not hear of its sessions, see deriving
}

// Snapshot is everything a worker reads, immutable once stored. A worker loads
// it once per batch.
type Snapshot struct {
	Generation uint64
	RouteEpoch uint16 // changes whenever Routes does; 12 bits are used
	Services   []Service
	Dests      []Dest // by DestID
	Hops       []Hop  // by HopID; [0] is unresolved for ever
	HopIDs     map[HopKey]HopID
	Ports      []Port
	Routes     Routes
	Timeouts   *conntrack.Timeouts
	Settings   lvs.Settings
	Marks      []MarkRule // first match gives the mark
	Replicated bool       // peers are told of sessions
	// Settling says that peers may be about to tell of sessions: segments of unknown ones are not reset meanwhile.
	Settling bool
	// Logs are what workers without a log of their own write to, by their ids; none: they tell nobody.
	Logs []*conntrack.Log
	// TellAll has sessions told that peers could derive: a kernel listens, which cannot.
	TellAll bool
	// VIPs are the addresses that we answer for (ARP, NS, echo, resets). Those in
	// vip_mode netlink are the kernel's and not among them.
	VIPs    map[netip.Addr]bool
	virtual map[netip.Addr]packet.MAC // of VIPs that have a MAC address of their own (VRRP's); see SetVirtual
	wire    []uint64                  // those addresses, each once, as in wireMAC
	Locals  []netip.Addr              // the host's own addresses: nobody else sends from them
	removed int                       // real servers that are gone and sessions still refer to
	// idle tells, for IPv4 and IPv6, that there is no service at all: the kernel takes IPVS out of the way then,
	// sessions or not.
	idle    [2]bool
	flow4   flowIndex
	own     flowIndex // IPv4 addresses of our own, as keys of address|ownAddr
	flow6   map[key6]lvs.ServiceID
	marks   map[markKey]lvs.ServiceID
	reals   map[realKey]int32 // NAT real servers, each as often as it is in a service
	tunnels map[realKey]int32
}

// realKey is how a NAT real server's packets, and errors about our tunnel to one, are known: its address, and
// the service's protocol with its port, or the tunnel's.
type realKey struct {
	addr  [2]uint64
	port  uint16 // wire order
	proto uint8
	v6    bool
}

type markKey struct {
	mark uint32
	v6   bool
}

func (s *Snapshot) markService(mark uint32, v6 bool) lvs.ServiceID { return s.marks[markKey{mark, v6}] }

type key6 struct {
	addr [2]uint64
	l4   uint32 // port in wire order, protocol << 16
}

// IndexServices builds what workers look up by packet. Call it once, before the
// snapshot is stored.
func (s *Snapshot) IndexServices() {
	for i := range s.Ports {
		var b [8]byte
		copy(b[:], s.Ports[i].MAC[:])
		s.Ports[i].wireMAC = binary.LittleEndian.Uint64(b[:])
	}
	s.IndexAddresses()
	s.indexFlows()
	for i := range s.Services {
		s.describe(i)
	}
	s.reals, s.tunnels, s.removed = make(map[realKey]int32), make(map[realKey]int32), 0
	for i := range s.Dests {
		s.countDest(&s.Dests[i], 1)
	}
}

// IndexAddresses builds what VIPs and Locals are looked up in.
func (s *Snapshot) IndexAddresses() {
	s.own = newFlowIndex(len(s.VIPs) + len(s.Locals))
	for vip := range s.VIPs {
		s.owns(vip)
	}
	for _, a := range s.Locals {
		s.owns(a)
	}
}

// indexFlows builds what services are looked up in.
func (s *Snapshot) indexFlows() {
	s.flow6 = make(map[key6]lvs.ServiceID)
	s.flow4 = newFlowIndex(len(s.Services))
	s.marks = make(map[markKey]lvs.ServiceID)
	s.idle = [2]bool{true, true}
	for i := range s.Services {
		c := s.Services[i].Config
		if c == nil {
			continue
		}
		if s.Services[i].Scheduler == nil {
			continue
		}
		s.idle[index(c.Key.Addr.Is6())] = false
		if c.Key.Mark != 0 {
			s.marks[markKey{c.Key.Mark, c.Key.Addr.Is6()}] = c.ID
			continue
		}
		l4 := uint32(packet.WirePort(c.Key.Port)) | uint32(c.Key.Proto)<<16
		if c.Key.Addr.Is4() {
			s.flow4.put(uint64(packet.WireV4(c.Key.Addr))|uint64(l4)<<32, c.ID)
			continue
		}
		s.flow6[key6{packet.WireV6(c.Key.Addr), l4}] = c.ID
	}
}

// log returns what worker id writes to; nil: nothing.
func (s *Snapshot) log(id int) *conntrack.Log {
	if id < len(s.Logs) {
		return s.Logs[id]
	}
	return nil
}

// describe tells what peers have to know of a service.
func (s *Snapshot) describe(i int) {
	if svc := &s.Services[i]; svc.Config != nil {
		svc.identity, svc.derived = svc.Config.Key.Identity(), s.Replicated && deriving(svc)
	}
}

// countDest adds a destination to what destinations are looked up in, or takes it away with by = -1.
func (s *Snapshot) countDest(d *Dest, by int32) {
	if d.Removed {
		s.removed += int(by)
	}
	if m, key := s.replyIndex(d); m != nil {
		if m[key] += by; m[key] == 0 {
			delete(m, key)
		}
	}
}

// replyIndex returns where packets from a destination are looked up, and as what; nil if nowhere.
func (s *Snapshot) replyIndex(d *Dest) (map[realKey]int32, realKey) {
	switch {
	case d.Load == nil || d.Removed:
	case d.Method == lvs.MethodNAT:
		return s.reals, realKey{d.Addr, d.Port, s.Services[d.Service].Config.Key.Proto, d.V6}
	case d.Method == lvs.MethodTUN:
		return s.tunnels, tunnelKey(d)
	}
	return nil, realKey{}
}

// Moved says what a change of services and destinations came to.
type Moved struct {
	Services bool // services came or went
	Replies  bool // packets from other real servers concern us
}

// Reindex is IndexServices for a snapshot that is last but for the given services and destinations. Where
// services moved, VIPs have to be set and IndexAddresses called besides.
func (s *Snapshot) Reindex(last *Snapshot, services, dests []int) (m Moved) {
	for _, id := range services {
		var was Service
		if id < len(last.Services) {
			was = last.Services[id]
		}
		m.Services = m.Services || !sameFlow(&was, &s.Services[id])
		s.describe(id)
	}
	if m.Services {
		s.indexFlows()
	}
	for _, id := range dests {
		var was Dest
		if id < len(last.Dests) {
			was = last.Dests[id]
		}
		_, old := last.replyIndex(&was)
		_, now := s.replyIndex(&s.Dests[id])
		if old == now && was.Removed == s.Dests[id].Removed {
			continue
		}
		if !m.Replies && old != now {
			s.reals, s.tunnels, m.Replies = maps.Clone(s.reals), maps.Clone(s.tunnels), true
		}
		s.recount(last, &was, &s.Dests[id])
	}
	return m
}

// recount puts now in the place of was. last is where was belongs.
func (s *Snapshot) recount(last *Snapshot, was, now *Dest) {
	if was.Removed {
		s.removed--
	}
	if m, key := last.replyIndex(was); m != nil {
		into := s.reals
		if was.Method == lvs.MethodTUN {
			into = s.tunnels
		}
		if into[key]--; into[key] == 0 {
			delete(into, key)
		}
	}
	s.countDest(now, 1)
}

// sameFlow reports whether packets find both by the same key.
func sameFlow(a, b *Service) bool {
	if a.Config == nil || b.Config == nil || a.Scheduler == nil || b.Scheduler == nil {
		return (a.Config == nil || a.Scheduler == nil) && (b.Config == nil || b.Scheduler == nil)
	}
	return a.Config.Key == b.Config.Key
}

// removedSince reports whether a real server was removed between two snapshots while sessions of removed ones
// are left.
func (s *Snapshot) removedSince(before *Snapshot) bool {
	if s.removed == 0 || before == nil {
		return false
	}
	for id := range before.Dests {
		old := &before.Dests[id]
		if old.Load == nil || old.Removed {
			continue
		}
		if id >= len(s.Dests) || s.Dests[id].Removed || s.Dests[id].Load != old.Load {
			return true
		}
	}
	return false
}

// ownAddr keeps the keys of Snapshot.own from being 0.
const ownAddr = 1 << 63

func (s *Snapshot) owns(a netip.Addr) {
	if a.Is4() {
		s.own.put(uint64(packet.WireV4(a))|ownAddr, 1)
	}
}

func index(v6 bool) int {
	if v6 {
		return 1
	}
	return 0
}

func tunnelKey(d *Dest) realKey {
	k := realKey{addr: d.Addr, v6: d.V6, proto: packet.ProtoIPIP}
	switch d.Tunnel.Type {
	case lvs.TunnelGUE:
		k.port, k.proto = packet.WirePort(d.Tunnel.Port), packet.ProtoUDP
	case lvs.TunnelGRE:
		k.proto = packet.ProtoGRE
	}
	return k
}

// service4 finds the service of an IPv4 flow by its Parsed.Addr[0] and L4, 0 if there is
// none: exact first, then every port.
func (s *Snapshot) service4(addr, l4 uint64) lvs.ServiceID {
	vip, port, proto := addr>>32, l4>>16&0xffff, l4>>32&0xff
	if id := s.flow4.get(vip | port<<32 | proto<<48); id != 0 {
		return id
	}
	return s.flow4.get(vip | proto<<48)
}

func (s *Snapshot) service6(addr *[4]uint64, l4 uint64) lvs.ServiceID {
	proto := uint32(l4>>32&0xff) << 16
	vip := [2]uint64{addr[2], addr[3]}
	if id := s.flow6[key6{vip, uint32(l4>>16&0xffff) | proto}]; id != 0 {
		return id
	}
	return s.flow6[key6{vip, proto}]
}

// flowIndex is a small open-addressing map from a non-zero word to a service id. A Go map
// costs 40 ns here, this 3, and every new session pays it.
type flowIndex struct {
	mask  uint64
	slots []flowSlot
}

type flowSlot struct {
	key uint64
	id  lvs.ServiceID
}

func newFlowIndex(n int) flowIndex {
	size := 16
	for size < 4*n {
		size *= 2
	}
	return flowIndex{mask: uint64(size - 1), slots: make([]flowSlot, size)}
}

func flowHash(key uint64) uint64 {
	key *= 0x9e3779b97f4a7c15
	return key ^ key>>32
}

func (x *flowIndex) put(key uint64, id lvs.ServiceID) {
	at := flowHash(key) & x.mask
	for x.slots[at].id != 0 && x.slots[at].key != key {
		at = (at + 1) & x.mask
	}
	x.slots[at] = flowSlot{key, id}
}

func (x *flowIndex) get(key uint64) lvs.ServiceID {
	if len(x.slots) == 0 {
		return 0
	}
	for at := flowHash(key) & x.mask; ; at = (at + 1) & x.mask {
		if slot := &x.slots[at]; slot.key == key || slot.id == 0 {
			return slot.id
		}
	}
}
