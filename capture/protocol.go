package capture

import (
	"strconv"
	"strings"
)

// protocol is a protocol's name alone.
func (c *compiler) protocol(name string) int32 {
	if t := etherTypes[name]; t != 0 {
		return c.etherType(t)
	}
	number := protocols[name]
	switch name {
	case "icmp", "igmp", "vrrp", "igrp":
		return c.and(c.etherType(etherIP), c.ip4Proto(number))
	case "icmp6":
		return c.and(c.etherType(etherIP6), c.ip6Proto(number))
	}
	return c.anyProto(number)
}

// anyProto is a protocol above IPv4 or IPv6.
func (c *compiler) anyProto(number uint32) int32 {
	return c.or(c.and(c.etherType(etherIP), c.ip4Proto(number)), c.and(c.etherType(etherIP6), c.ip6Proto(number)))
}

func (c *compiler) ip4Proto(number uint32) int32 { return c.test(c.network()+9, 1, number) }

// ip6Proto is the next header, or the one behind a fragment header.
func (c *compiler) ip6Proto(number uint32) int32 {
	fragment := c.and(c.test(c.network()+6, 1, 44), c.test(c.network()+40, 1, number))
	return c.or(c.test(c.network()+6, 1, number), fragment)
}

// protocolValue is [ip|ip6|ether] proto value.
func (c *compiler) protocolValue(q qualifiers, t token) int32 {
	name := strings.TrimPrefix(t.text, `\`)
	number, ok := constant(name)
	if q.proto == "ether" {
		if known := etherTypes[name]; known != 0 {
			number, ok = known, true
		}
		if !ok || number <= 1500 || number > 0xffff {
			return c.failAt(t, "expected an Ethernet type from 1501 to 65535, or ip, ip6, arp or rarp")
		}
		return c.etherType(number)
	}
	if known, isName := protocols[name]; isName {
		number, ok = known, true
	}
	switch {
	case !ok || number > 255:
		return c.failAt(t, "expected a protocol's number up to 255, or its name")
	case q.proto == "ip":
		return c.and(c.etherType(etherIP), c.ip4Proto(number))
	case q.proto == "ip6":
		return c.and(c.etherType(etherIP6), c.ip6Proto(number))
	case q.proto == "":
		return c.anyProto(number)
	}
	return c.failAt(t, "%s proto is not supported; give ip proto, ip6 proto or ether proto", q.proto)
}

// port is a port, or a range of them, of TCP, UDP and SCTP.
func (c *compiler) port(q qualifiers, t token) int32 {
	first, last, ranged := strings.Cut(t.text, "-")
	if !ranged {
		last = first
	}
	low, err1 := strconv.ParseUint(first, 0, 16)
	high, err2 := strconv.ParseUint(last, 0, 16)
	switch {
	case err1 != nil || err2 != nil || q.kind == "port" && ranged:
		return c.failAt(t, "expected a %s from 0 to 65535; names are not looked up", q.kind)
	case low > high:
		low, high = high, low
	}
	protos := []uint32{6, 17, 132}
	switch number, known := protocols[q.proto]; {
	case q.proto == "":
	case known && (number == 6 || number == 17 || number == 132):
		protos = []uint32{number}
	default:
		return c.failAt(t, "%s has no ports; write tcp, udp, sctp or nothing", q.proto)
	}
	ports := [2]uint32{uint32(low), uint32(high)}
	return c.or(c.port6(q.dir, protos, ports), c.port4(q.dir, protos, ports))
}

func (c *compiler) port4(dir string, protos []uint32, ports [2]uint32) int32 {
	return c.and(c.etherType(etherIP), c.oneOf(c.network()+9, protos), c.not(c.fragment()),
		c.directed(dir, func(src bool) int32 {
			l := load{off: c.network() + 2, size: 2, l4: true, nl: c.network()}
			if src {
				l.off -= 2
			}
			return c.between(l, ports)
		}))
}

func (c *compiler) port6(dir string, protos []uint32, ports [2]uint32) int32 {
	return c.and(c.etherType(etherIP6), c.oneOf(c.network()+6, protos), c.directed(dir, func(src bool) int32 {
		l := load{off: c.network() + 42, size: 2}
		if src {
			l.off -= 2
		}
		return c.between(l, ports)
	}))
}

func (c *compiler) oneOf(off int32, values []uint32) int32 {
	out := c.test(off, 1, values[0])
	for _, v := range values[1:] {
		out = c.or(out, c.test(off, 1, v))
	}
	return out
}

func (c *compiler) between(l load, ports [2]uint32) int32 {
	const all = 1<<32 - 1
	if ports[0] == ports[1] {
		return c.add(node{op: opTest, load: l, mask: all, value: ports[0]})
	}
	low := c.add(node{op: opTest, rel: relGe, load: l, mask: all, value: ports[0]})
	return c.and(low, c.not(c.add(node{op: opTest, rel: relGt, load: l, mask: all, value: ports[1]})))
}
