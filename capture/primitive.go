package capture

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Ethernet types.
const (
	etherIP  = 0x0800
	etherARP = 0x0806
	etherIP6 = 0x86dd
)

var etherTypes = map[string]uint32{"ip": etherIP, "ip6": etherIP6, "arp": etherARP, "rarp": 0x8035}

// protocols are the names of protocols above IP.
var protocols = map[string]uint32{
	"tcp": 6, "udp": 17, "sctp": 132, "icmp": 1, "icmp6": 58, "igmp": 2, "ah": 51, "esp": 50, "vrrp": 112, "pim": 103,
	"igrp": 9,
}

// qualifiers are what stands before an address or a port: protocol, direction, type.
type qualifiers struct{ proto, dir, kind string }

// unsupported are words of the language that this compiler does not know.
var unsupported = map[string]string{
	"inbound": directionShown, "outbound": directionShown, "protochain": "only the first headers are looked at",
	"gateway": "names are not looked up; give ether host and not host",
	"mpls":    "", "pppoes": "", "pppoed": "", "geneve": "", "vxlan": "", "llc": "", "iso": "", "atalk": "", "aarp": "",
	"decnet": "", "ipx": "", "netbeui": "", "stp": "", "wlan": "", "ifname": "",
}

const directionShown = "a packet's direction is shown in the capture, not filtered"

// network is where the network header begins.
func (c *compiler) network() int32 { return 14 + c.shift }

func (c *compiler) test(off int32, size uint8, value uint32) int32 {
	return c.add(node{op: opTest, load: load{off: off, size: size}, mask: 1<<32 - 1, value: value})
}

func (c *compiler) etherType(t uint32) int32 { return c.test(c.network()-2, 2, t) }

// fragment holds for all fragments of IPv4 but the first.
func (c *compiler) fragment() int32 {
	return c.add(node{op: opTest, rel: relSet, load: load{off: c.network() + 6, size: 2}, mask: 1<<32 - 1, value: 0x1fff})
}

// primitive is one test in words.
func (c *compiler) primitive() int32 {
	t := c.peek()
	switch why, bad := unsupported[t.text]; {
	case !t.word:
		return c.fail("expected a test like host 192.0.2.1 or tcp port 80")
	case bad && why == "":
		return c.fail("%s is not supported", t.text)
	case bad:
		return c.fail("%s is not supported: %s", t.text, why)
	}
	switch t.text {
	case "vlan":
		return c.vlan()
	case "less", "greater":
		return c.length()
	case "broadcast", "multicast":
		return c.group("ether")
	}
	return c.qualified()
}

// vlan is vlan [id]. What follows is looked for behind the tag.
func (c *compiler) vlan() int32 {
	c.next()
	tag := c.or(c.etherType(0x8100), c.etherType(0x88a8), c.etherType(0x9100))
	if n, ok := constant(c.peek().text); ok {
		if n > 4095 {
			return c.fail("expected a VLAN's id from 0 to 4095")
		}
		c.next()
		id := node{op: opTest, load: load{off: c.network(), size: 2}, mask: 0xfff, value: n}
		tag = c.and(tag, c.add(id))
	}
	c.shift += 4
	return tag
}

func (c *compiler) length() int32 {
	word := c.next().text
	n, ok := constant(c.peek().text)
	if !ok {
		return c.fail("expected a number of bytes")
	}
	c.next()
	if word == "greater" {
		return c.add(node{op: opWireL, rel: relGe, value: n})
	}
	return c.not(c.add(node{op: opWireL, rel: relGt, value: n}))
}

// group is broadcast or multicast, of a protocol.
func (c *compiler) group(proto string) int32 {
	word := c.next()
	switch {
	case proto == "ether" && word.text == "broadcast":
		return c.mac(0, [6]byte{255, 255, 255, 255, 255, 255})
	case proto == "ether":
		return c.add(node{op: opTest, rel: relSet, load: load{off: 0, size: 1}, mask: 1<<32 - 1, value: 1})
	case proto == "ip" && word.text == "multicast":
		n := node{op: opTest, rel: relGe, load: load{off: c.network() + 16, size: 1}, mask: 1<<32 - 1, value: 224}
		return c.and(c.etherType(etherIP), c.add(n))
	case proto == "ip6" && word.text == "multicast":
		return c.and(c.etherType(etherIP6), c.test(c.network()+24, 1, 255))
	}
	return c.failAt(word, "%s %s is not supported", proto, word.text)
}

// mac compares six bytes.
func (c *compiler) mac(off int32, mac [6]byte) int32 {
	low := c.test(off+2, 4, binary.BigEndian.Uint32(mac[2:]))
	return c.and(low, c.test(off, 2, uint32(binary.BigEndian.Uint16(mac[:]))))
}

// qualified is [protocol] [direction] [type] value, or a protocol alone, or a value that takes the qualifiers of
// the last one.
func (c *compiler) qualified() int32 {
	var q qualifiers
	first := c.peek()
	if _, ok := protocols[first.text]; ok || etherTypes[first.text] != 0 || first.text == "ether" {
		q.proto = c.next().text
	}
	if word := c.peek().text; q.proto != "" && (word == "broadcast" || word == "multicast") {
		return c.group(q.proto)
	}
	q.dir = c.direction()
	switch word := c.peek().text; word {
	case "host", "net", "port", "portrange", "proto":
		q.kind = c.next().text
	}
	switch {
	case q == qualifiers{proto: q.proto} && q.proto != "" && q.proto != "ether" && !c.valueFollows():
		c.hasLast = false
		return c.protocol(q.proto)
	case q == qualifiers{} && c.hasLast:
		q = c.last
	case q.kind == "":
		q.kind = "host"
	}
	c.last, c.hasLast = q, true
	return c.values(q)
}

// valueFollows tells tcp 192.0.2.1 from tcp and.
func (c *compiler) valueFollows() bool {
	t := c.peek()
	return t.word && t.text != "and" && t.text != "or"
}

// direction is src, dst, src or dst, src and dst; both ways by default.
func (c *compiler) direction() string {
	first := c.peek().text
	if first != "src" && first != "dst" {
		return ""
	}
	c.next()
	joint := c.peek().text
	if joint != "or" && joint != "and" && joint != "||" && joint != "&&" {
		return first
	}
	second := c.tokens[min(c.pos+1, len(c.tokens)-1)].text
	if first == second || second != "src" && second != "dst" {
		return first
	}
	c.next()
	c.next()
	if joint == "or" || joint == "||" {
		return ""
	}
	return "and"
}

// values is one value, or several in parentheses.
func (c *compiler) values(q qualifiers) int32 {
	if !c.take("(") {
		return c.value(q)
	}
	left := c.negated(q)
	for c.err == nil {
		switch {
		case c.take("and", "&&"):
			left = c.and(left, c.negated(q))
		case c.take("or", "||"):
			left = c.or(left, c.negated(q))
		default:
			c.expect(")")
			return left
		}
	}
	return 0
}

func (c *compiler) negated(q qualifiers) int32 {
	if c.take("not", "!") {
		return c.not(c.value(q))
	}
	return c.value(q)
}

// value is the test of one address, network, port or protocol.
func (c *compiler) value(q qualifiers) int32 {
	t := c.peek()
	if !t.word {
		return c.fail("expected a value for %s", q.kind)
	}
	c.next()
	switch q.kind {
	case "port", "portrange":
		return c.port(q, t)
	case "proto":
		return c.protocolValue(q, t)
	case "net":
		return c.net(q, t)
	}
	if q.proto == "ether" {
		return c.etherHost(q, t)
	}
	addr, err := netip.ParseAddr(t.text)
	if err != nil || addr.Zone() != "" {
		return c.failAt(t, "expected an address; names are not looked up")
	}
	if c.peek().text == "/" {
		return c.fail("a network: write net before it")
	}
	return c.prefix(q, t, netip.PrefixFrom(addr, addr.BitLen()))
}

func (c *compiler) etherHost(q qualifiers, t token) int32 {
	hw, err := net.ParseMAC(t.text)
	if err != nil || len(hw) != 6 {
		return c.failAt(t, "expected a MAC address like 02:00:00:00:00:01")
	}
	mac := [6]byte(hw)
	return c.directed(q.dir, func(src bool) int32 {
		if src {
			return c.mac(6, mac)
		}
		return c.mac(0, mac)
	})
}

// directed makes the test of a direction; by default either will do.
func (c *compiler) directed(dir string, test func(src bool) int32) int32 {
	switch dir {
	case "src":
		return test(true)
	case "dst":
		return test(false)
	case "and":
		return c.and(test(true), test(false))
	}
	return c.or(test(true), test(false))
}

// net is a network: 192.0.2.0/24, 10.1, 192.0.2.0 mask 255.255.255.0, 2001:db8::/32.
func (c *compiler) net(q qualifiers, t token) int32 {
	text, bits := t.text, -1
	if !strings.Contains(text, ":") {
		parts := strings.Count(text, ".") + 1
		bits = 8 * min(parts, 4)
		text += strings.Repeat(".0", max(0, 4-parts))
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return c.failAt(t, "expected a network like 192.0.2.0/24; names are not looked up")
	}
	if addr.Is6() {
		bits = 128
	}
	switch {
	case c.take("/"):
		n := c.next()
		if bits, err = strconv.Atoi(n.text); err != nil || bits < 0 || bits > addr.BitLen() {
			return c.failAt(n, "expected a prefix length from 0 to %d", addr.BitLen())
		}
	case c.peek().text == "mask":
		c.next()
		n := c.next()
		mask, err := netip.ParseAddr(n.text)
		if err != nil || !mask.Is4() || addr.Is6() {
			return c.failAt(n, "expected an IPv4 mask like 255.255.255.0")
		}
		ones, width := net.IPMask(mask.AsSlice()).Size()
		if width == 0 {
			return c.failAt(n, "the mask has gaps")
		}
		bits = ones
	}
	p := netip.PrefixFrom(addr, bits)
	if p != p.Masked() {
		return c.failAt(t, "bits are set behind the prefix; give %s", p.Masked())
	}
	return c.prefix(q, t, p)
}

// prefix is the test of a network, or of a host with all its bits. Without a protocol IPv4 is looked for in ARP, too.
func (c *compiler) prefix(q qualifiers, t token, p netip.Prefix) int32 {
	if p.Addr().Is6() {
		if q.proto != "" && q.proto != "ip6" {
			return c.failAt(t, "%s has no IPv6 addresses; write ip6 or nothing", q.proto)
		}
		return c.and(c.etherType(etherIP6), c.directed(q.dir, func(src bool) int32 {
			off := c.network() + 24
			if src {
				off = c.network() + 8
			}
			return c.bits(off, p)
		}))
	}
	in := func(etherType uint32, src, dst int32) int32 {
		return c.and(c.etherType(etherType), c.directed(q.dir, func(isSrc bool) int32 {
			if isSrc {
				return c.bits(c.network()+src, p)
			}
			return c.bits(c.network()+dst, p)
		}))
	}
	switch q.proto {
	case "":
		return c.or(in(etherIP, 12, 16), in(etherARP, 14, 24), in(etherTypes["rarp"], 14, 24))
	case "ip":
		return in(etherIP, 12, 16)
	case "arp", "rarp":
		return in(etherTypes[q.proto], 14, 24)
	}
	if proto, ok := protocols[q.proto]; ok {
		return c.failAt(t, "%s (%d) goes with ports, not with addresses; write %s and host", q.proto, proto, q.proto)
	}
	return c.failAt(t, "%s has no such addresses", q.proto)
}

// bits compares the leading bits of an address at off. All of it is looked at, as tcpdump does: of a shorter frame
// nothing is known.
func (c *compiler) bits(off int32, p netip.Prefix) int32 {
	b := p.Addr().AsSlice()
	out := int32(-1)
	for i := 0; i < len(b); i += 4 {
		mask := uint32(1<<32 - 1)
		if kept := p.Bits() - i*8; kept < 32 {
			mask = uint32(uint64(mask) << (32 - max(kept, 0)))
		}
		n := node{op: opTest, load: load{off: off + int32(i), size: 4}, mask: mask, value: binary.BigEndian.Uint32(b[i:])}
		out = c.both(out, c.add(n))
	}
	return out
}
