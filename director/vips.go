package director

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ulvs/config"
)

// addVIPs puts the VIPs on an interface where vip_mode is netlink: the one in whose
// subnet a VIP is, else the first. Addresses that are there already are left alone, then
// and at the end.
func (d *director) addVIPs() error {
	if d.opt.Config.Node.VIPMode != config.VIPNetlink {
		return nil
	}
	var errs []error
	for _, vip := range d.lockedVIPs() {
		if slices.ContainsFunc(d.added, func(a addedVIP) bool { return a.vip == vip }) {
			continue
		}
		link, err := d.linkFor(vip)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		err = netlink.AddrAdd(link, hostAddr(vip))
		switch {
		case errors.Is(err, unix.EEXIST):
		case err != nil:
			errs = append(errs, fmt.Errorf("add %s to %s: %w", vip, link.Attrs().Name, err))
		default:
			d.added = append(d.added, addedVIP{link, vip})
		}
	}
	return errors.Join(errs...)
}

func (d *director) lockedVIPs() []netip.Addr {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.heldVIPs(HoldAnswers)
}

// dropStaleVIPs takes the takeover's VIPs off the interfaces in vip_mode netlink: a director that was killed left
// them there, and would go on answering for them beside the one that took over.
func (d *director) dropStaleVIPs() error {
	if d.opt.Config.Node.VIPMode != config.VIPNetlink {
		return nil
	}
	var errs []error
	for u := range d.takeover.Load().units {
		for _, vip := range d.VIPsOf(u) {
			link, err := d.linkFor(vip)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			switch err := netlink.AddrDel(link, hostAddr(vip)); {
			case err == nil:
				d.log.Warn("removed a VIP that an earlier director left", "vip", vip, "interface", link.Attrs().Name)
			case !errors.Is(err, unix.EADDRNOTAVAIL):
				errs = append(errs, fmt.Errorf("remove %s from %s: %w", vip, link.Attrs().Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// followServices brings what the kernel holds for us up to date: VIPs and neighbours.
func (d *director) followServices() {
	vips := d.lockedVIPs()
	err := d.removeVIPsBut(func(vip netip.Addr) bool { return slices.Contains(vips, vip) })
	if err = errors.Join(err, d.addVIPs()); err != nil {
		d.log.Error("cannot follow the services' VIPs", "err", err)
	}
	d.askHops()
}

type addedVIP struct {
	link netlink.Link
	vip  netip.Addr
}

func (d *director) removeVIPs() error {
	return d.removeVIPsBut(func(netip.Addr) bool { return false })
}

// removeVIPsBut takes the VIPs that we added off their interfaces, except those that stay.
func (d *director) removeVIPsBut(stays func(netip.Addr) bool) error {
	var errs []error
	var left []addedVIP
	for _, a := range d.added {
		if stays(a.vip) {
			left = append(left, a)
			continue
		}
		err := netlink.AddrDel(a.link, hostAddr(a.vip))
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("remove %s from %s: %w", a.vip, a.link.Attrs().Name, err))
		}
	}
	d.added = left
	return errors.Join(errs...)
}

func (d *director) linkFor(vip netip.Addr) (netlink.Link, error) {
	names := d.opt.Config.Node.Interfaces
	name, state := names[0], d.routes.State()
	if key, ok := state.Lookup(vip); ok && !key.Local {
		if l, ok := state.Link(key.Link); ok && containsLink(names, l.Name) {
			name = l.Name
		}
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find the interface for %s: %w", vip, err)
	}
	return link, nil
}

func containsLink(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// hostAddr is the VIP as keepalived adds it: /32 or /128. Duplicate address detection
// would keep an IPv6 VIP unusable for a second.
func hostAddr(vip netip.Addr) *netlink.Addr {
	bits := vip.BitLen()
	a := &netlink.Addr{IPNet: &net.IPNet{IP: vip.AsSlice(), Mask: net.CIDRMask(bits, bits)}}
	if vip.Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}
