package conntrack

import "testing"

func TestADetachedEntryHoldsWhatItWasMadeOf(t *testing.T) {
	e := Detached(&Spec{
		Key: Key{Addr: [4]uint64{0x0a00_0002_0a00_0001}, L4: 6<<32 | 0x5000<<16 | 0x1234}, Flags: FlagNAT,
		DestAddr: [2]uint64{0x0a00_0003}, DestPort: 0x901f,
	})
	if !e.Live() || e.Flags() != FlagNAT || e.V6() || e.Proto() != 6 {
		t.Errorf("live %v, flags %v, IPv6 %v, protocol %d", e.Live(), e.Flags(), e.V6(), e.Proto())
	}
	if e.VIP4() != 0x0a00_0002 || e.VIPPort() != 0x5000 || e.DestAddr4() != 0x0a00_0003 || e.DestPort() != 0x901f {
		t.Errorf("VIP %x port %x, real server %x port %x", e.VIP4(), e.VIPPort(), e.DestAddr4(), e.DestPort())
	}
	six := Detached(&Spec{
		Key: Key{Addr: [4]uint64{1, 2, 3, 4}, L4: 17 << 32, V6: true}, DestAddr: [2]uint64{5, 6},
	})
	if !six.V6() || six.VIP6() != [2]uint64{3, 4} || six.DestAddr6() != [2]uint64{5, 6} {
		t.Errorf("IPv6: VIP %x, real server %x", six.VIP6(), six.DestAddr6())
	}
}
