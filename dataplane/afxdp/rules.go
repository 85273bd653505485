package afxdp

import (
	"errors"
	"fmt"
	"net/netip"
)

// Rule names traffic: one address, IP protocol and port.
//
// Port 0 is every port of the protocol. Proto 0 is the whole address and wants
// Port 0 too.
type Rule struct {
	Addr  netip.Addr
	Port  uint16 // host order
	Proto uint8  // IP protocol number
}

// Rules is everything the steering program takes from the kernel.
type Rules struct {
	// Services are matched on the destination, and on the source of the packet
	// inside an ICMP error. Later fragments follow address and protocol.
	Services []Rule
	// Replies are the real servers of NAT services, matched on the source
	// unless the packet is for one of Locals, and on the destination inside
	// an ICMP error unless one of Locals sent that. To get errors about TUN
	// packets add {real server, 0, 4}, or 41 or 47, whatever the outer source.
	Replies []Rule
	// VIPs are held in userspace: all traffic to them is ours, and ARP and
	// neighbour discovery that ask for them or claim them.
	VIPs []netip.Addr
	// Locals are this host's own addresses: what real servers send to them
	// (health checks) is the kernel's, service or not.
	Locals []netip.Addr
	// Probes are the ends of health checks that go down the path of DR and TUN. Their answers are ours, to
	// the ports of SteeringOptions.ProbePorts, and so are errors about them. NAT's need no rules but Replies.
	Probes Probes
}

// Probes are addresses of this host, and the VIPs that they check.
type Probes struct{ Sources, VIPs []netip.Addr }

// Bits of an address; steer.c has the same list.
const (
	flagVIP = 1 << iota
	flagLocal
	flagService
	flagServiceAll
	flagReply
	flagReplyAll
	flagProbeSource
	flagProbeVIP
)

// Kinds of rules; steer.c has the same list.
const (
	ruleService = iota
	ruleServiceFrag
	ruleReply
	ruleReplyFrag
)

// addrKey is struct addr of steer.c: IPv6, or IPv4 mapped, in wire order.
type addrKey [16]byte

// ruleKey is struct rule of steer.c.
type ruleKey struct {
	Addr  addrKey
	Port  [2]byte // wire order
	Proto uint8
	Kind  uint8
}

// ruleMaps is what the maps of the program hold for some Rules.
type ruleMaps struct {
	addrs map[addrKey]uint32
	rules map[ruleKey]uint32
}

func newRuleMaps() ruleMaps {
	return ruleMaps{addrs: map[addrKey]uint32{}, rules: map[ruleKey]uint32{}}
}

// compile turns r into map contents. An error names the rule that makes no sense.
func compile(r Rules) (ruleMaps, error) {
	m := newRuleMaps()
	if err := m.addRules(r.Services, ruleService); err != nil {
		return m, fmt.Errorf("services: %w", err)
	}
	if err := m.addRules(r.Replies, ruleReply); err != nil {
		return m, fmt.Errorf("replies: %w", err)
	}
	if err := m.flag(r.VIPs, flagVIP); err != nil {
		return m, fmt.Errorf("VIPs: %w", err)
	}
	if err := m.flag(r.Locals, flagLocal); err != nil {
		return m, fmt.Errorf("local addresses: %w", err)
	}
	err := errors.Join(m.flag(r.Probes.Sources, flagProbeSource), m.flag(r.Probes.VIPs, flagProbeVIP))
	if err != nil {
		return m, fmt.Errorf("health checks: %w", err)
	}
	return m, nil
}

func (m ruleMaps) flag(addrs []netip.Addr, flag uint32) error {
	for _, a := range addrs {
		if !a.IsValid() {
			return fmt.Errorf("an address is empty")
		}
		m.addrs[a.As16()] |= flag
	}
	return nil
}

// addRules adds rules of kind ruleService or ruleReply.
func (m ruleMaps) addRules(rules []Rule, kind uint8) error {
	one, all := uint32(flagService), uint32(flagServiceAll)
	if kind == ruleReply {
		one, all = flagReply, flagReplyAll
	}
	for _, r := range rules {
		switch {
		case !r.Addr.IsValid():
			return fmt.Errorf("a rule without an address (port %d, protocol %d)", r.Port, r.Proto)
		case r.Proto == 0 && r.Port != 0:
			return fmt.Errorf("%v: port %d without a protocol", r.Addr, r.Port)
		case r.Proto == 0:
			m.addrs[r.Addr.As16()] |= all
		default:
			m.addrs[r.Addr.As16()] |= one
			m.addPort(r, kind)
		}
	}
	return nil
}

// addPort adds the key for r's port and the one its later fragments match.
func (m ruleMaps) addPort(r Rule, kind uint8) {
	k := ruleKey{Addr: r.Addr.As16(), Proto: r.Proto, Kind: kind}
	k.Port = [2]byte{byte(r.Port >> 8), byte(r.Port)}
	m.rules[k] = 1
	m.rules[ruleKey{Addr: k.Addr, Proto: r.Proto, Kind: kind + 1}] = 1
}
