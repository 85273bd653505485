package dataplane

import (
	"encoding/binary"
	"testing"

	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

// states are the states of the sessions, in the table's order.
func (b *bed) states() (list []conntrack.State) {
	b.table.Walk(func(_ conntrack.Ref, _ *conntrack.Entry, i conntrack.Info) bool {
		list = append(list, i.State)
		return true
	})
	return list
}

// chunks sends one SCTP packet from the client, or the real server's answer, and returns what came out.
func (b *bed) chunks(reply bool, chunk uint8) []byte {
	b.tb.Helper()
	from, port := seg{src: client4, dst: vip4, proto: packet.ProtoSCTP}, uint8(0)
	l4 := sctpPacket(40000, 80, 0, chunkOf(chunk, 4))
	if reply {
		from, port = seg{src: "10.0.0.21:1", dst: client4, proto: packet.ProtoSCTP, dstMAC: portMACs[1]}, 1
		l4 = sctpPacket(8080, 40000, 0, chunkOf(chunk, 4))
	}
	f, _ := ipFrame(b.tb, from, l4)
	out := b.one(port, f.Bytes(), 1)[0].Data
	if sum := out[34:]; sctpSum(sum, binary.LittleEndian.Uint32(sum)) != binary.LittleEndian.Uint32(sum[8:]) {
		b.tb.Errorf("wrong checksum in %x", out)
	}
	return out
}

func TestAnSCTPAssociationThroughNAT(t *testing.T) {
	b := newBed(t, bedOptions{}, serviceOf(lvs.ProtoSCTP, vip4, lvs.MethodNAT, "10.0.0.21:8080"))
	load := b.snapshots.Load().Dests[1].Load
	for _, c := range []struct {
		reply  bool
		chunk  uint8
		want   conntrack.State
		active int32
	}{
		{false, 1, conntrack.SCTPInit1, 0}, {true, 2, conntrack.SCTPCookieSent, 0},
		{false, 10, conntrack.SCTPCookieReplied, 0}, {true, 11, conntrack.SCTPEstablished, 1},
		{false, 0, conntrack.SCTPEstablished, 1}, {false, 7, conntrack.SCTPShutdownReceived, 0},
		{true, 8, conntrack.SCTPShutdownAckSent, 0}, {false, 14, conntrack.SCTPClosed, 0},
		{false, 1, conntrack.SCTPInit1, 0}, // conn_reuse_mode: a new session
	} {
		out := b.chunks(c.reply, c.chunk)
		if s := b.states(); len(s) != 1 || s[0] != c.want || load.Active() != c.active {
			t.Fatalf("after chunk %d: %v, %d active; want %v, %d", c.chunk, s, load.Active(), c.want, c.active)
		}
		if ports := binary.BigEndian.Uint32(out[34:]); ports != 40000<<16|8080 && ports != 80<<16|40000 {
			t.Errorf("after chunk %d: ports %#x", c.chunk, ports)
		}
	}
	if load.Inactive() != 1 || b.worker.Stats().Dest(1).Conns != 2 {
		t.Errorf("%d inactive, %d sessions started", load.Inactive(), b.worker.Stats().Dest(1).Conns)
	}
	b.check()
}

func TestAnSCTPAssociationThroughDR(t *testing.T) {
	b := newBed(t, bedOptions{}, serviceOf(lvs.ProtoSCTP, vip4, lvs.MethodDR, "10.0.0.21:80"))
	for _, c := range []struct {
		chunk uint8
		want  conntrack.State
	}{
		{1, conntrack.SCTPInit1}, {10, conntrack.SCTPEstablished}, {7, conntrack.SCTPShutdownReceived},
		{14, conntrack.SCTPClosed},
	} {
		if b.chunks(false, c.chunk); b.states()[0] != c.want {
			t.Fatalf("after chunk %d: %v, want %v", c.chunk, b.states(), c.want)
		}
	}
}

func TestESPThroughNATBothWays(t *testing.T) {
	b := newBed(t, bedOptions{}, serviceOf(lvs.ProtoUDP, "198.18.0.100:500", lvs.MethodNAT, "10.0.0.21:500"))
	b.one(0, seg{src: "192.0.2.1:500", dst: "198.18.0.100:500", proto: packet.ProtoUDP}.bytes(t), 1)
	for _, payload := range [][]byte{esp, nil, {1}} {
		in, _ := ipFrame(t, seg{src: "192.0.2.1:1", dst: "198.18.0.100:1", proto: packet.ProtoESP}, payload)
		got := b.one(0, in.Bytes(), 1)[0].Data
		h := packet.IPv4(got[14:34])
		if packet.AddrV4(h.DstWire()).String() != "10.0.0.21" || !h.ChecksumOK() || h.TTL() != 63 {
			t.Errorf("%x", got)
		}
		answer := seg{src: "10.0.0.21:1", dst: "192.0.2.1:1", proto: packet.ProtoESP, dstMAC: portMACs[1]}
		out, _ := ipFrame(t, answer, payload)
		got = b.one(1, out.Bytes(), 1)[0].Data
		if h := packet.IPv4(got[14:34]); packet.AddrV4(h.SrcWire()).String() != "198.18.0.100" || !h.ChecksumOK() {
			t.Errorf("%x", got)
		}
		if string(got[34:]) != string(payload) {
			t.Errorf("the payload changed: %x", got)
		}
	}
	b.check()
}

func TestNewSessionsAreRefusedByDropPacket(t *testing.T) {
	b := newBed(t, bedOptions{}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	b.snapshots.Load().Settings.DropPacket, b.snapshots.Load().Settings.AMDropRate = 3, 3
	b.one(0, seg{src: "192.0.2.1:1", dst: vip4, flags: packet.TCPSyn}.bytes(t), 0)
	b.one(0, seg{src: "192.0.2.1:2", dst: vip4, flags: packet.TCPSyn}.bytes(t), 1)
	for range 5 {
		b.one(0, seg{src: "192.0.2.1:2", dst: vip4, flags: packet.TCPAck}.bytes(t), 1)
	}
	b.one(0, seg{src: "192.0.2.1:3", dst: vip4, flags: packet.TCPSyn}.bytes(t), 1)
	b.one(0, seg{src: "192.0.2.1:4", dst: vip4, flags: packet.TCPSyn}.bytes(t), 0)
	if n := b.counted()[DropDefence.String()]; n != 2 {
		t.Errorf("%v", b.counted())
	}
	b.check()
}

func TestPacketsAreCountedWhileEntriesAreDropped(t *testing.T) {
	for mode, want := range map[int]int{0: -1, 3: 4} {
		b := newBed(t, bedOptions{}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
		b.snapshots.Load().Settings.DropEntry = mode
		b.one(0, seg{src: client4, dst: vip4, flags: packet.TCPSyn}.bytes(t), 1)
		for range 3 {
			b.one(0, seg{src: client4, dst: vip4, flags: packet.TCPAck}.bytes(t), 1)
		}
		b.table.Walk(func(_ conntrack.Ref, e *conntrack.Entry, _ conntrack.Info) bool {
			if n := e.Meta().InPackets(); n != want {
				t.Errorf("drop_entry %d: %d packets counted, want %d", mode, n, want)
			}
			return true
		})
	}
}

func TestSecureTCPStartsWhereTheKernelDoes(t *testing.T) {
	for method, want := range map[lvs.Method]conntrack.State{
		lvs.MethodDR: conntrack.TCPSynAck, lvs.MethodNAT: conntrack.TCPSynRecv,
	} {
		b := newBed(t, bedOptions{}, service(vip4, method, "10.0.0.21:80"))
		b.snapshots.Load().Settings.SecureTCP = 3
		b.one(0, seg{src: client4, dst: vip4, flags: packet.TCPSyn}.bytes(t), 1)
		if b.states()[0] != want {
			t.Errorf("%v: %v, want %v", method, b.states(), want)
		}
	}
}
