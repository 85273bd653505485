package sim

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"ulvs/ha"
	"ulvs/packet"
)

// Figures of the clients.
const (
	clientsMax   = 6 // addresses
	sessionsMax  = 24
	beginEvery   = 500 * time.Millisecond // at most, until the next session begins
	talkEvery    = 2 * time.Second        // at most, until a session's next packet
	retryEvery   = 200 * time.Millisecond
	auditEvery   = 500 * time.Millisecond
	segmentBytes = 14 + 20 + 20
)

// life is one life of a director, from its start to its crash.
type life struct{ node, boot int }

// session is a connection of a client's.
type session struct {
	from    netip.AddrPort
	port    uint16     // of the VIP
	real    netip.Addr // where its first packet went
	open    bool       // established
	over    bool       // ended, or lost before anybody promised it
	holders map[life]bool
}

// life returns the present life of a director.
func (n *Node) life() life { return life{n.id, n.boot} }

// clients begin sessions until quiet.
func (w *World) clients() {
	if w.talking && len(w.crowd) < sessionsMax {
		s := &session{
			from: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, 0, byte(100 + w.rng.IntN(clientsMax))}), w.nextPort()),
			port: portPlain, holders: map[life]bool{},
		}
		if w.rng.IntN(2) == 0 {
			s.port = portSaved
		}
		w.crowd = append(w.crowd, s)
		w.syn(s)
	}
	w.after(time.Duration(w.rng.Int64N(int64(beginEvery))), w.clients)
}

func (w *World) nextPort() uint16 {
	w.ports++
	return 1024 + w.ports%50000
}

// serving is the director that a client's packet reaches: the one that announced the VIP last, if it is there and
// forwards.
func (w *World) serving() *Node {
	n := w.announced
	if n == nil || !n.alive || n.paused || n.state != ha.StateMaster && w.Now > n.plane.linger {
		return nil
	}
	return n
}

// syn opens a session, as often as it takes.
func (w *World) syn(s *session) {
	n := w.serving()
	if n == nil {
		w.after(retryEvery, func() { w.syn(s) })
		return
	}
	if to, ok := n.plane.forward(w.Now, s.segment(packet.TCPSyn)); ok {
		w.affine(n, s, to)
		s.real = to
		w.after(time.Millisecond, func() { w.ack(s) })
		return
	}
	w.after(retryEvery, func() { w.syn(s) })
}

// affine checks that a session of a persistent service goes where the client's sessions go, if the director that
// decides has any.
func (w *World) affine(n *Node, s *session, to netip.Addr) {
	if s.port != portSaved {
		return
	}
	c := w.placesOf(s.from.Addr())
	for _, o := range w.crowd {
		if o != s && o.saved(s.from.Addr()) && o.holders[n.life()] && !slices.Contains(c.reals, to) {
			w.fail("%s sends a new session of %v to %v, its sessions go to %v", n.Name, s.from, to, c.reals)
		}
	}
	if c.at = w.Now; !slices.Contains(c.reals, to) {
		c.reals = append(c.reals, to)
	}
}

// saved reports whether a session is a client's, established, and of the persistent service.
func (s *session) saved(client netip.Addr) bool {
	return s.open && s.port == portSaved && s.from.Addr() == client
}

// places are where a client's sessions of the persistent service go, and so its template: one real server. It is more
// than one after directors that knew nothing of each other decided, until they agree again.
type places struct {
	reals []netip.Addr
	at    ha.Time // when a session began or ended
}

// placesFor is longer than templates without sessions live.
const placesFor = 30 * time.Second

// placesOf returns the places of a client, none after it was away for so long that it may go elsewhere.
func (w *World) placesOf(client netip.Addr) *places {
	c := w.places[client]
	if c == nil {
		c = new(places)
		w.places[client] = c
	}
	if w.Now-c.at >= placesFor && !slices.ContainsFunc(w.crowd, func(s *session) bool { return s.saved(client) }) {
		c.reals = nil
	}
	return c
}

// decided takes down where the template of each client points, now that all directors agree: there all its sessions go
// from now on.
func (w *World) decided() {
	for client, real := range w.Nodes[0].plane.templates() {
		w.placesOf(client).reals = []netip.Addr{real}
	}
}

// ack completes the handshake; if the director changed meanwhile, the client begins anew.
func (w *World) ack(s *session) {
	n := w.serving()
	to, ok := netip.Addr{}, false
	if n != nil {
		to, ok = n.plane.forward(w.Now, s.segment(packet.TCPAck))
	}
	if !ok || to != s.real {
		w.after(retryEvery, func() { w.syn(s) })
		return
	}
	s.open = true
	w.holds(n, s)
	w.after(w.pauseOf(), func() { w.talk(s) })
}

func (w *World) pauseOf() time.Duration { return time.Duration(1 + w.rng.Int64N(int64(talkEvery))) }

// holds notes that a director has a session: it served it.
func (w *World) holds(n *Node, s *session) {
	if !s.holders[n.life()] {
		s.holders[n.life()] = true
		n.plane.told = append(n.plane.told, s)
	}
}

// talk sends the next packet of a session: its director may be another by now, and has to know it if it
// acknowledged it.
func (w *World) talk(s *session) {
	if s.over {
		return
	}
	w.after(w.pauseOf(), func() { w.talk(s) })
	n := w.serving()
	if n == nil || !w.talking {
		return // sent again
	}
	flags := uint8(packet.TCPAck)
	if w.rng.IntN(20) == 0 {
		flags |= packet.TCPRst
	}
	to, ok := n.plane.forward(w.Now, s.segment(flags))
	switch {
	case ok && to != s.real && s.holders[n.life()]:
		w.fail("%s moved the session of %v from %v to %v", n.Name, s.from, s.real, to)
	case ok && to == s.real && flags&packet.TCPRst != 0:
		w.finish(s)
	case ok && to == s.real:
		w.holds(n, s)
	case s.holders[n.life()]:
		w.fail("%s lost the session of %v to %v, which it had acknowledged", n.Name, s.from, s.real)
	default: // its director died before it could tell: the client is reset, by a half-open session of before if not by us
		w.unlucky++
		w.finish(s)
	}
}

func (w *World) finish(s *session) {
	s.over = true
	w.placesOf(s.from.Addr()).at = w.Now
	w.crowd = slices.DeleteFunc(w.crowd, func(o *session) bool { return o == s })
}

// acknowledged notes which sessions a director's peers have, now that they acknowledged all that it sent.
func (w *World) acknowledged(n *Node) {
	p := n.plane
	if len(p.told) == 0 || len(p.log.Read(1)) > 0 || !p.core.Drained() {
		return
	}
	for _, other := range w.Nodes {
		if p.known[other.id] != other.boot+1 || !other.alive {
			continue
		}
		for _, s := range p.told {
			s.holders[other.life()] = true
		}
		w.audit(other)
	}
	p.told = p.told[:0]
}

// everything notes that a director said it has all that another one has.
func (w *World) everything(from, to *Node) {
	if !to.plane.core.Ready() {
		return
	}
	for _, s := range w.crowd {
		if s.open && s.holders[from.life()] {
			s.holders[to.life()] = true
		}
	}
	w.audit(to)
}

// audit looks through a director's table: the sessions that it acknowledged are there, at their real servers, with
// their templates.
func (w *World) audit(n *Node) {
	table := n.plane.sessions()
	for _, s := range w.crowd {
		if !s.open || !s.holders[n.life()] {
			continue
		}
		switch f, ok := table[s.from]; {
		case !ok:
			w.fail("%s has the session of %v to %v no more", n.Name, s.from, s.real)
		case f.real != s.real:
			w.fail("%s has the session of %v at %v, its director sends it to %v", n.Name, s.from, f.real, s.real)
		}
		if s.port != portSaved {
			continue
		}
		places := w.placesOf(s.from.Addr()).reals
		switch f := table[netip.AddrPortFrom(s.from.Addr(), 0)]; {
		case !f.template:
			w.fail("%s has the session of %v to %v and no template of it", n.Name, s.from, s.real)
		case !slices.Contains(places, f.real):
			w.fail("%s has the template of %v at %v, its sessions go to %v", n.Name, s.from.Addr(), f.real, places)
		}
	}
}

// audits looks through all tables now and then.
func (w *World) audits() {
	for _, n := range w.Nodes {
		if n.alive && !n.paused {
			w.audit(n)
		}
	}
	w.after(auditEvery, w.audits)
}

// segment is a TCP segment of the session's, as it reaches the director.
func (s *session) segment(flags uint8) []byte {
	b := make([]byte, segmentBytes)
	copy(b, planeMACs[0][:])
	copy(b[6:], routerMAC[:])
	b[12], b[14], b[17] = 8, 0x45, 40
	ip, tcp := b[14:34], b[34:]
	ip[8], ip[9] = 64, packet.ProtoTCP
	src, dst := s.from.Addr().As4(), vip.As4()
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	binary.BigEndian.PutUint16(ip[10:], checksum(ip, 0))
	binary.BigEndian.PutUint16(tcp, s.from.Port())
	binary.BigEndian.PutUint16(tcp[2:], s.port)
	tcp[12], tcp[13] = 5<<4, flags
	binary.BigEndian.PutUint16(tcp[14:], 65535)
	binary.BigEndian.PutUint16(tcp[16:], checksum(b[26:], packet.ProtoTCP+20))
	return b
}

func checksum(b []byte, sum uint32) uint16 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
