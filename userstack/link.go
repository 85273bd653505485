package userstack

import (
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// link is the stack's one interface. It implements stack.LinkEndpoint over the rings to the workers.
type link struct {
	stack *Stack
	mtu   uint32

	mu         sync.Mutex // the rings have one writer at a time
	dispatcher stack.NetworkDispatcher
	packet     []byte
}

func (l *link) deliver(proto tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) {
	l.mu.Lock()
	d := l.dispatcher
	l.mu.Unlock()
	if d != nil {
		d.DeliverNetworkPacket(proto, pkt)
	}
}

// WritePackets implements stack.LinkWriter: each flow has its worker, so that its packets stay in order. A ring
// that is full loses the packet, as a link does.
func (l *link) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	for _, pkt := range list.AsSlice() {
		l.write(pkt)
	}
	return list.Len(), nil
}

func (l *link) write(pkt *stack.PacketBuffer) {
	if p := pkt.TransportProtocolNumber; p != header.TCPProtocolNumber && p != header.UDPProtocolNumber {
		return // ICMP and neighbour discovery: the worker answers those itself
	}
	l.mu.Lock()
	l.packet = l.packet[:0]
	for _, part := range pkt.AsSlices() {
		l.packet = append(l.packet, part...)
	}
	worker := l.worker(pkt.TransportHeader().Slice())
	ring := l.stack.links[worker].FromStack
	ring.Push(l.packet, netip.AddrPort{})
	alone := ring.Len() == 1 // else the worker is on its way, and looks again before it rests
	l.mu.Unlock()
	if alone && l.stack.opt.Wake != nil {
		l.stack.opt.Wake(worker)
	}
}

// worker spreads flows by their ports.
func (l *link) worker(h []byte) int {
	if len(h) < 4 {
		return 0
	}
	return (int(h[0]) + int(h[1]) + int(h[2]) + int(h[3])) % len(l.stack.links)
}

// Attach implements stack.NetworkLinkEndpoint.
func (l *link) Attach(d stack.NetworkDispatcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dispatcher = d
}

// IsAttached implements stack.NetworkLinkEndpoint.
func (l *link) IsAttached() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dispatcher != nil
}

// MTU implements stack.NetworkLinkEndpoint.
func (l *link) MTU() uint32 { return l.mtu }

// What follows implements the rest of stack.LinkEndpoint for a link without addresses and headers.

func (l *link) SetMTU(uint32)                                    {}
func (l *link) MaxHeaderLength() uint16                          { return 0 }
func (l *link) LinkAddress() tcpip.LinkAddress                   { return "" }
func (l *link) SetLinkAddress(tcpip.LinkAddress)                 {}
func (l *link) Capabilities() (c stack.LinkEndpointCapabilities) { return c }
func (l *link) Wait()                                            {}
func (l *link) ARPHardwareType() header.ARPHardwareType          { return header.ARPHardwareNone }
func (l *link) AddHeader(*stack.PacketBuffer)                    {}
func (l *link) ParseHeader(*stack.PacketBuffer) bool             { return true }
func (l *link) Close()                                           {}
func (l *link) SetOnCloseAction(func())                          {}

var _ stack.LinkEndpoint = (*link)(nil)
