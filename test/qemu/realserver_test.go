package qemu

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// The real server's addresses; the client's and the VIP's are in other networks.
const (
	realServer4, realServer6 = "10.18.1.21", "2001:db8:1::21"
	router4, router6         = "10.18.1.1", "2001:db8:1::1"
	vip6                     = "2001:db8:100::100"
)

// state is what setup may change, line by line.
const state = `/sbin/ip -o addr | sed 's/valid_lft.*//'
	/sbin/ip -o link | grep -E 'lo|tnl|tun' | sed 's/qdisc no[a-z]*//'
	/sbin/ip route show table all; /sbin/ip -6 route show table all | sed 's/expires.*//'; /sbin/ip rule; /sbin/ip -6 rule
	grep . /proc/sys/net/ipv4/conf/*/arp_* /proc/sys/net/ipv4/conf/*/rp_filter`

// A real server by tun whose kernel has tunl0 and ip6tnl0: they unpack what the director sends, and it answers clients
// from the VIP. remove leaves nothing.
func TestARealServersKernelUnpacksTunnels(t *testing.T) {
	needGuests(t)
	v := boot(t, assets, initramfs, machine{cpus: 2, nics: []nic{{model: "virtio-net-pci", queues: 1}}})
	v.sh(`/sbin/ip link set lo up; /sbin/ip link set eth0 up; /sbin/ip addr add ` + realServer4 + `/24 dev eth0
		/sbin/ip addr add ` + realServer6 + `/64 dev eth0 nodad; /sbin/ip route add default via ` + router4 + `
		/sbin/ip -6 route add default via ` + router6 + `
		for a in ` + router4 + " " + router6 + `; do /sbin/ip neigh add $a lladdr 02:00:00:00:00:10 dev eth0; done
		echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter; echo 1 >/proc/sys/net/ipv4/conf/eth0/rp_filter
		mkdir -p /var/lib/ulvs /run/ulvs`)
	v.await("the addresses to settle", "/sbin/ip -6 addr show dev eth0 scope link | grep -q fe80 && "+
		"! /sbin/ip -6 addr show tentative | grep -q .")
	before := v.sh(state)
	setup := "ulvs realserver setup --method tun --vip " + vip + " --vip " + vip6
	out := v.sh(setup)
	if !strings.Contains(out, "tunl0 unpacks tunnels") || !strings.Contains(out, "ip6tnl0 unpacks tunnels") {
		t.Errorf("setup did\n%s", out)
	}
	if code, out := v.try("ulvs realserver check"); code != 0 {
		t.Errorf("check: %s", out)
	}
	c := v.cable(0)
	for _, f := range []struct{ client, vip, outer, inner string }{
		{"198.18.0.10", vip, router4, realServer4}, {"2001:db8:200::10", vip6, router6, realServer6},
	} {
		if n := knock(t, c, tunnel{netip.MustParseAddr(f.client), netip.MustParseAddr(f.vip),
			netip.MustParseAddr(f.outer), netip.MustParseAddr(f.inner)}); n != knocks {
			t.Errorf("%s: of %d clients %d were answered\n%s", f.vip, knocks, n, v.sh("/sbin/ip -s link; /sbin/ip neigh"))
		}
	}
	if got := v.sh("cd /sys/class/net; cat tunl0/statistics/rx_packets ip6tnl0/statistics/rx_packets"); got != "20\n20" {
		t.Errorf("tunl0 and ip6tnl0 unpacked %q, want 20 each", got)
	}
	code, out := v.try("/sbin/ip link set tunl0 down; ulvs realserver check")
	if code == 0 || !strings.Contains(out, "tunl0") {
		t.Errorf("with tunl0 down check says %d: %s", code, out)
	}
	v.sh(setup + "; ulvs realserver check; ulvs realserver remove")
	if after := v.sh(state); after != before {
		t.Errorf("before setup:\n%s\nafter remove:\n%s", before, after)
	}
}

// knocks are clients of each family.
const knocks = 20

// tunnel is a client's packet in a director's.
type tunnel struct{ client, vip, director, server netip.Addr }

// frame is a SYN of the client's from a port.
func (u tunnel) frame(t *testing.T, port int) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 0x10}, DstMAC: []byte{0x52, 0x54, 0, 0, 0, 1}}
	tcp := &layers.TCP{SrcPort: layers.TCPPort(port), DstPort: 80, SYN: true, Window: 1000}
	b, opt := gopacket.NewSerializeBuffer(), gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	var err error
	if u.client.Is4() {
		eth.EthernetType = layers.EthernetTypeIPv4
		outer := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolIPv4, SrcIP: u.director.AsSlice(),
			DstIP: u.server.AsSlice()}
		inner := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: u.client.AsSlice(),
			DstIP: u.vip.AsSlice()}
		_ = tcp.SetNetworkLayerForChecksum(inner)
		err = gopacket.SerializeLayers(b, opt, eth, outer, inner, tcp)
	} else {
		eth.EthernetType = layers.EthernetTypeIPv6
		outer := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolIPv6, SrcIP: u.director.AsSlice(),
			DstIP: u.server.AsSlice()}
		inner := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP, SrcIP: u.client.AsSlice(),
			DstIP: u.vip.AsSlice()}
		_ = tcp.SetNetworkLayerForChecksum(inner)
		err = gopacket.SerializeLayers(b, opt, eth, outer, inner, tcp)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// knock sends a SYN after the other through a tunnel, and counts those that the VIP answers, outside of any tunnel.
func knock(t *testing.T, c *cable, u tunnel) (answered int) {
	t.Helper()
	for port := 5001; port <= 5000+knocks; port++ {
		c.send(u.frame(t, port))
		for {
			b := c.receive(20 * time.Second)
			if b == nil {
				return answered
			}
			p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.NoCopy)
			tcp, ok := p.TransportLayer().(*layers.TCP)
			if ok && tcp.RST && int(tcp.DstPort) == port && // nobody listens: the kernel itself answers
				slices.Equal(p.NetworkLayer().NetworkFlow().Src().Raw(), u.vip.AsSlice()) {
				answered++
				break
			}
		}
	}
	return answered
}
