package restart

import (
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"ulvs/conntrack"
	"ulvs/keep"
	"ulvs/lvs"
	"ulvs/packet"
	"ulvs/test/lab"
)

// many is how many sessions are restored: a million with ULVS_FULL=1, else as many as cost little.
func many() int {
	if os.Getenv("ULVS_FULL") == "1" {
		return 1_000_000
	}
	return 20_000
}

// inject has a keeper keep the memory of a director with n sessions that nobody uses, as if one had been killed.
func (b *bed) inject(n int) {
	b.t.Helper()
	f, err := conntrack.NewFile()
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	table, err := conntrack.New(conntrack.Options{
		HugePages: true, Keep: conntrack.Keep{File: f, Base: conntrack.BootTime() - int64(time.Hour), Generation: 1},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	defer table.Close()
	addrs := b.lab.Addresses()
	vip := addrs.VIP(lvs.MethodDR).IPv4
	key := lvs.ServiceKey{Addr: vip, Port: lab.PortEcho, Proto: packet.ProtoTCP}
	table.NameService(1, key.Identity())
	for i, r := range addrs.Reals {
		table.NameDest(uint32(i+1), conntrack.Origin{Service: key.Identity(), Addr: wire(r.Addr.IPv4),
			Port: packet.WirePort(lab.PortEcho)})
	}
	timeouts := conntrack.DefaultTimeouts()
	h := table.Worker(0)
	for i := range n {
		at := i % len(addrs.Reals)
		client := netip.AddrFrom4([4]byte{100, byte(i >> 20), byte(i >> 12), byte(i >> 4)})
		s := conntrack.Spec{
			Key: conntrack.Key{
				Addr: [4]uint64{uint64(packet.WireV4(client)) | uint64(packet.WireV4(vip))<<32},
				L4: uint64(packet.WirePort(uint16(1024+i%16))) | uint64(packet.WirePort(lab.PortEcho))<<16 |
					packet.ProtoTCP<<32,
			},
			DestAddr: wire(addrs.Reals[at].Addr.IPv4), DestPort: packet.WirePort(lab.PortEcho), Dest: uint32(at + 1),
			Service: 1, State: conntrack.TCPEstablished, Timeout: timeouts.Of(conntrack.TCPEstablished),
		}
		if _, res := h.Insert(&s, conntrack.Ticks(time.Hour)); res != conntrack.Inserted {
			b.t.Fatalf("session %d: %v", i, res)
		}
	}
	table.Beat(conntrack.BootTime())
	c, err := keep.Start(b.keeper(), binary, "keep")
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.Close()
	if err := c.Store("ulvs-table.1", f); err != nil {
		b.t.Fatal(err)
	}
}

func wire(a netip.Addr) [2]uint64 { return [2]uint64{uint64(packet.WireV4(a))} }

func TestManySessionsOutliveAKilledDirector(t *testing.T) {
	b := newBed(t, "t-rst-many")
	n := many()
	b.inject(n)
	b.start()
	if r := b.status().Restart; r.Sessions != n || r.Dropped != 0 {
		t.Fatalf("%+v, want %d sessions", r, n)
	}
	flows := allFlows(t, b, 4)
	p := startProbe(t, b.lab, lvs.MethodDR)
	goOn(t, flows)
	begin := time.Now()
	b.end(syscall.SIGKILL)
	b.start()
	took := time.Since(begin)
	goOn(t, flows)
	r := b.status().Restart
	sent, lost, gap := p.end()
	t.Logf("%d sessions recovered in %.0f ms; %.0f ms without a director, %v until it answered; probe: %d of %d lost, "+
		"%v without an answer", r.Sessions, r.Seconds*1000, r.GapSeconds*1000, took, lost, sent, gap)
	if want := n + len(flows) + 1; r.Sessions != want || r.Dropped != 0 {
		t.Errorf("%+v, want %d sessions", r, want)
	}
	if s := b.status().Sessions; s.Active < int64(n) {
		t.Errorf("%d active sessions are counted, want %d at least", s.Active, n)
	}
}
