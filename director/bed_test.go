package director

import (
	"net/netip"
	"testing"
	"time"

	"ulvs/conntrack"
	"ulvs/dataplane"
	"ulvs/lvs"
	"ulvs/packet"
)

var (
	vip     = netip.MustParseAddr("198.18.0.100")
	vip6    = netip.MustParseAddr("2001:db8:c::64")
	client  = netip.MustParseAddr("198.18.0.10")
	own     = netip.MustParseAddr("10.18.1.2")
	backMAC = packet.MAC{2, 0, 0, 0, 0, 9}
)

func realAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 18, 1, byte(10 + i)}) }

// staticNetwork is a Network that stands still: port 0 towards clients, port 1 towards real servers,
// each neighbour on its own link.
type staticNetwork struct {
	unknown  map[netip.Addr]bool // neighbours without a MAC address
	unrouted map[netip.Addr]bool
}

// NextHop implements Network.
func (s *staticNetwork) NextHop(dst netip.Addr) (key dataplane.HopKey, source netip.Addr, ok bool) {
	if s.unrouted[dst] {
		return key, source, false
	}
	key.Addr = dst
	if dst.Is4() && dst.As4()[0] == 10 {
		key.Port = 1
	}
	return key, own, true
}

// Hop implements Network.
func (s *staticNetwork) Hop(key dataplane.HopKey) dataplane.Hop {
	if s.unknown[key.Addr] {
		return dataplane.Hop{Port: key.Port}
	}
	return dataplane.NewHop(key, backMAC, packet.MAC{2, 0, 0, 0, 1, key.Port}, 1500)
}

// Locals implements Network.
func (s *staticNetwork) Locals() []netip.Addr { return []netip.Addr{own} }

// Ports implements Network.
func (s *staticNetwork) Ports() []dataplane.Port {
	return []dataplane.Port{
		{Name: "c0", MAC: packet.MAC{2, 0, 0, 0, 1, 0}, MTU: 1500},
		{Name: "s0", MAC: packet.MAC{2, 0, 0, 0, 1, 1}, MTU: 9000},
	}
}

// wire is a dataplane.Queue: what is put into it arrives, what is sent is kept as the next hops'
// ports. Only the worker's goroutine, the test's, uses it.
type wire struct {
	in   []packet.Frame
	sent []packet.Frame
}

// Recv implements dataplane.Queue.
func (w *wire) Recv(frames []packet.Frame) int {
	n := copy(frames, w.in)
	w.in = w.in[n:]
	return n
}

// Send implements dataplane.Queue.
func (w *wire) Send(frames []packet.Frame) int {
	w.sent = append(w.sent, frames...)
	return len(frames)
}

// Release implements dataplane.Queue.
func (w *wire) Release([]packet.Frame) {}

// Alloc implements dataplane.Queue.
func (w *wire) Alloc([]packet.Frame) int { return 0 }

// Wait implements dataplane.Queue.
func (w *wire) Wait(time.Duration) error { return nil }

// bed is a Node with one worker over a wire.
type bed struct {
	*Node
	tb     testing.TB
	net    *staticNetwork
	wire   wire
	worker *dataplane.Worker
	now    conntrack.Tick
	port   uint16 // of the last client
}

func newBed(tb testing.TB) *bed {
	tb.Helper()
	table, err := conntrack.New(conntrack.Options{Bits: 8, Heap: true, Workers: 1})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = table.Close() })
	b := &bed{tb: tb, net: &staticNetwork{map[netip.Addr]bool{}, map[netip.Addr]bool{}}, now: 80, port: 1023}
	b.Node, err = NewNode(NodeOptions{Table: table, Network: b.net})
	if err != nil {
		tb.Fatal(err)
	}
	b.worker = dataplane.NewWorker(dataplane.Options{Queue: &b.wire, Table: table, Snapshots: b.Snapshots(), Seed: 1})
	b.Serve(b.worker)
	return b
}

// replace makes services the running ones.
func (b *bed) replace(services ...lvs.Service) {
	b.tb.Helper()
	if err := b.Replace(services); err != nil {
		b.tb.Fatal(err)
	}
}

// syn sends one SYN of a new client to the VIP and port 80, and returns the real server that it
// went to, by the DR hop's key; the zero Addr if it went nowhere.
func (b *bed) syn() netip.Addr {
	b.tb.Helper()
	b.port++
	return b.packet(b.port, packet.TCPSyn)
}

func (b *bed) packet(port uint16, flags uint8) netip.Addr {
	b.tb.Helper()
	before := b.perDest()
	b.wire.in = append(b.wire.in, tcpFrame(port, flags))
	b.worker.RunOnce(b.now)
	for addr, n := range b.perDest() {
		if n > before[addr] {
			return addr
		}
	}
	return netip.Addr{}
}

// perDest counts the packets of each real server of port 80, from the workers' own counts.
func (b *bed) perDest() map[netip.Addr]uint64 {
	counts := map[netip.Addr]uint64{}
	for id, d := range b.built.Destinations {
		if d != nil {
			counts[d.Addr] += b.worker.Stats().Dest(lvs.DestID(id)).InPackets
		}
	}
	return counts
}

func tcpFrame(port uint16, flags uint8) packet.Frame {
	const head = 256
	b := make([]byte, 2048)
	f := packet.Frame{Buf: b, Off: head, Len: packet.EthernetLen + packet.IPv4Len + packet.TCPLen}
	frame := f.Bytes()
	packet.Ethernet(frame).Encode(&packet.EthernetFields{
		Dst: packet.MAC{2, 0, 0, 0, 1, 0}, Src: backMAC, EtherType: packet.EtherTypeIPv4,
	})
	ip := frame[packet.EthernetLen:]
	packet.IPv4(ip).Encode(&packet.IPv4Fields{
		TTL: 64, Proto: packet.ProtoTCP, TotalLen: uint16(len(ip)), Src: packet.WireV4(client), Dst: packet.WireV4(vip),
	})
	seg := packet.TCP(ip[packet.IPv4Len:])
	seg.Encode(&packet.TCPFields{SrcPort: port, DstPort: 80, Flags: flags})
	seg.UpdateChecksum(0) // nobody looks at it
	return f
}

// service is a rr service of the VIP with real servers on the same port, newest first.
func service(port uint16, reals ...int) lvs.Service {
	s := lvs.Service{Key: lvs.ServiceKey{Addr: vip, Port: port, Proto: lvs.ProtoTCP}, Scheduler: "rr"}
	for _, i := range reals {
		s.Destinations = append(s.Destinations, lvs.Destination{Addr: realAddr(i), Port: port, Weight: 1})
	}
	return s
}

func (b *bed) destID(port uint16, real int) lvs.DestID {
	b.tb.Helper()
	s := b.built.Service(service(port).Key)
	if s == nil {
		b.tb.Fatalf("no service at port %d", port)
	}
	for i := range s.Destinations {
		if s.Destinations[i].Addr == realAddr(real) {
			return s.Destinations[i].ID
		}
	}
	b.tb.Fatalf("no real server %d at port %d", real, port)
	return 0
}
