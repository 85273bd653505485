package dataplane

import (
	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

// flow decides about a TCP, UDP or SCTP packet whose look-up gave ref.
func (w *Worker) flow(f *packet.Frame, p *packet.Parsed, ref conntrack.Ref) Verdict {
	if ref == 0 {
		return w.miss(f, p)
	}
	e := w.table.Entry(ref)
	m := e.Meta()
	if w.snap.idle[index(p.V6())] {
		return w.stray(f, p)
	}
	if !m.Live() || w.over(e) {
		w.expire(ref, e)
		return w.miss(f, p)
	}
	if ref.Reply() {
		return w.reply(f, p, e)
	}
	if w.renewed(f, p, e) {
		return w.replace(f, p, ref, e)
	}
	s := session{ref, e, m}
	if m.Flags()&conntrack.FlagOnePacket != 0 {
		return w.onePacket(s, w.request(f, p, s)) // it was held
	}
	return w.request(f, p, s)
}

// renewed reports whether the packet replaces its session by a new one.
func (w *Worker) renewed(f *packet.Frame, p *packet.Parsed, e *conntrack.Entry) bool {
	switch p.Proto {
	case lvs.ProtoTCP:
		return p.TCPFlags&packet.TCPSyn != 0 && w.renews(e)
	case lvs.ProtoSCTP:
		return w.renewsSCTP(f, p, e)
	}
	return false
}

// replace ends a session in favour of a new one for its packet. The old one is still counted when a real server
// is chosen for the new one: the kernel leaves the end to a timer that is due (ip_vs_conn_expire_now).
func (w *Worker) replace(f *packet.Frame, p *packet.Parsed, ref conntrack.Ref, e *conntrack.Entry) Verdict {
	mine := w.conns.Delete(ref.Conn())
	v := w.miss(f, p)
	if mine {
		if v == TxICMPError && methodOf(e.Flags()) != lvs.MethodNAT && !w.seesErrors(p) {
			w.countReply(e.Dest(), f.Len-p.L3Off) // it is still there when the error passes
		}
		w.Gone(ref, e)
	}
	return v
}

// seesErrors reports whether the packet has a session now, whose reply our error about it was then.
func (w *Worker) seesErrors(p *packet.Parsed) bool {
	key := flowKey(p)
	ref := w.conns.FindKey(&key)
	return ref != 0 && !ref.Reply() && methodOf(w.table.Entry(ref).Flags()) != lvs.MethodNAT
}

// session is a live session as a packet found it.
type session struct {
	ref  conntrack.Ref
	e    *conntrack.Entry
	meta conntrack.Meta
}

func (w *Worker) session(ref conntrack.Ref) session {
	e := w.table.Entry(ref)
	return session{ref, e, e.Meta()}
}

// reusable reports whether a segment with SYN starts a new session over a finished one (conn_reuse_mode,
// ip_vs_core.c is_new_conn_expected): bit 0 for a session in TIME_WAIT or CLOSE, bit 1 also for
// one in FIN_WAIT without replies, and none that hangs on a template.
func (w *Worker) reusable(e *conntrack.Entry) bool {
	s, mode := e.State(), w.snap.Settings.ConnReuseMode
	over := s == conntrack.TCPTimeWait || s == conntrack.TCPClose
	if mode&2 != 0 && s == conntrack.TCPFinWait && e.Flags()&conntrack.FlagNoOutput != 0 {
		over = true
	}
	return over && mode != 0 && e.Control() == 0
}

// renews reports whether a segment with SYN replaces its session: by conn_reuse_mode, or because the real
// server is quiesced and expire_nodest_conn is set.
func (w *Worker) renews(e *conntrack.Entry) bool {
	if w.reusable(e) {
		return true
	}
	if w.snap.Settings.ExpireNodestConn == 0 {
		return false
	}
	d := w.dest(e.Dest())
	return d != nil && d.Quiesced
}

// request forwards a client's packet along its session.
func (w *Worker) request(f *packet.Frame, p *packet.Parsed, s session) Verdict {
	snap, id := w.snap, s.e.Dest()
	if int(id) >= len(snap.Dests) {
		if w.renewSnapshot() {
			return w.request(f, p, s)
		}
		return DropRemoved
	}
	d := &snap.Dests[id]
	if d.Removed || d.Load == nil {
		if w.renewSnapshot() {
			return w.request(f, p, s)
		}
		return w.orphan(f, p, s)
	}
	if s.meta.Flags()&conntrack.FlagTemplate != 0 {
		return DropNoService // a client's port 0 has the key of its template
	}
	hop := &snap.Hops[d.Hop]
	if hop.State != HopReady {
		if d.Local {
			return w.toLocal(f, p, s)
		}
		return w.unresolved(d.Hop)
	}
	if s.meta.Counting() {
		s.e.CountPacket()
	}
	w.track(f, p, s, inputDir(s.meta.Flags()))
	w.stats.in(id, p.TotalLen)
	return w.onward(f, p, forwarding{s.e, d, hop, methodOf(s.meta.Flags())})
}

// onward sends a client's packet that was tracked to its real server, or an error back.
func (w *Worker) onward(f *packet.Frame, p *packet.Parsed, to forwarding) Verdict {
	if to.method == lvs.MethodDR && p.TTL > 1 && p.TotalLen <= to.hop.MTU {
		return w.forwardDR(f, p, to.hop)
	}
	v := w.forward(f, p, to)
	if v == TxICMPError && to.method != lvs.MethodNAT && to.conn.Flags()&conntrack.FlagOnePacket == 0 {
		// The kernel sees its own error pass as the session's reply and counts it (ip_vs_out_icmp).
		w.stats.out(to.conn.Dest(), f.Len-p.L3Off)
	}
	return v
}

// methodOf is the session's method: that of its real server when it began. An edit changes new sessions only
// (how a tunnel is made is the real server's, as it is now).
func methodOf(f conntrack.Flags) lvs.Method {
	switch {
	case f&conntrack.FlagNAT != 0:
		return lvs.MethodNAT
	case f&conntrack.FlagTUN != 0:
		return lvs.MethodTUN
	}
	return lvs.MethodDR
}

// onePacket ends a session of one-packet scheduling when its packet has gone.
func (w *Worker) onePacket(s session, v Verdict) Verdict {
	if v != hold {
		w.expire(s.ref, s.e)
	}
	return v
}

// orphan handles a packet whose session's real server is no longer configured: dropped, or with
// expire_nodest_conn scheduled anew.
func (w *Worker) orphan(f *packet.Frame, p *packet.Parsed, s session) Verdict {
	ref, e := s.ref, s.e
	if s.meta.Flags()&conntrack.FlagBypass != 0 {
		w.track(f, p, s, conntrack.InputOnly)
		return w.forwardRouted(f, p)
	}
	if w.snap.Dests[e.Dest()].Fate != lvs.FailDefault {
		return w.meet(f, p, s)
	}
	if w.snap.Settings.ExpireNodestConn == 0 {
		return DropRemoved
	}
	if p.Proto == lvs.ProtoTCP && !w.starts(p) && e.Flags()&conntrack.FlagNAT == 0 {
		// The kernel's stack answers with a reset, which passes IPVS as the session's reply before
		// the session is gone: it lingers as CLOSE.
		v := w.reset(f, p)
		if v == TxReset {
			w.transition(e, e.State(), conntrack.TCPClose)
			e.Touch(w.now, w.snap.Timeouts.Of(conntrack.TCPClose))
		} else {
			w.expire(ref, e)
		}
		return v
	}
	return w.replace(f, p, ref, e)
}

// forwarding is what the three methods work with.
type forwarding struct {
	conn   *conntrack.Entry
	dest   *Dest
	hop    *Hop
	method lvs.Method
}

// forward applies the destination's method. TTL goes down by one in every method, before
// the tunnel header copies it (ipvs-spec.md section 3.1).
func (w *Worker) forward(f *packet.Frame, p *packet.Parsed, to forwarding) Verdict {
	if p.TTL <= 1 {
		return w.timeExceeded(f, p, false)
	}
	limit := to.hop.MTU
	mtu := int(limit)
	if to.method == lvs.MethodTUN {
		limit = w.pathMTU(to)
		mtu = int(limit) - int(to.dest.Overhead)
		if mtu < minMTU(to.dest.V6) {
			return DropTooBig // nothing gets through such a tunnel (__ip_vs_get_out_rt)
		}
	}
	if int(p.TotalLen) <= mtu {
		return w.apply(f, p, to)
	}
	tunnelAnyway := to.method == lvs.MethodTUN && w.snap.Settings.PMTUDisc == 0
	if w.refuses(p, mtu) && (p.V6() || !tunnelAnyway) {
		return w.tooBig(f, p, mtu, false)
	}
	return w.cut(f, w.apply(f, p, to), limit)
}

func minMTU(v6 bool) int {
	if v6 {
		return errorMax6
	}
	return minMTU4
}

// pathMTU is the MTU of a tunnel's path: what a router told us of it, at most the next hop's.
func (w *Worker) pathMTU(to forwarding) uint16 {
	if learned := to.dest.Load.PathMTU(uint32(w.now)); learned != 0 {
		return min(learned, to.hop.MTU)
	}
	return to.hop.MTU
}

// refuses reports whether a packet larger than mtu must not be cut: IPv4's with DF and IPv6's, unless they
// came in fragments that fit.
func (w *Worker) refuses(p *packet.Parsed, mtu int) bool {
	if w.atLimit != 0 && int(w.atLimit) <= mtu {
		return false
	}
	return p.V6() || p.Flags&packet.FlagDF != 0
}

func (w *Worker) apply(f *packet.Frame, p *packet.Parsed, to forwarding) Verdict {
	switch to.method {
	case lvs.MethodDR:
		return w.forwardDR(f, p, to.hop)
	case lvs.MethodNAT:
		return w.forwardNAT(f, p, to)
	case lvs.MethodTUN:
		return w.forwardTUN(f, p, to)
	}
	return DropInternal
}

// reply forwards a real server's packet of a NAT session to the client. The TTL and the MTU are looked at
// before the session is (ip_forward comes before ip_vs_out): a packet that fails there counts for nothing.
func (w *Worker) reply(f *packet.Frame, p *packet.Parsed, e *conntrack.Entry) Verdict {
	hop, v := w.replyHop(p, e)
	if hop == nil {
		return v
	}
	mtu := int(hop.MTU)
	fits := int(p.TotalLen) <= mtu
	switch {
	case p.TTL <= 1:
		return w.timeExceeded(f, p, true)
	case !fits && w.refuses(p, mtu):
		return w.tooBig(f, p, mtu, true)
	}
	m := e.Meta()
	if m.Flags()&conntrack.FlagNoOutput != 0 {
		e.ClearFlags(conntrack.FlagNoOutput)
	}
	w.track(f, p, session{e: e, meta: m}, conntrack.Output)
	w.countReply(e.Dest(), p.TotalLen)
	if fits {
		return w.forwardReply(f, p, e, hop)
	}
	return w.cut(f, w.forwardReply(f, p, e, hop), hop.MTU)
}

// countReply counts a packet of a real server's, of one that is configured (ip_vs_out_stats).
func (w *Worker) countReply(id uint32, bytes uint16) {
	if d := w.dest(id); d != nil && !d.Removed {
		w.stats.out(id, bytes)
	}
}

// The dataplane's word of a NAT session caches the client's next hop: HopID in the
// low 20 bits, the route epoch it was looked up in above.
const hopBits = 20

// replyHop returns the next hop to the client, from the session where the routes have not
// changed since, else from the routes. nil comes with the verdict.
func (w *Worker) replyHop(p *packet.Parsed, e *conntrack.Entry) (*Hop, Verdict) {
	id := w.knownHop(e)
	if id == 0 {
		var v Verdict
		if id, v = w.route(p); id == 0 {
			return nil, v
		}
		e.SetAux(uint32(id) | uint32(w.snap.RouteEpoch)<<hopBits)
	}
	hop := &w.snap.Hops[id]
	if hop.State != HopReady {
		return nil, w.unresolved(id)
	}
	return hop, 0
}

// knownHop is the next hop that the session remembers, 0 where routes have changed since.
func (w *Worker) knownHop(e *conntrack.Entry) HopID {
	aux := e.Aux()
	id := aux & (1<<hopBits - 1)
	if aux>>hopBits != uint32(w.snap.RouteEpoch)&(1<<(32-hopBits)-1) || int(id) >= len(w.snap.Hops) {
		return 0
	}
	return HopID(id)
}

// route looks up the next hop of p's destination.
func (w *Worker) route(p *packet.Parsed) (HopID, Verdict) {
	t := p.Tuple()
	key, ok := w.snap.Routes.NextHop(t.DstAddrPort().Addr())
	if !ok {
		return 0, DropNoRoute
	}
	id := w.snap.HopIDs[key]
	if id == 0 {
		w.notify(Notice{Kind: NoticeNewHop, Hop: key})
		return 0, hold
	}
	return id, 0
}

// unresolved asks the director to have the kernel resolve a hop; the frame waits.
func (w *Worker) unresolved(id HopID) Verdict {
	if w.snap.Hops[id].State == HopUnreachable || id == 0 {
		return DropNoRoute
	}
	w.notify(Notice{Kind: NoticeResolve, HopID: id})
	return hold
}

// track moves the session's state and restarts its timer, writing only what changed.
func (w *Worker) track(f *packet.Frame, p *packet.Parsed, s session, dir conntrack.Dir) {
	was := s.meta.State()
	next := was
	switch p.Proto {
	case lvs.ProtoTCP:
		next = w.nextTCP(dir, was, p.TCPFlags)
	case lvs.ProtoSCTP:
		next = nextSCTP(f, p, was, dir)
	case lvs.ProtoUDP:
		if dir == conntrack.Output {
			w.assure(s.e)
		}
	}
	if next != was {
		w.transition(s.e, was, next)
	}
	if s.e.Touch(w.now, w.snap.Timeouts.Of(next)) && w.log != nil || next != was && w.log != nil {
		w.tell(s.e, next, next != was)
	}
}

// transition changes the state and recounts the session where its activity changed.
// Another worker may have been faster; then it has done the counting.
func (w *Worker) transition(e *conntrack.Entry, from, to conntrack.State) {
	if !e.SetState(from, to) {
		return
	}
	if to.Established() {
		w.assure(e)
	}
	if from.Active() == to.Active() {
		return
	}
	if d := w.dest(e.Dest()); d != nil {
		d.Load.Move(to.Active())
	}
}

// assure marks the session's template as one that got somebody through: shown as ASSURED.
func (w *Worker) assure(e *conntrack.Entry) {
	t := e.Control()
	if t == 0 {
		return
	}
	te := w.table.Entry(t)
	if te.SetState(conntrack.TemplateNone, conntrack.TemplateAssured) && w.log != nil {
		w.tell(te, conntrack.TemplateAssured, true)
	}
}

func (w *Worker) dest(id uint32) *Dest { return w.snap.dest(id) }

func (s *Snapshot) dest(id uint32) *Dest {
	if int(id) >= len(s.Dests) || s.Dests[id].Load == nil {
		return nil
	}
	return &s.Dests[id]
}

// expire removes a session now, unless somebody else did.
func (w *Worker) expire(ref conntrack.Ref, e *conntrack.Entry) {
	if w.conns.Delete(ref.Conn()) {
		w.Gone(ref, e)
	}
}

// templateLinger is what a template with live sessions is given when its time is up
// (ip_vs_conn_expire: 60 s).
const templateLinger = 60 * conntrack.TicksPerSecond

// The table asks for Goner by a type assertion, which would fail without a word.
var _ conntrack.Goner = (*Worker)(nil)

// Expired implements conntrack.Sweeper: a template lives on while sessions hang on it, and what is a peer's
// for as long as its refresh may be on the way.
func (w *Worker) Expired(_ conntrack.Ref, e *conntrack.Entry) bool {
	if e.Flags()&(conntrack.FlagTemplate|conntrack.FlagStandby) == 0 {
		return true
	}
	if e.Flags()&conntrack.FlagTemplate == 0 || e.AddControlled(0) == 0 {
		return w.over(e)
	}
	e.Touch(e.Seen()+e.Timeout(), templateLinger)
	if w.log != nil {
		w.tell(e, e.State(), false)
	}
	return false
}

// Gone implements conntrack.Goner: it gives back what the session was counted in.
func (w *Worker) Gone(_ conntrack.Ref, e *conntrack.Entry) {
	if w.log != nil {
		w.tellGone(e)
	}
	w.snap.unbind(w.table, e)
}

// unbind gives back what a removed session or template was counted in.
func (s *Snapshot) unbind(table *conntrack.Table, e *conntrack.Entry) {
	d := s.dest(e.Dest())
	switch template := e.Flags()&conntrack.FlagTemplate != 0; {
	case d == nil:
	case template:
		d.Load.UnbindTemplate()
	default:
		d.Load.Unbind(e.State().Active())
	}
	if t := e.TakeControl(); t != 0 {
		table.Entry(t).AddControlled(-1)
	}
}
