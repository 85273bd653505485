package route

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// The parsers below read the payload of one rtnetlink message. They return false for what is
// truncated, of another family, or of no interest; they never panic.

// parseLink reads ifinfomsg. Messages of other families (bridge ports, IPv6
// settings) name links too, but are about something else.
func parseLink(b []byte) (Link, bool) {
	if len(b) < unix.SizeofIfInfomsg || b[0] != unix.AF_UNSPEC {
		return Link{}, false
	}
	flags := order.Uint32(b[8:])
	l := Link{Index: int(int32(order.Uint32(b[4:])))}
	l.Admin = flags&unix.IFF_UP != 0
	l.Up = l.Admin && flags&unix.IFF_RUNNING != 0
	lower, elsewhere := 0, false
	for typ, v := range attrs(b[unix.SizeofIfInfomsg:]) {
		switch typ {
		case unix.IFLA_IFNAME:
			l.Name = text(v)
		case unix.IFLA_ADDRESS:
			l.MAC = mac(v)
		case unix.IFLA_MTU:
			l.MTU = u32(v)
		case unix.IFLA_MASTER:
			l.Master = u32(v)
		case unix.IFLA_LINK:
			lower = u32(v)
		case unix.IFLA_LINK_NETNSID:
			elsewhere = true
		case unix.IFLA_LINKINFO:
			l.parseInfo(v)
		}
	}
	if stacked(l.Kind) && !elsewhere {
		l.Parent = lower
	}
	return l, l.Index > 0
}

// stacked tells whether IFLA_LINK is a lower link; a veth's is its peer.
func stacked(kind string) bool {
	return kind == "vlan" || kind == "macvlan" || kind == "macvtap" || kind == "ipvlan" || kind == "ipvtap"
}

// parseInfo reads IFLA_LINKINFO.
func (l *Link) parseInfo(b []byte) {
	l.Kind = text(attr(b, unix.IFLA_INFO_KIND))
	data := attr(b, unix.IFLA_INFO_DATA)
	switch l.Kind {
	case "vlan":
		l.VLAN = parseVLAN(data)
	case "bond":
		l.Bond = Bond{
			Mode: u8(attr(data, unix.IFLA_BOND_MODE)), HashPolicy: u8(attr(data, unix.IFLA_BOND_XMIT_HASH_POLICY)),
			Active: u32(attr(data, unix.IFLA_BOND_ACTIVE_SLAVE)),
		}
	}
	if text(attr(b, unix.IFLA_INFO_SLAVE_KIND)) == "bond" {
		const backup, linkUp = 1, 0 // BOND_STATE_BACKUP, BOND_LINK_UP
		data := attr(b, unix.IFLA_INFO_SLAVE_DATA)
		l.Standby = u8(attr(data, unix.IFLA_BOND_SLAVE_STATE)) == backup ||
			u8(attr(data, unix.IFLA_BOND_SLAVE_MII_STATUS)) != linkUp
	}
}

func parseVLAN(data []byte) uint16 {
	// The protocol is in network byte order.
	if p := attr(data, unix.IFLA_VLAN_PROTOCOL); len(p) == 2 && (p[0] != 0x81 || p[1] != 0x00) {
		return 0
	}
	return u16(attr(data, unix.IFLA_VLAN_ID))
}

// parseAddr reads ifaddrmsg.
func parseAddr(b []byte) (link int, a address, ok bool) {
	if len(b) < unix.SizeofIfAddrmsg || !isIP(b[0]) {
		return 0, a, false
	}
	bits, flags := int(b[1]), uint32(b[2])
	a.scope = b[3]
	link = int(int32(order.Uint32(b[4:])))
	var local, far netip.Addr
	for typ, v := range attrs(b[unix.SizeofIfAddrmsg:]) {
		switch typ {
		case unix.IFA_LOCAL:
			local = ip(v)
		case unix.IFA_ADDRESS:
			far = ip(v)
		case unix.IFA_FLAGS:
			flags = uint32(u32(v))
		}
	}
	if !local.IsValid() {
		local = far
	}
	if !far.IsValid() {
		far = local
	}
	a.prefix = netip.PrefixFrom(local, bits)
	a.subnet = netip.PrefixFrom(far, bits).Masked()
	// IFA_F_SECONDARY is IFA_F_TEMPORARY in IPv6, where source selection has no use for it.
	a.secondary = flags&unix.IFA_F_SECONDARY != 0 && b[0] == unix.AF_INET
	a.deprecated = flags&unix.IFA_F_DEPRECATED != 0
	tentative := flags&unix.IFA_F_TENTATIVE != 0 && flags&unix.IFA_F_OPTIMISTIC == 0
	a.unusable = tentative || flags&unix.IFA_F_DADFAILED != 0
	return link, a, link > 0 && a.prefix.IsValid() && a.subnet.IsValid() && sameFamily(local, b[0])
}

func isIP(family byte) bool { return family == unix.AF_INET || family == unix.AF_INET6 }

func sameFamily(addr netip.Addr, family byte) bool { return addr.Is4() == (family == unix.AF_INET) }

// parseNeigh reads ndmsg. Proxy entries and bridge forwarding entries are not neighbours.
func parseNeigh(b []byte) (Neigh, bool) {
	const size, flagsAt, stateAt = 12, 10, 8 // struct ndmsg
	if len(b) < size || !isIP(b[0]) || b[flagsAt]&unix.NTF_PROXY != 0 {
		return Neigh{}, false
	}
	n := Neigh{Link: int(int32(order.Uint32(b[4:]))), State: NeighState(order.Uint16(b[stateAt:]))}
	hasMAC := false
	for typ, v := range attrs(b[size:]) {
		switch typ {
		case unix.NDA_DST:
			n.Addr = ip(v)
		case unix.NDA_LLADDR:
			n.MAC, hasMAC = mac(v), len(v) == 6
		}
	}
	n.Resolved = hasMAC && n.State.Resolved()
	if !n.Resolved {
		n.MAC = [6]byte{}
	}
	return n, n.Link > 0 && n.Addr.IsValid() && sameFamily(n.Addr, b[0])
}
