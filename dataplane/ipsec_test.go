package dataplane

import (
	"testing"

	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

var esp = []byte{0, 0, 0, 1, 0, 0, 0, 1, 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x'}

func TestAHAndESPFollowTheKeyExchangeBothWays(t *testing.T) {
	b := newBed(t, bedOptions{}, serviceOf(lvs.ProtoUDP, "198.18.0.100:500", lvs.MethodNAT, "10.0.0.21:500"))
	b.one(0, seg{src: "192.0.2.1:500", dst: "198.18.0.100:500", proto: packet.ProtoUDP, payload: 3}.bytes(t), 1)
	for _, proto := range []uint8{packet.ProtoESP, packet.ProtoAH} {
		_, in := ipFrame(t, seg{src: "192.0.2.1:1", dst: "198.18.0.100:1", proto: proto}, esp)
		_, out := ipFrame(t, seg{src: "10.0.0.21:1", dst: "192.0.2.1:1", proto: proto}, esp)
		in4, out4 := ikeKey(in), ikeKey(out)
		there, back := b.worker.conns.FindKey(&in4), b.worker.conns.FindKey(&out4)
		if there == 0 || there.Reply() || back.Conn() != there || !back.Reply() {
			t.Errorf("protocol %d: found %#x and %#x", proto, there, back)
		}
		if !isIPsec(in) || b.table.Entry(there).State() != conntrack.UDPNormal {
			t.Errorf("protocol %d is not IPsec's, or the session not UDP's", proto)
		}
	}
}

func TestAHAndESPFollowTheKeyExchangeOverIPv6(t *testing.T) {
	b := newBed(t, bedOptions{}, serviceOf(lvs.ProtoUDP, "[2001:db8:c::100]:500", lvs.MethodNAT, "[fd00::21]:500"))
	b.one(0, seg{
		src: "[2001:db8::1]:500", dst: "[2001:db8:c::100]:500", proto: packet.ProtoUDP, payload: 3,
	}.bytes(t), 1)
	_, in := ipFrame(t, seg{src: "[2001:db8::1]:1", dst: "[2001:db8:c::100]:1", proto: packet.ProtoESP}, esp)
	if key := ikeKey(in); b.worker.conns.FindKey(&key) == 0 {
		t.Error("not found")
	}
}

func TestIPsecIsForwardedByItsSessionsMethod(t *testing.T) {
	for method, want := range map[lvs.Method]Verdict{lvs.MethodDR: TxDR, lvs.MethodTUN: TxTUN} {
		b := newBed(t, bedOptions{}, serviceOf(lvs.ProtoUDP, "198.18.0.100:500", method, "10.0.0.21:500"))
		b.one(0, seg{src: "192.0.2.1:500", dst: "198.18.0.100:500", proto: packet.ProtoUDP, payload: 3}.bytes(t), 1)
		b.worker.begin(b.now + 8)
		f, p := ipFrame(t, seg{src: "192.0.2.1:1", dst: "198.18.0.100:1", proto: packet.ProtoESP}, esp)
		if got := b.worker.ipsec(f, p); got != want {
			t.Errorf("%v, want %v", got, want)
		}
		key := ikeKey(p)
		if e := b.table.Entry(b.worker.conns.FindKey(&key)); e.Seen() != b.now+8 {
			t.Error("the session's timer was not restarted")
		}
	}
}

// TestIPsecWithoutItsKeyExchangeIsAnswered: a kernel (6.1.176) answers protocol unreachable, also when the
// client's key exchange came from another port.
func TestIPsecWithoutItsKeyExchangeIsAnswered(t *testing.T) {
	for _, port := range []string{"", "1500", "500"} {
		b := newBed(t, bedOptions{}, serviceOf(lvs.ProtoUDP, "198.18.0.100:500", lvs.MethodDR, "10.0.0.21:500"))
		if port != "" {
			b.one(0, seg{
				src: "192.0.2.1:" + port, dst: "198.18.0.100:500", proto: packet.ProtoUDP, payload: 3,
			}.bytes(t), 1)
		}
		if port == "500" {
			b.now += 400 * conntrack.TicksPerSecond // the session is over
		}
		b.worker.begin(b.now)
		f, p := ipFrame(t, seg{src: "192.0.2.1:1", dst: "198.18.0.100:1", proto: packet.ProtoESP}, esp)
		if v := b.worker.ipsec(f, p); v != TxICMPError || decode(t, f.Bytes()).icmp != [2]uint8{3, 2} {
			t.Errorf("key exchange from port %q: %v", port, v)
		}
	}
	b := newBed(t, bedOptions{}, serviceOf(lvs.ProtoUDP, "198.18.0.100:500", lvs.MethodDR, "10.0.0.21:500"))
	b.worker.begin(b.now)
	f, p := ipFrame(t, seg{src: "10.0.0.21:1", dst: "192.0.2.1:1", proto: packet.ProtoESP}, esp)
	if b.worker.ipsec(f, p) != TxRouted {
		t.Error("a real server's own ESP is not routed on")
	}
}
