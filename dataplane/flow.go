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
	if !e.Live() || e.Expired(w.now) || w.reusable(p, e) {
		w.expire(ref, e)
		return w.miss(f, p)
	}
	if ref.Reply() {
		return w.reply(f, p, e)
	}
	return w.request(f, p, e)
}

// reusable reports whether a SYN starts a new session over a finished one (conn_reuse_mode
// 1, ip_vs_core.c is_new_conn_expected): the session is in TIME_WAIT or CLOSE
// and hangs on no template.
func (w *Worker) reusable(p *packet.Parsed, e *conntrack.Entry) bool {
	if p.TCPFlags&(packet.TCPSyn|packet.TCPAck|packet.TCPRst) != packet.TCPSyn || p.Proto != lvs.ProtoTCP {
		return false
	}
	s := e.State()
	return (s == conntrack.TCPTimeWait || s == conntrack.TCPClose) && e.Control() == 0
}

// request forwards a client's packet along its session.
func (w *Worker) request(f *packet.Frame, p *packet.Parsed, e *conntrack.Entry) Verdict {
	id := e.Dest()
	if int(id) >= len(w.snap.Dests) {
		return DropRemoved
	}
	d := &w.snap.Dests[id]
	if d.Removed || d.Load == nil {
		return DropRemoved
	}
	hop := &w.snap.Hops[d.Hop]
	if hop.State != HopReady {
		return w.unresolved(d.Hop)
	}
	dir := conntrack.Input
	if e.Flags()&conntrack.FlagNoOutput != 0 {
		dir = conntrack.InputOnly
	}
	w.track(e, p, dir)
	w.stats.in(id, p.TotalLen)
	return w.forward(f, p, forwarding{e, d, hop})
}

// forwarding is what the three methods work with.
type forwarding struct {
	conn *conntrack.Entry
	dest *Dest
	hop  *Hop
}

// forward applies the destination's method. TTL goes down by one in every method, before
// the tunnel header copies it (ipvs-spec.md section 3.1).
func (w *Worker) forward(f *packet.Frame, p *packet.Parsed, to forwarding) Verdict {
	if p.TTL <= 1 {
		return w.timeExceeded(f, p)
	}
	if int(p.TotalLen)+int(to.dest.OuterLen) > int(to.hop.MTU) {
		return w.tooBig(f, p, int(to.hop.MTU)-int(to.dest.OuterLen))
	}
	switch to.dest.Method {
	case lvs.MethodDR:
		return w.forwardDR(f, p, to.hop)
	case lvs.MethodNAT:
		return w.forwardNAT(f, p, to)
	case lvs.MethodTUN:
		return w.forwardTUN(f, p, to)
	}
	return DropInternal
}

// reply forwards a real server's packet of a NAT session to the client.
func (w *Worker) reply(f *packet.Frame, p *packet.Parsed, e *conntrack.Entry) Verdict {
	hop, v := w.replyHop(p, e)
	if hop == nil {
		return v
	}
	if e.Flags()&conntrack.FlagNoOutput != 0 {
		e.ClearFlags(conntrack.FlagNoOutput)
	}
	w.track(e, p, conntrack.Output)
	w.stats.out(e.Dest(), p.TotalLen)
	if p.TTL <= 1 {
		return w.timeExceeded(f, p)
	}
	if p.TotalLen > hop.MTU {
		return w.tooBig(f, p, int(hop.MTU))
	}
	return w.forwardReply(f, p, e, hop)
}

// The dataplane's word of a NAT session caches the client's next hop: HopID in the
// low 20 bits, the route epoch it was looked up in above.
const hopBits = 20

// replyHop returns the next hop to the client, from the session where the routes have not
// changed since, else from the routes. nil comes with the verdict.
func (w *Worker) replyHop(p *packet.Parsed, e *conntrack.Entry) (*Hop, Verdict) {
	epoch := uint32(w.snap.RouteEpoch) << hopBits
	aux := e.Aux()
	id := HopID(aux & (1<<hopBits - 1))
	if id == 0 || aux&^(1<<hopBits-1) != epoch || int(id) >= len(w.snap.Hops) {
		var v Verdict
		if id, v = w.route(p); id == 0 {
			return nil, v
		}
		e.SetAux(uint32(id) | epoch)
	}
	hop := &w.snap.Hops[id]
	if hop.State != HopReady {
		return nil, w.unresolved(id)
	}
	return hop, 0
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
func (w *Worker) track(e *conntrack.Entry, p *packet.Parsed, dir conntrack.Dir) {
	s := e.State()
	if p.Proto == lvs.ProtoTCP {
		if next := conntrack.NextTCP(dir, s, p.TCPFlags); next != s {
			w.transition(e, s, next)
			s = next
		}
	}
	e.Touch(w.now, w.snap.Timeouts.Of(s))
}

// transition changes the state and recounts the session where its activity changed.
// Another worker may have been faster; then it has done the counting.
func (w *Worker) transition(e *conntrack.Entry, from, to conntrack.State) {
	if !e.SetState(from, to) || from.Active() == to.Active() {
		return
	}
	if d := w.dest(e.Dest()); d != nil {
		d.Load.Move(to.Active())
	}
}

func (w *Worker) dest(id uint32) *Dest {
	if int(id) >= len(w.snap.Dests) || w.snap.Dests[id].Load == nil {
		return nil
	}
	return &w.snap.Dests[id]
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

// Expired implements conntrack.Sweeper: a template lives on while sessions hang on it.
func (w *Worker) Expired(_ conntrack.Ref, e *conntrack.Entry) bool {
	if e.Flags()&conntrack.FlagTemplate == 0 || e.AddControlled(0) == 0 {
		return true
	}
	e.Touch(e.Seen()+e.Timeout(), templateLinger)
	return false
}

// Gone implements conntrack.Goner: it gives back what the session was counted in.
func (w *Worker) Gone(_ conntrack.Ref, e *conntrack.Entry) {
	d := w.dest(e.Dest())
	if e.Flags()&conntrack.FlagTemplate != 0 {
		if d != nil {
			d.Load.UnbindTemplate()
		}
		return
	}
	if d != nil {
		d.Load.Unbind(e.State().Active())
	}
	if t := e.Control(); t != 0 {
		w.table.Entry(t).AddControlled(-1)
	}
}
