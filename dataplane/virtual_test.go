package dataplane

import (
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ulvs/packet"
)

// A VIP with VRRP's MAC address is said to be there, frames to that address are taken, and those to a router's that is
// not this director's are not.
func TestAVIPHasAMACOfItsOwn(t *testing.T) {
	b := hostileBed(t, 1)
	v4, v6 := packet.MAC{0, 0, 0x5e, 0, 1, 51}, packet.MAC{0, 0, 0x5e, 0, 2, 51}
	echoTo := func(vip string, mac packet.MAC) []byte {
		f := echo(t, "192.0.2.99", vip, 8)
		copy(f, mac[:])
		return f
	}
	b.dropped(echoTo("198.18.0.100", v4), DropOtherHost)
	s := *b.snapshots.Load()
	s.SetVirtual(map[netip.Addr]packet.MAC{
		netip.MustParseAddr("198.18.0.100"): v4, netip.MustParseAddr("2001:db8:c::100"): v6,
	})
	b.snapshots.Store(&s)
	for vip, want := range map[byte]packet.MAC{100: v4, 101: portMACs[0]} {
		out := b.one(0, arpFrame(1, [4]byte{192, 0, 2, 254}, [4]byte{198, 18, 0, vip}), 1)[0].Data
		p := gopacket.NewPacket(out, layers.LayerTypeEthernet, gopacket.Default)
		a, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP)
		if got := decode(t, out); !ok || packet.MAC(a.SourceHwAddress) != want || got.srcMAC != want {
			t.Errorf("198.18.0.%d is said to be at %v, want %v", vip, p, want)
		}
	}
	out := b.one(0, solicit(t, "2001:db8::99", "2001:db8:c::100"), 1)[0].Data
	if got := decode(t, out); got.srcMAC != v6 || packet.MAC(got.payload[len(got.payload)-6:]) != v6 {
		t.Errorf("answered %+v", got)
	}
	if got := b.answered(echoTo("198.18.0.100", v4), routerMAC, TxEcho); got.src.Addr().String() != "198.18.0.100" {
		t.Errorf("answered %+v", got)
	}
	b.dropped(echoTo("198.18.0.100", packet.MAC{0, 0, 0x5e, 0, 1, 52}), DropOtherHost)
}
