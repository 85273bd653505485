package differential

import (
	"net/netip"
	"slices"

	"ulvs/test/conformance"
)

// receive is what the director does with a frame: the frames that it sends.
func (m *model) receive(port int, in []byte) []conformance.Frame {
	if len(in) < 15 || [6]byte(in[:6]) != ownMACs[port] {
		return m.saw("other host")
	}
	kind := get16(in[12:])
	p, ok := decode(in[14:])
	if !ok || kind != 0x0800 && kind != 0x86dd || (kind == 0x86dd) != p.v6() {
		return m.saw("no packet")
	}
	if p.fragment() {
		if p = m.gather(p); p == nil {
			return m.saw("fragment kept")
		}
	}
	a := arrival{model: m, p: p, port: port}
	switch {
	case !p.v6() && p.src != p.dst && isLocal(p.src):
		return m.saw("own source")
	case p.proto == protoTCP && len(p.body) < 20, p.proto == protoUDP && len(p.body) < 8:
		return m.saw("L4 cut")
	case p.proto == protoTCP, p.proto == protoUDP:
		return a.flow()
	case p.proto == protoICMP && !p.v6(), p.proto == protoICMP6 && p.v6():
		if len(p.body) < 8 {
			return m.saw("L4 cut")
		}
		return a.icmp()
	}
	return m.saw("other protocol")
}

// saw notes what kind of thing happened, for the report of what a run covered.
func (m *model) saw(what string) []conformance.Frame {
	m.seenKinds[what]++
	return nil
}

// arrival is a packet that came in.
type arrival struct {
	*model
	p    *ip
	port int
}

// out sends a packet on to a neighbour, in pieces if need be.
func (a arrival) out(p *ip, mtu, port int, mac [6]byte) (list []conformance.Frame) {
	for _, piece := range a.pieces(p, mtu) {
		list = append(list, frame(port, mac, piece.encode()))
	}
	return list
}

// own sends a packet of the director's own along the route.
func (a arrival) own(p *ip) []conformance.Frame {
	port, mac := route(p.dst)
	list := []conformance.Frame{}
	for _, piece := range p.cut(a.mtu[port]) {
		list = append(list, frame(port, mac, piece.encode()))
	}
	return list
}

// withoutServices reports whether there is no service of the family: IPVS is not in the packet's way then.
func (m *model) withoutServices(v6 bool) bool {
	return !slices.ContainsFunc(m.services, func(s *service) bool { return s.v6() == v6 })
}

// flow is TCP or UDP.
func (a arrival) flow() []conformance.Frame {
	p := a.p
	if a.withoutServices(p.v6()) {
		a.saw("no service of the family")
		return a.stray()
	}
	if s := a.replied(p.proto, p.from(), p.to().Addr(), p.dport()); s != nil && !isLocal(p.dst) {
		return a.reply(s)
	}
	if !isLocal(p.dst) {
		return a.stray()
	}
	s := a.sessions[flow{p.proto, p.from(), p.to()}]
	if s != nil && p.proto == protoTCP && p.flags()&syn != 0 && a.renewed(s) {
		a.saw("session renewed")
		return a.replace(s)
	}
	if s != nil && !s.dest.available {
		if a.settings["expire_nodest_conn"] == 0 {
			return a.saw("real server gone")
		}
		if p.proto == protoTCP && s.method != "-m" && (p.flags()&rst != 0 || p.flags()&syn == 0 && !a.sloppy()) {
			// The reset of the director's own stack passes as the session's reply before that is gone.
			a.saw("reset as a reply")
			return a.resetAsReply(s)
		}
		a.saw("real server gone, expired")
		return a.replace(s)
	}
	if s != nil {
		return a.request(s)
	}
	return a.schedule()
}

// replace starts a session anew. The old one ends by a timer that is due: it is counted until the new one has its
// server.
func (a arrival) replace(s *session) []conformance.Frame {
	delete(a.sessions, s.flow)
	a.erred = 0
	out := a.schedule()
	next := a.sessions[s.flow]
	if a.erred > 0 && s.method != "-m" && (next == nil || next.method == "-m") {
		a.count(s.dest, [5]int64{2: 1, 4: a.erred}) // an error of ours passes as its reply
	}
	a.unbind(s)
	return out
}

func (m *model) sloppy() bool { return m.settings["sloppy_tcp"] != 0 }

func (a arrival) resetAsReply(s *session) []conformance.Frame {
	answer := a.reset()
	if len(answer) > 0 {
		a.move(s, "CLOSE")
		s.seen, s.timeout = a.now, a.timeouts["CLOSE"]*ticks
	} else {
		a.unbind(s)
	}
	return answer
}

// renewed is is_new_conn_expected, and the kernel's look at quiesced servers, for a SYN.
func (a arrival) renewed(s *session) bool {
	mode := a.settings["conn_reuse_mode"]
	if a.settings["expire_nodest_conn"] != 0 && s.dest.weight == 0 {
		return true
	}
	over := s.state == "TIME_WAIT" || s.state == "CLOSE" || mode&2 != 0 && s.state == "FIN_WAIT" && s.noOutput
	return over && mode != 0 && s.control == nil
}

// replied finds the NAT session that a real server's packet answers, the newest of several.
func (m *model) replied(proto byte, real netip.AddrPort, client netip.Addr, port uint16) (found *session) {
	for _, s := range m.sessions {
		fits := s.proto == proto && s.method == "-m" && s.to == real && s.client == netip.AddrPortFrom(client, port)
		if fits && (found == nil || s.born > found.born) {
			found = s
		}
	}
	return found
}

// findService is ip_vs_service_find.
func (m *model) findService(p *ip, port uint16) *service {
	if markNet.Contains(p.dst) {
		if s := m.service(key{mark: theMark, addr: netip.IPv4Unspecified()}); s != nil {
			return s
		}
	}
	if s := m.service(key{proto: p.proto, addr: p.dst, port: port}); s != nil {
		return s
	}
	return m.service(key{proto: p.proto, addr: p.dst})
}

// schedule starts a session with the packet, if that may.
func (a arrival) schedule() []conformance.Frame {
	p := a.p
	svc := a.findService(p, p.dport())
	if svc == nil {
		a.saw("no service")
		return a.stray()
	}
	if p.proto == protoTCP && (p.flags()&rst != 0 || p.flags()&syn == 0 && !a.sloppy()) {
		a.saw("starts no session")
		return a.reset()
	}
	if a.refusedByDropPacket() {
		return a.saw("drop_packet")
	}
	s := a.newSession(svc)
	if s == nil {
		a.saw("no destination")
		return a.leave()
	}
	a.saw("session " + svc.sched + " " + s.method)
	ops := svc.ops && p.proto == protoUDP
	if !ops {
		a.sessions[s.flow] = s
	}
	out := a.request(s)
	if ops {
		a.saw("one packet")
		a.unbind(s)
	}
	return out
}

func (m *model) refusedByDropPacket() bool {
	if m.settings["drop_packet"] != 3 {
		return false
	}
	if m.dropCount--; m.dropCount > 0 {
		return false
	}
	m.dropCount = m.settings["am_droprate"]
	return true
}

func (a arrival) newSession(svc *service) *session {
	p := a.p
	f := flow{p.proto, p.from(), p.to()}
	var d *dest
	var t *template
	if svc.persist != 0 {
		if t = a.template(svc); t == nil {
			return nil
		}
		d = t.dest
	} else if d = a.pick(svc); d == nil {
		return nil
	}
	port := d.port
	if port == 0 || t != nil && f.vip.Port() != svc.port {
		port = f.vip.Port()
	}
	s := a.bind(f, d, netip.AddrPortFrom(d.addr, port))
	if t != nil {
		s.control = t
		t.n++
	}
	a.fault.start(s)
	return s
}

func (a arrival) pick(svc *service) *dest {
	q := query{src: a.p.src, dst: a.p.dst, sport: a.p.sport(), flags: svc.flags}
	return a.fault.pick(svc, svc.scheduler.pick(svc.list, q))
}

// template returns the client's, a new one if need be; nil if there is no server.
func (a arrival) template(svc *service) *template {
	p := a.p
	masked, err := p.src.Prefix(svc.bits)
	if err != nil {
		panic(err)
	}
	f := flow{p.proto, netip.AddrPortFrom(masked.Masked().Addr(), 0), netip.AddrPortFrom(p.dst, svc.port)}
	if svc.mark != 0 {
		f.proto, f.vip = 0, netip.AddrPortFrom(netip.AddrFrom4([4]byte{3: theMark}), 0)
	}
	t := a.templates[f]
	if t != nil && (!t.dest.available || t.dest.weight == 0 && a.settings["expire_quiescent_template"] != 0) {
		a.saw("template invalid")
		delete(a.templates, f)
		a.dead = append(a.dead, t)
		t = nil
	}
	if t == nil {
		d := a.pick(svc)
		if d == nil {
			return nil
		}
		t = &template{flow: f, dest: d, to: netip.AddrPortFrom(d.addr, 0), timeout: svc.persist * ticks}
		if svc.mark == 0 && svc.port != 0 {
			t.to = d.addrPort()
		}
		a.templates[f] = t
		d.persist++
		d.bound()
	} else {
		a.saw("template used")
	}
	t.seen = a.now
	return t
}

// request sends a client's packet on.
func (a arrival) request(s *session) []conformance.Frame {
	dir := input
	if s.noOutput {
		dir = inputOnly
	}
	a.track(s, a.p, dir)
	a.count(s.dest, [5]int64{1: 1, 3: int64(a.p.size())})
	return a.transmit(s)
}

// transmit is the session's method: the packet's TTL, then its size, then the way.
func (a arrival) transmit(s *session) []conformance.Frame {
	p, d := a.p, s.dest
	errorOut := func(list []conformance.Frame) []conformance.Frame {
		if len(list) > 0 && s.method != "-m" && a.sessions[s.flow] == s { // it passes IPVS as the session's reply
			a.count(d, [5]int64{2: 1, 4: int64(len(list[0].Hex) - 14)})
		}
		return list
	}
	if p.ttl <= 1 {
		a.saw("ttl " + s.method)
		return errorOut(a.timeExceeded(false))
	}
	p.ttl--
	port, mac := route(d.addr)
	mtu := a.mtu[port]
	room := mtu
	if s.method == "-i" {
		if room -= d.overhead4(); room < minMTU(d.addr.Is6()) {
			return a.saw("no room in the tunnel")
		}
	}
	lenient := s.method == "-i" && a.settings["pmtu_disc"] == 0 && !p.v6()
	if p.size() > room && a.refuses(room) && !lenient {
		a.saw("too big " + s.method)
		return errorOut(a.tooBig(room, false))
	}
	switch s.method {
	case "-m":
		a.forwardNAT(s)
	case "-i":
		p = a.encapsulated(d)
	}
	return a.out(a.fault.sent(s, p), mtu, port, mac)
}

func minMTU(v6 bool) int {
	if v6 {
		return 1280
	}
	return 68
}

// refuses reports whether a packet that is larger than mtu may not be cut.
func (a arrival) refuses(mtu int) bool {
	if d := a.p.pieces(); d != nil && d.largest <= mtu {
		return false
	}
	return a.p.v6() || a.p.df
}

func (a arrival) forwardNAT(s *session) {
	if a.p.proto == protoTCP || a.p.proto == protoUDP {
		a.p.rewrite(netip.AddrPort{}, s.to)
	}
}

// overhead4 is what the tunnel puts in front of the packet.
func (d *dest) overhead4() int {
	n := 20
	if d.addr.Is6() {
		n = 40
	}
	switch {
	case d.tunnel.kind == "gue":
		n += 12
	case d.tunnel.kind == "gre" && d.tunnel.csum != "nocsum":
		n += 8
	case d.tunnel.kind == "gre":
		n += 4
	}
	return n
}

// encapsulated puts the packet into another one.
func (a arrival) encapsulated(d *dest) *ip {
	p := a.p
	outer := &ip{
		src: sourceFor(d.addr), dst: d.addr, tos: p.tos, ttl: p.ttl, proto: protoIPIP, of: p.of,
	}
	if p.tos&3 == 3 {
		outer.tos-- // congestion experienced inside is ECT(0) outside
	}
	if p.v6() {
		outer.proto = protoIP6
	}
	outer.df = p.df && a.settings["pmtu_disc"] != 0 && outer.src.Is4()
	inner := p.encode()
	defer func() { outer.shift = len(outer.body) - len(p.body) }()
	switch d.tunnel.kind {
	case "ipip":
		outer.body = inner
	case "gue":
		head := []byte{0x80, 0, byte(d.tunnel.port >> 8), byte(d.tunnel.port), 0, 0, 0, 0, 0, outer.proto, 0, 0}
		put16(head[4:], 12+len(inner))
		outer.proto, outer.body = protoUDP, append(head, inner...)
		if d.tunnel.csum != "nocsum" {
			outer.setSum()
		}
	case "gre":
		head := []byte{0, 0, 8, 0}
		if p.v6() {
			head = []byte{0, 0, 0x86, 0xdd}
		}
		if d.tunnel.csum != "nocsum" {
			head = append(head, 0, 0, 0, 0)
			head[0] = 0x80
			put16(head[4:], checksum(head, inner))
		}
		outer.proto, outer.body = protoGRE, append(head, inner...)
	}
	return outer
}

// reply sends a real server's packet on to the client.
func (a arrival) reply(s *session) []conformance.Frame {
	p := a.p
	port, mac := route(p.dst)
	switch {
	case p.ttl <= 1:
		a.saw("ttl of a reply")
		return a.timeExceeded(true)
	case p.size() > a.mtu[port] && a.refuses(a.mtu[port]):
		a.saw("reply too big")
		return a.tooBig(a.mtu[port], true)
	}
	p.ttl--
	s.noOutput = false
	a.count(s.dest, [5]int64{2: 1, 4: int64(p.size())})
	a.track(s, p, output)
	a.saw("reply")
	p.rewrite(s.vip, netip.AddrPort{})
	return a.out(p, a.mtu[port], port, mac)
}
