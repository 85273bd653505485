package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Interface names inside the namespaces.
const (
	bridgeLink = "br0"
	clientLink = "c0" // towards the clients: on the client, the directors, the gateway
	serverLink = "s0" // towards the real servers: on the directors, the gateway
	realLink   = "e0" // a real server's
)

// ErrNoVLAN is returned by Up for Options.VLAN on a kernel without 8021q.
var ErrNoVLAN = errors.New("this kernel has no VLAN devices (CONFIG_VLAN_8021Q)")

// cable is a veth pair from a host's interface to a port of a bridge.
type cable struct {
	host   string // short namespace name
	link   string // the interface in it
	bridge string // short namespace name of the bridge
	queues int
	mtu    int
	vlan   int // 0: untagged
}

// cables lists every pair of the lab.
func (l *Lab) cables() []cable {
	o, a := l.opts, &l.addrs
	list := []cable{
		{"c1", clientLink, "sw0", 1, o.MTU, 0},
		{"rt", clientLink, "sw0", 1, o.MTU, 0},
		{"rt", serverLink, "sw1", 1, o.ServerMTU, 0},
	}
	for _, d := range a.Directors {
		vlans := [2]int{}
		if o.VLAN {
			vlans = [2]int{ClientVLAN, ServerVLAN}
		}
		list = append(list,
			cable{d.Name, clientLink, "sw0", o.Queues, o.MTU, vlans[0]},
			cable{d.Name, serverLink, "sw1", o.Queues, o.ServerMTU, vlans[1]})
	}
	for _, r := range a.Reals {
		list = append(list, cable{r.Name, realLink, "sw1", 1, o.ServerMTU, 0})
	}
	return list
}

// wire makes the bridges and plugs every cable.
func (l *Lab) wire(ctx context.Context) error {
	for _, b := range []struct {
		name string
		mtu  int
	}{{"sw0", l.opts.MTU}, {"sw1", l.opts.ServerMTU}} {
		if err := l.Do(b.name, func() error { return makeBridge(b.mtu) }); err != nil {
			return fmt.Errorf("bridge in %s: %w", l.Netns(b.name), err)
		}
	}
	for _, c := range l.cables() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.plug(c); err != nil {
			return fmt.Errorf("cable %s %s to %s: %w", l.Netns(c.host), c.link, l.Netns(c.bridge), err)
		}
	}
	return nil
}

// makeBridge makes a bridge that floods multicast: there is no querier here, and
// neighbour discovery must not wait for one. The MTU is set by hand, so that
// the kernel does not lower it with the ports.
func makeBridge(mtu int) error {
	off := false
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = bridgeLink, mtu
	br := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &off}
	if err := netlink.LinkAdd(br); err != nil {
		return err
	}
	return netlink.LinkSetUp(br)
}

// plug makes the pair from the bridge's side, so that both ends are born where they
// stay, and joins the near end (or its VLAN device) to the bridge.
func (l *Lab) plug(c cable) error {
	far, err := netns.GetFromPath(l.namespace(c.host).path())
	if err != nil {
		return err
	}
	defer func() { _ = far.Close() }()
	port := c.host + "-" + c.link // "r80-e0" is the longest: within 15 bytes
	err = l.Do(c.bridge, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.NumTxQueues, attrs.NumRxQueues = port, c.mtu, c.queues, c.queues
		pair := &netlink.Veth{
			LinkAttrs: attrs, PeerName: c.link, PeerNamespace: netlink.NsFd(far), PeerMTU: uint32(c.mtu),
			PeerNumTxQueues: uint32(c.queues), PeerNumRxQueues: uint32(c.queues),
		}
		if err := netlink.LinkAdd(pair); err != nil {
			return fmt.Errorf("make veth: %w", err)
		}
		member, err := bringUp(port, c.vlan)
		if err != nil {
			return err
		}
		return enslave(member)
	})
	if err != nil {
		return err
	}
	return l.Do(c.host, func() error {
		_, err := bringUp(c.link, c.vlan)
		return err
	})
}

// bringUp switches a link's offloads off and the link up, and its VLAN device, if
// any. It returns the one that carries untagged packets.
func bringUp(name string, vlan int) (netlink.Link, error) {
	if err := setFeaturesOff(name, hostOffloads); err != nil {
		return nil, err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(link); err != nil || vlan == 0 {
		return link, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = vlanName(name, vlan), link.Attrs().Index
	dev := &netlink.Vlan{LinkAttrs: attrs, VlanId: vlan, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}
	if err := netlink.LinkAdd(dev); errors.Is(err, unix.EOPNOTSUPP) {
		return nil, ErrNoVLAN
	} else if err != nil {
		return nil, fmt.Errorf("make %s: %w", attrs.Name, err)
	}
	return dev, netlink.LinkSetUp(dev)
}

func enslave(link netlink.Link) error {
	br, err := netlink.LinkByName(bridgeLink)
	if err != nil {
		return err
	}
	return netlink.LinkSetMaster(link, br)
}

// vlanName is what a link is called that carries the packets of vlan on name.
func vlanName(name string, vlan int) string {
	if vlan == 0 {
		return name
	}
	return fmt.Sprintf("%s.%d", name, vlan)
}

// MAC returns the hardware address of a link in a namespace ("d1", "c0").
func (l *Lab) MAC(ns, link string) (mac net.HardwareAddr, err error) {
	err = l.Do(ns, func() error {
		dev, err := netlink.LinkByName(link)
		if err == nil {
			mac = dev.Attrs().HardwareAddr
		}
		return err
	})
	return mac, err
}

// setSysctl writes one setting of the calling thread's namespace; key is the path
// below /proc/sys/net.
func setSysctl(key, value string) error {
	if err := os.WriteFile("/proc/sys/net/"+key, []byte(value), 0); err != nil {
		return fmt.Errorf("set %s to %s: %w", key, value, err)
	}
	return nil
}
