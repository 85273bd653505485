package wire

import (
	"net"
	"net/netip"
	"testing"

	"ulvs/packet"
)

// Every frame is one that the data plane takes, of the flow whose turn it is.
func TestFramesAreGood(t *testing.T) {
	o := Options{
		Interface: "lo", To: netip.MustParseAddrPort("198.18.0.100:7"), From: netip.MustParseAddr("198.18.255.250"),
		Flows: 1000, Size: 60, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1},
	}
	if err := o.validate(); err != nil {
		t.Fatal(err)
	}
	g, err := newFrames(o)
	if err != nil {
		t.Fatal(err)
	}
	flows := map[uint64]bool{}
	b := make([]byte, o.Size)
	for range 2 * o.Flows {
		g.fill(b)
		var p packet.Parsed
		if e := packet.Parse(b, &p); e != packet.ErrNone || p.Proto != packet.ProtoUDP {
			t.Fatalf("a frame is refused: %v %+v", e, p)
		}
		flows[p.Addr[0]&0xffffffff|p.L4<<32] = true
	}
	if len(flows) != o.Flows {
		t.Errorf("%d flows, want %d", len(flows), o.Flows)
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	good := Options{
		MAC: make([]byte, 6), To: netip.MustParseAddrPort("1.2.3.4:7"), From: netip.MustParseAddr("1.2.3.4"),
		Flows: 1, Size: 60,
	}
	if err := good.validate(); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []func(*Options){
		func(o *Options) { o.To = netip.MustParseAddrPort("[::1]:7") },
		func(o *Options) { o.From = netip.Addr{} },
		func(o *Options) { o.MAC = nil },
		func(o *Options) { o.Flows = 0 },
		func(o *Options) { o.Size = 59 },
		func(o *Options) { o.Size = 1515 },
	} {
		o := good
		if wrong(&o); o.validate() == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
