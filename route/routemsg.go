package route

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// parsed is a route message: the route, and which table it is of.
type parsed struct {
	Route
	local bool // the local table, else the main one
}

// parseRoute reads rtmsg. Other tables, cached routes, TOS and source-specific
// routes, and throw routes (which mean "look on") are of no interest.
func parseRoute(b []byte) (p parsed, ok bool) {
	if len(b) < unix.SizeofRtMsg || !isIP(b[0]) {
		return p, false
	}
	family, dstBits, srcBits, tos, table, scope, kind := b[0], int(b[1]), b[2], b[3], int(b[4]), b[6], b[7]
	flags := order.Uint32(b[8:])
	if tos != 0 || srcBits != 0 || flags&unix.RTM_F_CLONED != 0 {
		return p, false
	}
	if p.Kind, ok = kindOf(kind); !ok {
		return p, false
	}
	p.Scope = scope
	dst := unspecified(family)
	for typ, v := range attrs(b[unix.SizeofRtMsg:]) {
		switch typ {
		case unix.RTA_DST:
			dst = ip(v)
		case unix.RTA_TABLE:
			table = u32(v)
		default:
			p.readAttr(typ, v)
		}
	}
	p.local = table == unix.RT_TABLE_LOCAL
	if !p.local && table != unix.RT_TABLE_MAIN || !dst.IsValid() || !sameFamily(dst, family) {
		return p, false
	}
	prefix, err := dst.Prefix(dstBits)
	p.Prefix = prefix
	return p, err == nil
}

// readAttr takes an attribute that needs no other to be understood.
func (p *parsed) readAttr(typ uint16, v []byte) {
	switch typ {
	case unix.RTA_OIF:
		p.Link = u32(v)
	case unix.RTA_GATEWAY:
		p.Gateway = ip(v)
	case unix.RTA_VIA:
		p.Gateway = via(v)
	case unix.RTA_PRIORITY:
		p.Metric = u32(v)
	case unix.RTA_PREFSRC:
		p.Source = ip(v)
	case unix.RTA_METRICS:
		p.MTU = u32(attr(v, unix.RTAX_MTU))
	case unix.RTA_MULTIPATH:
		p.readMultipath(v)
	}
}

// readMultipath takes the living next hop of the greatest weight, the first among
// equals, or the first if all are dead.
//
//	struct rtnexthop: len 16 | flags 8 | hops (weight - 1) 8 | ifindex 32 | attributes
func (p *parsed) readMultipath(b []byte) {
	best, count := -1, 0
	for len(b) >= unix.SizeofRtNexthop {
		n := int(order.Uint16(b))
		if n < unix.SizeofRtNexthop || n > len(b) {
			break
		}
		weight := int(b[3]) + 1
		if b[2]&unix.RTNH_F_DEAD != 0 {
			weight = 0
		}
		if weight > best {
			best = weight
			p.Link = int(int32(order.Uint32(b[4:])))
			p.Gateway = nextHopGateway(b[unix.SizeofRtNexthop:n])
		}
		count++
		b = b[min(align(n), len(b)):]
	}
	p.Many = count > 1
}

func nextHopGateway(b []byte) (gateway netip.Addr) {
	for typ, v := range attrs(b) {
		switch typ {
		case unix.RTA_GATEWAY:
			gateway = ip(v)
		case unix.RTA_VIA:
			gateway = via(v)
		}
	}
	return gateway
}

// via reads struct rtvia: family 16, address.
func via(b []byte) netip.Addr {
	if len(b) < 2 {
		return netip.Addr{}
	}
	return ip(b[2:])
}

func unspecified(family byte) netip.Addr {
	if family == unix.AF_INET {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func kindOf(rtn byte) (Kind, bool) {
	switch rtn {
	case unix.RTN_UNICAST:
		return KindUnicast, true
	case unix.RTN_LOCAL:
		return KindLocal, true
	case unix.RTN_BROADCAST, unix.RTN_ANYCAST, unix.RTN_MULTICAST:
		return KindBroadcast, true
	case unix.RTN_BLACKHOLE:
		return KindBlackhole, true
	case unix.RTN_UNREACHABLE:
		return KindUnreachable, true
	case unix.RTN_PROHIBIT:
		return KindProhibit, true
	}
	return 0, false
}
