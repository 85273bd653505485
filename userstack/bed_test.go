package userstack

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"ulvs/conntrack"
	"ulvs/dataplane"
	"ulvs/dataplane/memqueue"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
	"ulvs/sched"
)

// The test network: a worker with one port, and behind it one host that is client and real server alike, with a stack
// of its own that takes every address.
var (
	portMAC = packet.MAC{2, 0, 0, 0, 1, 1}
	hostMAC = packet.MAC{2, 0, 0, 0, 2, 1}
	own4    = netip.MustParseAddr("10.0.0.10")
	own6    = netip.MustParseAddr("fd00::10")
)

// world is a stack of ours, a worker and the host, and the goroutine that moves frames between them.
type world struct {
	tb     testing.TB
	stack  *Stack
	queue  *memqueue.Queue
	worker *dataplane.Worker
	snap   atomic.Pointer[dataplane.Snapshot]
	host   *stack.Stack
	wire   *channel.Endpoint
	kick   chan struct{}
	seen   atomic.Pointer[func(frame []byte) bool] // sees what goes to the host; false loses it
	start  time.Time
}

func newWorld(tb testing.TB, services ...lvs.Service) *world {
	tb.Helper()
	return newWorldOf(tb, [2]uint16{61440, 61503}, services...)
}

func newWorldOf(tb testing.TB, ports [2]uint16, services ...lvs.Service) *world {
	tb.Helper()
	w := &world{tb: tb, queue: memqueue.New(1024), kick: make(chan struct{}, 1), start: time.Now()}
	var err error
	w.stack, err = New(Options{
		Ports: ports, Wake: func(int) { w.WriteNotify() },
		DialLocal: func(ctx context.Context, network, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, strings.Replace(address, "[::1]", "127.0.0.1", 1))
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	table, err := conntrack.New(conntrack.Options{Bits: 10, Workers: 1, Heap: true})
	if err != nil {
		tb.Fatal(err)
	}
	w.apply(services...)
	w.worker = dataplane.NewWorker(dataplane.Options{
		Queue: w.queue, Table: table, Snapshots: &w.snap, Stack: w.stack.Link(0), Gathering: dataplane.NewReassembly(),
	})
	w.makeHost()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.run(ctx) }()
	tb.Cleanup(func() {
		w.stack.Close()
		cancel()
		<-done
		w.host.Close()
		table.Close()
	})
	return w
}

// WriteNotify implements channel.Notification: something has to be moved.
func (w *world) WriteNotify() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

func (w *world) makeHost() {
	w.host = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocolWithOptions(quiet6)},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	w.wire = channel.New(512, 1500, "")
	w.wire.AddNotify(w)
	for _, err := range []tcpip.Error{
		w.host.CreateNIC(1, w.wire), w.host.SetPromiscuousMode(1, true), w.host.SetSpoofing(1, true),
	} {
		if err != nil {
			w.tb.Fatal(err)
		}
	}
	w.host.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: 1}, {Destination: header.IPv6EmptySubnet, NIC: 1},
	})
}

// repeatNothing has nothing sent twice that is only late, on a busy machine: what comes after the end would be dropped.
func (w *world) repeatNothing() {
	rto, recovery := tcpip.TCPMinRTOOption(testutil.AwaitLimit), tcpip.TCPRecovery(0)
	for _, s := range []*stack.Stack{w.stack.net, w.host} {
		for _, option := range []tcpip.SettableTransportProtocolOption{&rto, &recovery} {
			if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
				w.tb.Fatal(err)
			}
		}
	}
}

func (w *world) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.kick:
		}
		for w.step() {
		}
	}
}

// step moves what there is to move.
func (w *world) step() (moved bool) {
	now := dataplane.TickOf(time.Since(w.start) + 10*time.Second)
	for w.worker.RunOnce(now) > 0 {
		moved = true
	}
	for _, f := range w.queue.Take() {
		moved = true
		w.toHost(f.Data)
	}
	for pkt := w.wire.Read(); pkt != nil; pkt = w.wire.Read() {
		moved = true
		w.fromHost(pkt)
		pkt.DecRef()
	}
	return moved
}

// toHost gives the host a frame, unpacked from a tunnel.
func (w *world) toHost(frame []byte) {
	if f := w.seen.Load(); f != nil && !(*f)(frame) {
		return
	}
	b := unpack(frame[packet.EthernetLen:])
	proto := tcpip.NetworkProtocolNumber(header.IPv4ProtocolNumber)
	if b[0]>>4 == 6 {
		proto = header.IPv6ProtocolNumber
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
	defer pkt.DecRef()
	w.wire.InjectInbound(proto, pkt)
}

// unpack takes an outer IP header off, with GUE's or GRE's behind it.
func unpack(b []byte) []byte {
	proto, n := b[6], packet.IPv6Len
	if b[0]>>4 == 4 {
		proto, n = b[9], packet.IPv4Len
	}
	switch {
	case proto == packet.ProtoIPIP || proto == packet.ProtoIPv6:
		return b[n:]
	case proto == packet.ProtoGRE:
		return b[n+packet.GRELen:]
	case proto == packet.ProtoUDP && packet.UDP(b[n:]).DstPort() == 6080:
		return b[n+packet.UDPLen+packet.GUELen:]
	}
	return b
}

func (w *world) fromHost(pkt *stack.PacketBuffer) {
	frame := make([]byte, packet.EthernetLen)
	e := packet.Ethernet(frame)
	e.SetDst(portMAC)
	e.SetSrc(hostMAC)
	e.SetEtherType(packet.EtherTypeIPv4)
	if pkt.NetworkProtocolNumber == header.IPv6ProtocolNumber {
		e.SetEtherType(packet.EtherTypeIPv6)
	}
	for _, part := range pkt.AsSlices() {
		frame = append(frame, part...)
	}
	if !w.queue.Inject(0, frame) {
		w.tb.Error("the worker's frames are used up")
	}
}

// NextHop implements dataplane.Routes: everybody is on the link.
func (w *world) NextHop(netip.Addr) (dataplane.HopKey, bool) { return dataplane.HopKey{}, true }

// apply makes services the running ones.
func (w *world) apply(services ...lvs.Service) {
	built, err := lvs.Build(nil, services)
	if err != nil {
		w.tb.Fatal(err)
	}
	timeouts := conntrack.DefaultTimeouts()
	s := &dataplane.Snapshot{
		Generation: 1, Services: make([]dataplane.Service, len(built.Services)), Routes: w, VIPs: map[netip.Addr]bool{},
		Dests: make([]dataplane.Dest, len(built.Destinations)), Timeouts: &timeouts, Settings: lvs.DefaultSettings(),
		Ports: []dataplane.Port{{Name: "eth0", MAC: portMAC, MTU: 1500}}, Locals: []netip.Addr{own4, own6},
		Hops:   []dataplane.Hop{{}, dataplane.NewHop(dataplane.HopKey{}, hostMAC, portMAC, 1500)},
		HopIDs: map[dataplane.HopKey]dataplane.HopID{{}: 1},
	}
	for id, svc := range built.Services {
		if svc == nil {
			continue
		}
		sc, err := sched.New(svc.Scheduler, 0, sched.Options{})
		if err == nil {
			err = sc.Update(svc.Destinations)
		}
		if err != nil {
			w.tb.Fatal(err)
		}
		s.Services[id] = dataplane.Service{Config: svc, Scheduler: sc}
		s.VIPs[svc.Key.Addr] = true
	}
	for id, d := range built.Destinations {
		if d != nil {
			s.Dests[id] = dataplane.NewDest(d, own(d.Addr))
			s.Dests[id].Hop, s.Dests[id].Local = 1, dataplane.OnThisHost(d.Addr, s.Locals)
			if s.Dests[id].Local {
				s.Dests[id].Hop = 0
			}
		}
	}
	s.IndexServices()
	w.snap.Store(s)
}

func own(like netip.Addr) netip.Addr {
	if like.Is6() {
		return own6
	}
	return own4
}

func (w *world) verdict(v dataplane.Verdict) uint64 { return w.worker.Stats().Verdict(v) }

func service(proto uint8, vip string, reals ...lvs.Destination) lvs.Service {
	ap := netip.MustParseAddrPort(vip)
	return lvs.Service{
		Key: lvs.ServiceKey{Addr: ap.Addr(), Port: ap.Port(), Proto: proto}, Scheduler: "rr", Destinations: reals,
	}
}

func real(addr string, m lvs.Method) lvs.Destination {
	ap := netip.MustParseAddrPort(addr)
	return lvs.Destination{Addr: ap.Addr(), Port: ap.Port(), Method: m, Weight: 1}
}
