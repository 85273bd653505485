package director

import (
	"net/netip"

	"ulvs/ha"
	"ulvs/packet"
)

// virtualMACs are VRRP's MAC addresses of VIPs (use_vmac). The zero value gives none.
type virtualMACs struct {
	of   map[netip.Addr]packet.MAC
	rest packet.MAC          // of VIPs that no instance names; zero: none
	all  map[netip.Addr]bool // that instances name
}

// held are those of some VIPs.
func (v *virtualMACs) held(vips map[netip.Addr]bool) map[netip.Addr]packet.MAC {
	if len(v.of) == 0 && v.rest == (packet.MAC{}) {
		return nil
	}
	held := map[netip.Addr]packet.MAC{}
	for vip := range vips {
		if mac, ok := v.of[vip]; ok {
			held[vip] = mac
		} else if !v.all[vip] && v.rest != (packet.MAC{}) {
			held[vip] = v.rest
		}
	}
	return held
}

// setMACs has VIPs be at VRRP's MAC addresses from the next time on that they are published.
func (n *Node) setMACs(v virtualMACs) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.macs = v
}

// macs are the takeover's. VIPs that no instance names are announced by the first one.
func (t *takeover) macs() virtualMACs {
	v := virtualMACs{of: map[netip.Addr]packet.MAC{}, all: map[netip.Addr]bool{}}
	for i, in := range t.instances {
		for _, list := range [][]netip.Addr{in.VIPs, in.Excluded} {
			for _, vip := range list {
				v.all[vip] = true
				if in.UseVMAC {
					v.of[vip] = in.mac()
				}
			}
		}
		if i == 0 {
			v.rest = in.mac()
		}
	}
	return v
}

// mac is the instance's own MAC address, zero without use_vmac.
func (in *takeoverInstance) mac() (none packet.MAC) {
	if !in.UseVMAC {
		return none
	}
	return in.VirtualMAC()
}

// send sends an advert: to the group from the instance's own MAC address, which switches so learn the place of.
func (in *takeoverInstance) send(t *takeover, a *ha.Advert) error {
	if in.UseVMAC && len(in.Peers) == 0 {
		return t.announcer[in.Interface].Send(a, in.Source, in.mac())
	}
	return in.sock.Send(a, in.Source, in.Peers)
}

// listen has interfaces take frames to a unit's MAC addresses, or no more.
func (t *takeover) listen(unit int, yes bool) {
	for _, in := range t.instances {
		if in.unit == unit && in.UseVMAC {
			t.failed(t.announcer[in.Interface].Listen(in.mac(), yes))
		}
	}
}
