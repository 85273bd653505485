package director

import (
	"encoding/binary"
	"fmt"

	"ulvs/conntrack"
	"ulvs/control"
	"ulvs/dataplane"
	"ulvs/lvs"
	"ulvs/packet"
)

// Trace implements control.Tracer.
func (d *director) Trace(f control.Flow) (control.Trace, error) {
	d.ioMu.RLock()
	defer d.ioMu.RUnlock()
	d.mu.RLock()
	defer d.mu.RUnlock()
	out, x, err := d.Node.trace(f, dataplane.TickOf(d.clock()))
	if err != nil || !x.HasHop {
		return out, err
	}
	out.NextHop = &control.NextHop{Address: x.Hop.Addr, State: "asking"}
	if int(x.Hop.Port) < len(d.network.ports) {
		out.NextHop.Port = d.network.ports[x.Hop.Port].name
	}
	switch hop := &d.snapshots.Load().Hops[x.HopID]; hop.State {
	case dataplane.HopReady:
		out.NextHop.State, out.NextHop.MAC = "resolved", macString(hop.DstMAC())
	case dataplane.HopUnreachable:
		out.NextHop.State = "no route"
	}
	return out, nil
}

// trace explains a packet by the snapshot that runs. The caller holds the node's lock.
func (n *Node) trace(f control.Flow, now conntrack.Tick) (out control.Trace, x dataplane.Explanation, err error) {
	snap := n.snapshots.Load()
	port, err := arrival(snap, f)
	if err != nil {
		return out, x, err
	}
	frame := traceFrame(&f, snap.Ports[port].MAC, port)
	x = dataplane.NewExplainer(snap, n.opt.Table, now).Explain(&frame)
	out = control.Trace{
		Flow: f.String(), Port: snap.Ports[port].Name, Mark: x.Mark, Session: x.Session, Reply: x.Reply, Template: x.Follows,
		Certain: x.Sure, Verdict: x.Verdict.String(), Steps: x.Steps,
	}
	if int(x.Service) < len(n.built.Services) && n.built.Services[x.Service] != nil {
		svc := control.ServiceOf(n.built.Services[x.Service])
		out.Service = svc.Name()
	}
	if dest := n.built.Dest(x.Dest); x.Dest != 0 && dest != nil {
		out.RealServer = dest.AddrPort()
	}
	return out, x, nil
}

// arrival is the port that the packet comes in on: the one that is named, or where the route to its source leads.
func arrival(snap *dataplane.Snapshot, f control.Flow) (uint8, error) {
	for i := range snap.Ports {
		if snap.Ports[i].Name == f.Port {
			return uint8(i), nil
		}
	}
	if f.Port != "" || len(snap.Ports) == 0 {
		return 0, fmt.Errorf("no interface %q is served; see ulvs status", f.Port)
	}
	if key, ok := snap.Routes.NextHop(f.Src.Addr()); ok && int(key.Port) < len(snap.Ports) {
		return key.Port, nil
	}
	return 0, nil // a client that nobody could answer: it may come all the same
}

// traceFrame makes the packet of a flow, as it would arrive.
func traceFrame(f *control.Flow, mac packet.MAC, port uint8) packet.Frame {
	b := make([]byte, packet.EthernetLen, 128)
	copy(b, mac[:])
	b[6] = 2 // somebody's address
	l4, proto := traceL4(f)
	src, dst := f.Src.Addr(), f.Dst.Addr()
	if src.Is4() {
		binary.BigEndian.PutUint16(b[12:], packet.EtherTypeIPv4)
		h := make(packet.IPv4, packet.IPv4Len)
		h.Encode(&packet.IPv4Fields{
			TTL: 64, Proto: proto, TotalLen: uint16(packet.IPv4Len + len(l4)), Src: packet.WireV4(src), Dst: packet.WireV4(dst),
		})
		b = append(b, h...)
	} else {
		binary.BigEndian.PutUint16(b[12:], packet.EtherTypeIPv6)
		h := make([]byte, packet.IPv6Len)
		h[0], h[6], h[7] = 0x60, proto, 64
		binary.BigEndian.PutUint16(h[4:], uint16(len(l4)))
		copy(h[8:], src.AsSlice())
		copy(h[24:], dst.AsSlice())
		b = append(b, h...)
	}
	b = append(b, l4...)
	return packet.Frame{Buf: b, Len: uint16(len(b)), Port: port}
}

// traceL4 makes a header. Nobody looks at its checksum.
func traceL4(f *control.Flow) (b []byte, proto uint8) {
	switch f.Protocol {
	case "icmp":
		b = make([]byte, packet.ICMPLen)
		b[0] = packet.ICMPEchoRequest
		if f.Src.Addr().Is6() {
			b[0] = packet.ICMPv6EchoRequest
			return b, packet.ProtoICMPv6
		}
		return b, packet.ProtoICMP
	case "udp":
		b, proto = make([]byte, packet.UDPLen), lvs.ProtoUDP
		binary.BigEndian.PutUint16(b[4:], packet.UDPLen)
	default:
		b, proto = make([]byte, packet.TCPLen), lvs.ProtoTCP
		flags := map[string]uint8{"ack": packet.TCPAck, "fin": packet.TCPFin | packet.TCPAck, "rst": packet.TCPRst}
		b[12], b[13] = packet.TCPLen/4<<4, packet.TCPSyn
		if v, ok := flags[f.Flags]; ok {
			b[13] = v
		}
	}
	binary.BigEndian.PutUint16(b[0:], f.Src.Port())
	binary.BigEndian.PutUint16(b[2:], f.Dst.Port())
	return b, proto
}

var _ control.Tracer = (*director)(nil)
