package realserver

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	loopback = "lo"
	// vipLabel marks our IPv4 addresses: ifconfig and "ip addr" show it, as lo:0 in the operators' notes.
	vipLabel = "lo:ulvs"
)

// holder is an interface that has an address, and with which prefix length.
type holder struct {
	link netlink.Link
	bits int
}

// holders lists who has the address.
func holders(a netip.Addr) (list []holder, err error) {
	addrs, err := netlink.AddrList(nil, family(a))
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for i := range addrs {
		ip, ok := netip.AddrFromSlice(addrs[i].IP)
		if !ok || ip.Unmap() != a {
			continue
		}
		link, err := netlink.LinkByIndex(addrs[i].LinkIndex)
		if err != nil {
			continue // it went away meanwhile
		}
		bits, _ := addrs[i].Mask.Size()
		list = append(list, holder{link, bits})
	}
	return list, nil
}

// isInside tells whether the interface is one that VIPs may be on: nobody is asked there by ARP.
func (h holder) isInside() bool { return !isWire(h.link) }

// loopbackPart switches lo on.
func loopbackPart() part {
	return part{
		id: "lo", what: "lo is up",
		look: func() ([]Finding, error) {
			lo, err := netlink.LinkByName(loopback)
			if err != nil || lo.Attrs().Flags&net.FlagUp != 0 {
				return nil, err
			}
			return []Finding{{Code: CodeLoopbackDown, Subject: loopback, Problem: "lo is down: nothing answers for the VIPs",
				Remedy: "ip link set lo up"}}, nil
		},
		mend: func(j *journal) error { return setUp(j, "lo", loopback) },
	}
}

// vipPart puts the VIP on lo with a full mask, so that this host takes its packets and claims no network.
func vipPart(vip netip.Addr) part {
	p := netip.PrefixFrom(vip, vip.BitLen())
	id := "vip:" + vip.String()
	return part{
		id: id, what: fmt.Sprintf("%v on lo", p),
		look: func() ([]Finding, error) { return lookVIP(p) },
		mend: func(j *journal) error {
			if err := j.note(change{ID: id, Kind: kindAddress, Key: p.String()}); err != nil {
				return err
			}
			return addVIP(p)
		},
	}
}

func lookVIP(p netip.Prefix) (found []Finding, err error) {
	list, err := holders(p.Addr())
	if err != nil {
		return nil, err
	}
	for _, h := range list {
		name := h.link.Attrs().Name
		f := Finding{Subject: p.Addr().String(), Blocks: true,
			Remedy: fmt.Sprintf("ip addr del %v/%d dev %s", p.Addr(), h.bits, name)}
		switch {
		case !h.isInside():
			f.Code = CodeVIPElsewhere
			f.Problem = fmt.Sprintf("%v/%d is on %s already: this host answers there for the VIP as if it were the director",
				p.Addr(), h.bits, name)
			found = append(found, f)
		case h.bits != p.Bits() && name == loopback:
			f.Code = CodeVIPMask
			f.Problem = fmt.Sprintf("%v/%d is on lo already: with that mask this host takes the whole network for its own",
				p.Addr(), h.bits)
			found = append(found, f)
		}
	}
	if len(list) == 0 {
		found = append(found, Finding{Code: CodeVIPMissing, Subject: p.Addr().String(),
			Problem: "the VIP is on no interface: this host drops what the director sends it",
			Remedy:  fmt.Sprintf("ip addr add %v dev lo", p)})
	}
	return found, nil
}

func addVIP(p netip.Prefix) error {
	lo, err := netlink.LinkByName(loopback)
	if err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is4() {
		addr.Label = vipLabel
		addr.Broadcast = p.Addr().AsSlice()
	} else {
		addr.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrAdd(lo, addr); err != nil {
		return fmt.Errorf("add %v to lo: %w", p, err)
	}
	return nil
}

// noVIPPart keeps the VIP off a real server that is reached by NAT.
func noVIPPart(vip netip.Addr) part {
	return part{
		id: "no-vip:" + vip.String(), what: fmt.Sprintf("%v on no interface", vip),
		look: func() (found []Finding, err error) {
			list, err := holders(vip)
			for _, h := range list {
				name := h.link.Attrs().Name
				found = append(found, Finding{Code: CodeVIPLocal, Subject: vip.String(), Blocks: true,
					Problem: fmt.Sprintf("%v is on %s: with nat only the director has the VIP", vip, name),
					Remedy:  fmt.Sprintf("ip addr del %v/%d dev %s", vip, h.bits, name)})
			}
			return found, err
		},
		mend: func(*journal) error { return nil },
	}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
