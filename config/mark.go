package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ulvs/lvs"
)

// MaxMarks bounds the [[mark]] rules: every frame is compared with them one by one.
const MaxMarks = 1024

// Mark is a [[mark]] rule: it gives packets a firewall mark, as nftables would do for a kernel. Zero
// fields match everything.
type Mark struct {
	Mark                uint32       `json:"mark"`      // not 0
	Interface           string       `json:"interface"` // it arrived on; one of node.interfaces
	Source, Destination netip.Prefix // valid ones are of one family
	Protocol            uint8        `json:"protocol"`
	Ports               [2]uint16    `json:"ports"` // first and last destination port
}

func spanMark() span { return span{1, math.MaxUint32, 0} }

// protocols are the words that rules and services know.
var protocols = map[string]uint8{
	"tcp": lvs.ProtoTCP, "udp": lvs.ProtoUDP, "sctp": lvs.ProtoSCTP, "icmp": 1, "icmpv6": 58, "esp": 50, "ah": 51,
}

func (p *parser) marks(tables []*table, interfaces []string) []Mark {
	if len(tables) > MaxMarks {
		p.fail("mark", "%d rules; give up to %d: every frame is compared with all of them", len(tables), MaxMarks)
		return nil
	}
	var marks []Mark
	for _, t := range tables {
		marks = append(marks, t.markRule(interfaces))
	}
	return marks
}

func (t *table) markRule(interfaces []string) Mark {
	if !t.has("mark") {
		t.fail("mark", "missing; give the mark of the packets that match: mark = 1")
	}
	m := Mark{
		Mark: uint32(t.number("mark", spanMark())), Interface: t.markInterface(interfaces),
		Source: t.prefix("source"), Destination: t.prefix("destination"), Protocol: t.markProtocol(),
	}
	m.Ports = t.ports(m.Protocol)
	if m.Source.IsValid() && m.Destination.IsValid() && m.Source.Addr().Is4() != m.Destination.Addr().Is4() {
		t.fail("destination", "%s is not of the family of source %s; no packet is of both", m.Destination, m.Source)
	}
	t.done()
	return m
}

func (t *table) markInterface(interfaces []string) string {
	name := t.text("interface", `a name like "eth0"`)
	if name != "" && !slices.Contains(interfaces, name) {
		t.fail("interface", "%.60q is none of node.interfaces; %s", name, wouldBeRight(name, interfaces))
	}
	return name
}

func (t *table) markProtocol() uint8 {
	if !t.has("protocol") {
		return 0
	}
	return protocols[t.word("protocol", "tcp", "udp", "sctp", "icmp", "icmpv6", "esp", "ah")]
}

// prefix reads a network, or one address.
func (t *table) prefix(key string) (out netip.Prefix) {
	const form = `a network like "192.0.2.0/24" or an address`
	text, set := get[string](t, key, form)
	if !set {
		return out
	}
	out, err := netip.ParsePrefix(text)
	if addr, isAddr := netip.ParseAddr(text); isAddr == nil {
		out, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	switch {
	case err != nil:
		t.fail(key, "%.60q is no network; give %s", text, form)
	case out.Addr().Zone() != "" || out.Addr().Is4In6():
		t.fail(key, "%.60q is not plain IPv4 or IPv6; give %s", text, form)
	case out != out.Masked():
		t.fail(key, "%s has bits behind the prefix; give %s", out, out.Masked())
	default:
		return out
	}
	return netip.Prefix{}
}

// ports reads 80, "80" or "5000-5100".
func (t *table) ports(protocol uint8) (ports [2]uint16) {
	const form = `a port like "80" or a range like "5000-5100"`
	if !t.has("ports") {
		return ports
	}
	switch protocol {
	case lvs.ProtoTCP, lvs.ProtoUDP, lvs.ProtoSCTP:
	default:
		t.fail("ports", "only tcp, udp and sctp have ports; give one of them as protocol")
	}
	text, ok := t.m["ports"].(string)
	if n, number := t.m["ports"].(int64); number {
		text, ok = strconv.FormatInt(n, 10), true
	}
	if !ok {
		t.fail("ports", "%s; give %s", describe(t.m["ports"]), form)
		return ports
	}
	ports, err := parsePorts(text)
	if err != nil {
		t.fail("ports", "%v; give %s", err, form)
	}
	return ports
}

func parsePorts(text string) (ports [2]uint16, err error) {
	first, last, ranged := strings.Cut(text, "-")
	if !ranged {
		last = first
	}
	for i, s := range []string{first, last} {
		n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 16)
		if err != nil || n == 0 {
			return ports, fmt.Errorf("%.60q is no port from 1 to 65535", s)
		}
		ports[i] = uint16(n)
	}
	if ports[0] > ports[1] {
		return ports, fmt.Errorf("%.60q ends before it begins", text)
	}
	return ports, nil
}
