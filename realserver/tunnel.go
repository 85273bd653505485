package realserver

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ulvs/decap"
)

// The kernel's devices that unpack what no other tunnel claims.
const (
	device4 = "tunl0"   // IPv4 in IPv4; of the module ipip
	device6 = "ip6tnl0" // IPv6 in IPv6; of the module ip6_tunnel
)

// devices are those that the VIPs need.
func devices(vips []netip.Addr) (names []string) {
	if hasFamily(vips, true) {
		names = append(names, device4)
	}
	if hasFamily(vips, false) {
		names = append(names, device6)
	}
	return names
}

// pickDecap is the kernel's way if it has every device, or can load its module.
func pickDecap(vips []netip.Addr) string {
	for _, name := range devices(vips) {
		if !haveDevice(name) {
			return DecapXDP
		}
	}
	return DecapKernel
}

// haveDevice tells whether the kernel has the device, and loads its module if that is all it lacks: asking for
// a device of a type makes the kernel look for it. What that made, if it was not there, goes again.
func haveDevice(name string) bool {
	if _, err := netlink.LinkByName(name); err == nil {
		return true
	}
	made := makeDevice(name)
	if made == nil {
		if link, err := netlink.LinkByName(name); err == nil {
			_ = netlink.LinkDel(link) // refused for the module's own, which stays
		}
	}
	return made == nil || errors.Is(made, unix.EEXIST)
}

// makeDevice makes a device that takes any tunnel packet to this host.
func makeDevice(name string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if name == device4 {
		return netlink.LinkAdd(&netlink.Iptun{LinkAttrs: attrs, Local: net.IPv4zero, Remote: net.IPv4zero})
	}
	return netlink.LinkAdd(&netlink.Ip6tnl{LinkAttrs: attrs, Local: net.IPv6zero, Remote: net.IPv6zero,
		Proto: unix.IPPROTO_IPV6})
}

// decapParts unpack tunnels as c says.
func decapParts(c Config) (list []part) {
	if c.Decap == DecapXDP {
		return []part{programPart(c.Interface)}
	}
	for _, name := range devices(c.VIPs) {
		list = append(list, devicePart(name))
	}
	if hasFamily(c.VIPs, true) {
		list = append(list, filterPart(device4, func() bool { return true }), tunnelAddressPart())
	}
	return list
}

// devicePart has a device of the kernel's up.
func devicePart(name string) part {
	id := "device:" + name
	return part{
		id: id, what: name + " unpacks tunnels",
		look: func() ([]Finding, error) {
			link, err := netlink.LinkByName(name)
			if err == nil && link.Attrs().Flags&net.FlagUp != 0 {
				return nil, nil
			}
			f := Finding{Code: CodeDecapMissing, Subject: name,
				Problem: name + " is down: nothing unpacks the director's tunnels",
				Remedy:  fmt.Sprintf("ip link set %s up", name)}
			if err != nil {
				f.Problem = "there is no " + name + ": nothing unpacks the director's tunnels"
				f.Remedy = fmt.Sprintf("modprobe %s; ip link set %s up", module(name), name)
			}
			return []Finding{f}, nil
		},
		mend: func(j *journal) error {
			if _, err := netlink.LinkByName(name); err != nil {
				if err := j.note(change{ID: id, Kind: kindMade, Key: name}); err != nil {
					return err
				}
				if err := makeDevice(name); err != nil && !errors.Is(err, unix.EEXIST) {
					return fmt.Errorf("make %s: %w: this kernel may lack the module %s; try --decap xdp", name, err, module(name))
				}
			}
			return setUp(j, id, name)
		},
	}
}

// tunnelAddress is one that means nothing to anybody and is told to nobody.
var tunnelAddress = netip.MustParsePrefix("127.73.0.1/32")

// tunnelAddressPart gives tunl0 an address. A device without one takes nothing while rp_filter is on, 2 included:
// net/ipv4/fib_frontend.c, __fib_validate_source, no_addr.
func tunnelAddressPart() part {
	p := tunnelAddress
	id := "address:" + device4
	return part{
		id: id, what: fmt.Sprintf("%v on %s", p, device4),
		look: func() ([]Finding, error) {
			if takes, err := takesPackets(device4); takes || err != nil {
				return nil, err
			}
			return []Finding{{Code: CodeRPFilter, Subject: device4,
				Problem: device4 + " has no address: while rp_filter is on, the kernel drops what it unpacks there",
				Remedy:  fmt.Sprintf("ip addr add %v dev %s", p, device4)}}, nil
		},
		mend: func(j *journal) error {
			if err := j.note(change{ID: id, Kind: kindAddress, Key: p.String(), Link: device4}); err != nil {
				return err
			}
			link, err := netlink.LinkByName(device4)
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(p), Scope: unix.RT_SCOPE_HOST}); err != nil {
				return fmt.Errorf("add %v to %s: %w", p, device4, err)
			}
			return nil
		},
	}
}

// takesPackets is true of a device with an address, of one without rp_filter, and of one that is not there: that is
// found elsewhere.
func takesPackets(name string) (bool, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return true, nil
	}
	list, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil || len(list) > 0 {
		return true, err
	}
	all, errAll := rpFilter.read("all")
	own, errOwn := rpFilter.read(name)
	return max(all, own) == 0, errors.Join(errAll, errOwn)
}

func module(device string) string {
	if device == device4 {
		return "ipip"
	}
	return "ip6_tunnel"
}

// setUp switches a link on, journalled.
func setUp(j *journal, id, name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil || link.Attrs().Flags&net.FlagUp != 0 {
		return err
	}
	if err := j.note(change{ID: id, Kind: kindUp, Key: name}); err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// programPart has our program unpack on the interface.
func programPart(link string) part {
	id := "decap:" + link
	return part{
		id: id, what: "XDP program on " + link + " unpacks tunnels",
		look: func() ([]Finding, error) {
			if _, err := decap.Read(link); err == nil {
				return nil, nil
			} else if !errors.Is(err, decap.ErrNotAttached) {
				return nil, err
			}
			dev, err := netlink.LinkByName(link)
			if err != nil {
				return nil, fmt.Errorf("find %s: %w", link, err)
			}
			if xdp := dev.Attrs().Xdp; xdp != nil && xdp.Attached {
				return []Finding{{Code: CodeDecapForeign, Subject: link, Blocks: true,
					Problem: link + " runs another XDP program, and no second one can be there",
					Remedy:  fmt.Sprintf("ip link set %s xdp off, or unpack by the kernel: --decap kernel", link)}}, nil
			}
			return []Finding{{Code: CodeDecapMissing, Subject: link,
				Problem: "no program on " + link + " unpacks the director's tunnels",
				Remedy:  "ulvs realserver setup --method tun again"}}, nil
		},
		mend: func(j *journal) error {
			if err := j.note(change{ID: id, Kind: kindDecap, Key: link}); err != nil {
				return err
			}
			return decap.Attach(link)
		},
	}
}
