package differential

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"ulvs/test/conformance"
)

// stray is a packet that belongs to no session and starts none: for an address of the director's it meets a closed
// port, for others it is routed.
func (a arrival) stray() []conformance.Frame {
	p := a.p
	switch {
	case !isLocal(p.dst):
		return a.routed()
	case p.proto == protoTCP:
		return a.reset()
	case !p.sumOK():
		return a.saw("bad checksum")
	}
	a.saw("closed port")
	return a.unreachable(false)
}

// leave is for a packet that no real server takes (ip_vs_leave).
func (a arrival) leave() []conformance.Frame { return a.unreachable(false) }

// routed forwards a packet that is not IPVS's.
func (a arrival) routed() []conformance.Frame {
	p := a.p
	port, mac := route(p.dst)
	switch {
	case p.ttl <= 1:
		a.saw("ttl of a routed one")
		return a.timeExceeded(true)
	case p.size() > a.mtu[port] && a.refuses(a.mtu[port]):
		a.saw("routed one too big")
		return a.tooBig(a.mtu[port], true)
	}
	p.ttl--
	if a.fromRealServer() && !a.withoutServices(p.v6()) {
		a.saw("nat_icmp_send")
		return a.unreachable(true)
	}
	a.saw("routed")
	return a.out(p, a.mtu[port], port, mac)
}

// fromRealServer reports whether nat_icmp_send has to tell the packet's sender, a NAT real server's port, that its
// session is gone.
func (a arrival) fromRealServer() bool {
	p := a.p
	if a.settings["nat_icmp_send"] == 0 || p.proto != protoTCP && p.proto != protoUDP ||
		p.proto == protoTCP && p.flags()&rst != 0 {
		return false
	}
	return slices.ContainsFunc(a.services, func(s *service) bool {
		return s.proto == p.proto && slices.ContainsFunc(s.list, func(d *dest) bool {
			return d.method == "-m" && d.addrPort() == p.from()
		})
	})
}

// reset answers a TCP segment that belongs to nothing (RFC 9293 section 3.10.7.1).
func (a arrival) reset() []conformance.Frame {
	p := a.p
	if p.flags()&rst != 0 || !p.sumOK() {
		return a.saw("no reset")
	}
	b := make([]byte, 20)
	copy(b, p.body[2:4])
	copy(b[2:], p.body[0:2])
	b[12], b[13] = 5<<4, rst
	if p.flags()&ack != 0 {
		copy(b[4:8], p.body[8:12])
	} else {
		n := len(p.body) - int(p.body[12]>>4)*4
		if p.flags()&syn != 0 {
			n++
		}
		if p.flags()&fin != 0 {
			n++
		}
		binary.BigEndian.PutUint32(b[8:], binary.BigEndian.Uint32(p.body[4:])+uint32(n))
		b[13] |= ack
	}
	answer := &ip{src: p.dst, dst: p.src, tos: p.tos &^ 3, ttl: 64, df: !p.v6(), proto: protoTCP, body: b}
	answer.setSum()
	a.saw("reset")
	return a.own(answer)
}

// icmpError is an error about the packet, from the address that it was for, or of the port that it came in by.
type icmpError struct {
	kind, code   byte
	kind6, code6 byte
	rest         int
	fromPort     bool
}

func (a arrival) unreachable(fromPort bool) []conformance.Frame {
	return a.error(icmpError{kind: 3, code: 3, kind6: 1, code6: 4, fromPort: fromPort})
}

func (a arrival) timeExceeded(fromPort bool) []conformance.Frame {
	return a.error(icmpError{kind: 11, kind6: 3, fromPort: fromPort})
}

func (a arrival) tooBig(mtu int, fromPort bool) []conformance.Frame {
	return a.error(icmpError{kind: 3, code: 4, kind6: 2, rest: mtu, fromPort: fromPort})
}

func (a arrival) error(e icmpError) []conformance.Frame {
	p := a.p
	if isError(p) {
		return a.saw("no error about an error")
	}
	answer := &ip{src: p.dst, dst: p.src, tos: p.tos&0x1e | 0xc0, ttl: 64, proto: protoICMP}
	if e.fromPort {
		answer.src = portAddr(a.port, p.v6())
	}
	most := 576 - 28
	if p.v6() {
		answer.tos, answer.proto, most = 0, protoICMP6, 1280-48
		e.kind, e.code = e.kind6, e.code6
	}
	answer.body = []byte{e.kind, e.code, 0, 0, 0, 0, byte(e.rest >> 8), byte(e.rest)}
	quoted := p.encode()
	answer.body = append(answer.body, quoted[:min(len(quoted), most)]...)
	answer.setSum()
	a.erred = int64(answer.size())
	return a.own(answer)
}

func isError(p *ip) bool {
	switch p.proto {
	case protoICMP:
		return slices.Contains([]byte{3, 4, 5, 11, 12}, p.body[0])
	case protoICMP6:
		return p.body[0] < 128
	}
	return false
}

// icmp is ICMP: echo, errors about sessions, and what is routed.
func (a arrival) icmp() []conformance.Frame {
	p := a.p
	echo, answer := byte(8), byte(0)
	if p.v6() {
		echo, answer = 128, 129
	}
	if isLocal(p.dst) && p.body[0] == echo {
		if !p.sumOK() {
			return a.saw("bad checksum")
		}
		back := &ip{src: p.dst, dst: p.src, tos: p.tos, ttl: 64, proto: p.proto, flow: p.flow, body: p.body}
		back.body[0] = answer
		back.setSum()
		a.saw("echo")
		return a.own(back)
	}
	relayed := p.v6() && p.body[0] < 128 || !p.v6() && slices.Contains([]byte{3, 4, 11}, p.body[0])
	if relayed && !a.withoutServices(p.v6()) {
		if list, done := a.relay(); done {
			return list
		}
	}
	if isLocal(p.dst) {
		return a.saw("icmp ignored")
	}
	return a.routed()
}

// relay sends an error on to the end of the session that it is about.
func (a arrival) relay() (list []conformance.Frame, done bool) {
	p := a.p
	q, ok := decodeQuoted(p.body[8:])
	if !ok || q.v6() != p.v6() || q.proto != protoTCP && q.proto != protoUDP || q.offset > 0 {
		return nil, false
	}
	// Sent by a real server, or on the way to it: about a packet that the director sent there.
	if s := a.replied(q.proto, q.to(), q.src, q.sport()); s != nil && !isLocal(p.dst) {
		return a.relayOut(s, q), true
	}
	if s := a.sessions[flow{q.proto, q.from(), q.to()}]; s != nil && s.method != "-m" && !isLocal(p.dst) {
		a.saw("error about a packet to the VIP")
		if list = a.routed(); len(list) > 0 {
			a.count(s.dest, [5]int64{2: 1, 4: int64(p.size())})
		}
		return list, true
	}
	if !isLocal(p.dst) {
		return nil, false
	}
	// Sent by the client, or on the way to it: about a packet that the VIP sent.
	if s := a.sessions[flow{q.proto, q.to(), q.from()}]; s != nil {
		return a.relayIn(s, q), true
	}
	return a.scheduleError(q)
}

// scheduleError starts the session that an error is about (schedule_icmp). It waits three seconds for a packet of its
// own.
func (a arrival) scheduleError(q *ip) (list []conformance.Frame, done bool) {
	about := arrival{a.model, &ip{src: q.dst, dst: q.src, proto: q.proto, body: make([]byte, 20)}, a.port}
	put16(about.p.body, int(q.dport()))
	put16(about.p.body[2:], int(q.sport()))
	svc := a.findService(about.p, q.sport())
	if a.settings["schedule_icmp"] == 0 || svc == nil {
		return nil, false
	}
	if a.refusedByDropPacket() {
		return a.saw("drop_packet"), true
	}
	s := about.newSession(svc)
	if s == nil {
		return a.saw("an error without destination"), true
	}
	a.saw("session by an error")
	s.timeout = 3 * ticks
	if ops := svc.ops && q.proto == protoUDP; ops {
		defer a.unbind(s)
	} else {
		a.sessions[s.flow] = s
	}
	return a.relayIn(s, q), true
}

func (a arrival) relayOut(s *session, q *ip) []conformance.Frame {
	p := a.p
	switch {
	case p.v6():
		return a.saw("icmp6 from a real server") // the kernel checks it without the pseudo header
	case !p.sumOK():
		return a.saw("bad checksum")
	case p.ttl <= 1:
		return a.saw("icmp ttl")
	}
	a.saw("error to the client")
	p.ttl--
	a.count(s.dest, [5]int64{2: 1, 4: int64(p.size())})
	p.src = s.vip.Addr()
	q.dst = s.vip.Addr()
	put16(q.body[2:], int(s.vip.Port()))
	p.requote(q)
	port, mac := route(p.dst)
	return a.out(p, a.mtu[port], port, mac)
}

func (a arrival) relayIn(s *session, q *ip) []conformance.Frame {
	p := a.p
	switch {
	case !p.v6() && !p.sumOK():
		return a.saw("bad checksum")
	}
	a.saw("error to the server " + s.method)
	a.count(s.dest, [5]int64{1: 1, 3: int64(p.size())})
	if s.method == "-m" {
		p.dst = s.to.Addr()
		q.src = s.to.Addr()
		put16(q.body, int(s.to.Port()))
		p.requote(q)
	}
	return a.transmit(s)
}

// decodeQuoted reads what an error quotes: the header whole, of what follows at least 8 bytes.
func decodeQuoted(b []byte) (q *ip, ok bool) {
	if len(b) < 28 {
		return nil, false
	}
	if b[0]>>4 == 6 {
		if len(b) < 48 || b[6] == protoFragment {
			return nil, false
		}
		return &ip{
			src: netip.AddrFrom16([16]byte(b[8:24])), dst: netip.AddrFrom16([16]byte(b[24:40])),
			proto: b[6], body: b[40:],
		}, true
	}
	return &ip{
		src: netip.AddrFrom4([4]byte(b[12:16])), dst: netip.AddrFrom4([4]byte(b[16:20])),
		proto: b[9], offset: get16(b[6:]) & 0x1fff * 8, body: b[20:],
	}, b[0] == 0x45
}

// requote writes the changed addresses and ports of the quoted packet, its header's checksum and the error's.
// The quoted L4 checksum stays.
func (p *ip) requote(q *ip) {
	b := p.body[8:]
	if q.v6() {
		copy(b[8:], q.src.AsSlice())
		copy(b[24:], q.dst.AsSlice())
	} else {
		copy(b[12:], q.src.AsSlice())
		copy(b[16:], q.dst.AsSlice())
		put16(b[10:], 0)
		put16(b[10:], checksum(b[:20]))
	}
	p.setSum()
}
