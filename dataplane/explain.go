package dataplane

import (
	"fmt"
	"net/netip"

	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

// Explanation is what a worker would do with a frame, and why.
type Explanation struct {
	Steps   []string // what was looked at, in the pipeline's order
	Mark    uint32   // that a rule gives it; 0: none
	Service lvs.ServiceID
	Dest    lvs.DestID
	Session bool // it belongs to one, or is the reply of one
	Reply   bool
	Follows bool   // a template decided
	Sure    bool   // the scheduler would pick the same next: it draws no lots, and no session ends before
	Hop     HopKey // valid iff HasHop
	HasHop  bool
	HopID   HopID   // 0: the director has not met it yet
	Verdict Verdict // meets; hold is shown by Held
}

// Held reports whether the frame would wait for its next hop.
func (x *Explanation) Held() bool { return x.Verdict == hold }

// say adds a step.
func (x *Explanation) say(format string, args ...any) {
	x.Steps = append(x.Steps, fmt.Sprintf(format, args...))
}

// Explainer answers from what workers read: a snapshot and the connection table. It changes nothing in either, and
// counts nothing. It is for tools: it locks and allocates.
type Explainer struct {
	w Worker // never runs: the pipeline's own questions are asked through it
}

// NewExplainer answers as of now.
func NewExplainer(snap *Snapshot, table *conntrack.Table, now conntrack.Tick) *Explainer {
	return &Explainer{w: Worker{snap: snap, table: table, now: now}}
}

// Explain says what would become of a frame with a TCP, UDP or ICMP packet. Limits per second, drop_packet, options,
// fragments and the MTU are left out: it is a question about the way, not about one packet.
func (x *Explainer) Explain(f *packet.Frame) (out Explanation) {
	w, p := &x.w, &packet.Parsed{}
	out.Sure = true
	if err := packet.Parse(f.Bytes(), p); err != 0 {
		out.Verdict = ParseVerdict(err)
		out.say("the packet is refused: %s", err)
		return out
	}
	switch {
	case w.others(f, p.Kind):
		out.Verdict = DropOtherHost
		out.say("the frame is for another host's MAC address")
	case p.Kind == packet.KindICMP:
		x.icmp(f, p, &out)
	case p.Kind != packet.KindFlow:
		out.Verdict = DropNotOurs
		out.say("nothing that is forwarded")
	default:
		x.flow(f, p, &out)
	}
	return out
}

// icmp is an echo request, or what is passed on.
func (x *Explainer) icmp(f *packet.Frame, p *packet.Parsed, out *Explanation) {
	if !x.w.snap.VIPs[p.Dst()] {
		out.say("%s is no VIP that is held here", p.Dst())
		x.routed(p, out)
		return
	}
	echo := uint8(packet.ICMPEchoRequest)
	if p.V6() {
		echo = packet.ICMPv6EchoRequest
	}
	if f.Bytes()[p.L4Off] != echo {
		out.Verdict = DropICMP
		out.say("%s is a VIP, which answers no such ICMP", p.Dst())
		return
	}
	out.Verdict = TxEcho
	out.say("%s is a VIP: it answers echo requests itself", p.Dst())
}

// flow follows Worker.flow.
func (x *Explainer) flow(f *packet.Frame, p *packet.Parsed, out *Explanation) {
	w, key, done := &x.w, flowKey(p), false
	w.table.Look(&key, func(r conntrack.Ref, e *conntrack.Entry, i conntrack.Info) {
		done = x.session(f, p, r, e, &i, out)
	})
	if !done {
		if len(out.Steps) == 0 {
			out.say("it belongs to no session")
		}
		x.miss(f, p, out)
	}
}

// session is a packet that has one; false if a new one begins all the same.
func (x *Explainer) session(
	f *packet.Frame, p *packet.Parsed, r conntrack.Ref, e *conntrack.Entry, i *conntrack.Info, out *Explanation,
) bool {
	w := &x.w
	name := fmt.Sprintf("session %s > %s, %s on %s", i.Client, i.VIP, i.State, i.Dest)
	switch {
	case w.snap.idle[index(p.V6())]:
		out.say("there are no services at all: the session is left alone")
		x.stray(p, out)
		return true
	case w.over(e):
		out.say("its %s is over", name)
		out.Sure = false // it weighs on its real server until the packet is there
		return false
	case !r.Reply() && w.renewed(f, p, e):
		out.say("it begins anew: its %s is finished", name)
		out.Sure = false // the same
		return false
	}
	out.Session, out.Reply = true, r.Reply()
	out.Service, out.Dest = lvs.ServiceID(i.ServiceID), lvs.DestID(i.DestID)
	if out.Reply {
		out.say("it is the reply of %s", name)
		x.route(p, TxNATReply, out)
		return true
	}
	out.say("it belongs to %s", name)
	if e.Flags()&conntrack.FlagBypass != 0 {
		out.say("which bypasses the real servers (cache_bypass)")
		x.routed(p, out)
		return true
	}
	d := w.dest(i.DestID)
	switch {
	case d == nil:
		out.Verdict = DropRemoved
		out.say("whose real server is gone")
	case d.Removed && d.Fate == lvs.FailDefault && w.snap.Settings.ExpireNodestConn != 0:
		out.say("whose real server is gone (expire_nodest_conn)")
		return false
	case d.Removed && d.Fate == lvs.FailReset:
		out.say("whose real server failed: both ends are told (on_failure)")
		x.refused(p, out)
	case d.Removed && d.Fate != lvs.FailDefault:
		out.say("whose real server failed: it is scheduled anew (on_failure)")
		return false
	case d.Removed:
		out.Verdict = DropRemoved
		out.say("whose real server is gone")
	default:
		x.toServer(methodOf(e.Flags()), d, out)
	}
	return true
}

// miss follows Worker.miss.
func (x *Explainer) miss(f *packet.Frame, p *packet.Parsed, out *Explanation) {
	w := &x.w
	if !p.V6() && w.ours4(p.Addr[0]) {
		out.Verdict = DropOwnSource
		out.say("%s is an address of this host: nobody else sends from it", p.Src())
		return
	}
	out.Mark = w.mark(f, p)
	if out.Mark != 0 {
		out.say("a [[mark]] rule gives it the mark %d", out.Mark)
	}
	id := w.service(f, p)
	switch {
	case id == 0:
		out.say("no service has it")
		x.stray(p, out)
		return
	case uint16(p.L4) == wirePortFTPData:
		out.say("it comes from FTP's data port, which begins no session")
		x.stray(p, out)
		return
	}
	svc := &w.snap.Services[id]
	out.Service = id
	out.say("service %s", svc.Config.Key)
	if p.Proto == lvs.ProtoTCP && !w.starts(p) && !w.continues(p, id) {
		out.say("a TCP segment without SYN begins no session (sloppy_tcp)")
		if w.snap.Settling {
			out.Verdict = DropUnsynced
			out.say("this director has just taken over: a peer may be about to tell of its session")
			return
		}
		x.refused(p, out)
		return
	}
	x.schedule(p, svc, out)
}

// schedule follows Worker.pick: the template, or the scheduler.
func (x *Explainer) schedule(p *packet.Parsed, svc *Service, out *Explanation) {
	w := &x.w
	id, word := lvs.DestID(0), "picks"
	if !out.Sure {
		word = "picks, unless that session's end tips the scales,"
	}
	if svc.Persist != 0 {
		id = x.template(p, svc, out)
	}
	if id == 0 {
		tuple, sure := p.Tuple(), false
		if id, _, sure = svc.Scheduler.Preview(&tuple, int64(w.now/conntrack.TicksPerSecond)); !sure {
			out.Sure, word = false, "draws lots, and might pick"
		}
	}
	d := w.dest(uint32(id))
	if d == nil {
		x.leave(p, svc, out)
		return
	}
	out.Dest = id
	if !out.Follows {
		out.say("scheduler %s %s %s", svc.Scheduler.Name(), word, x.server(d))
	}
	x.toServer(d.Method, d, out)
}

// template returns the real server of the client's, 0 if there is none to follow.
func (x *Explainer) template(p *packet.Parsed, svc *Service, out *Explanation) (id lvs.DestID) {
	w, key := &x.w, templateKey(p, svc.Config)
	found := w.table.Look(&key, func(_ conntrack.Ref, e *conntrack.Entry, i conntrack.Info) {
		switch {
		case e.Expired(w.now) && e.AddControlled(0) == 0:
			out.say("the client's template is over")
		case !w.usable(e):
			out.say("the client's template is not followed: its real server is gone, down or drained")
		default:
			id, out.Follows = lvs.DestID(i.DestID), true
			out.say("the client's template leads to %s, for %d s more", i.Dest.Addr(),
				i.Expires(w.now)/conntrack.TicksPerSecond)
		}
	})
	if !found {
		out.say("the client has no template yet")
	}
	return id
}

// leave follows Worker.leave: nobody takes it.
func (x *Explainer) leave(p *packet.Parsed, svc *Service, out *Explanation) {
	out.say("scheduler %s picks nobody: no real server is there with a weight, and below its threshold",
		svc.Scheduler.Name())
	if x.w.snap.Settings.CacheBypass != 0 && svc.Config.Key.Mark != 0 && !x.w.snap.VIPs[p.Dst()] {
		out.say("it goes on to where it is addressed to (cache_bypass)")
		x.routed(p, out)
		return
	}
	out.Verdict = TxICMPError
	out.say("its sender is told: port unreachable")
}

// stray follows Worker.stray.
func (x *Explainer) stray(p *packet.Parsed, out *Explanation) {
	if !x.w.snap.VIPs[p.Dst()] {
		out.say("%s is no VIP that is held here", p.Dst())
		x.routed(p, out)
		return
	}
	out.say("a closed port of a VIP")
	x.refused(p, out)
}

// refused is the answer to a client that nobody serves.
func (x *Explainer) refused(p *packet.Parsed, out *Explanation) {
	switch {
	case p.Proto != lvs.ProtoTCP:
		out.Verdict = TxICMPError
		out.say("its sender is told: port unreachable")
	case p.TCPFlags&packet.TCPRst != 0:
		out.Verdict = DropNoService
		out.say("a reset is not answered")
	default:
		out.Verdict = TxReset
		out.say("it is reset")
	}
}

// routed follows Worker.forwardRouted.
func (x *Explainer) routed(p *packet.Parsed, out *Explanation) {
	dst := p.Dst()
	if dst.IsMulticast() || dst.Is6() && dst.IsLinkLocalUnicast() || dst == broadcast4 {
		out.Verdict = DropNotOurs
		out.say("what is for a group is not routed")
		return
	}
	x.route(p, TxRouted, out)
}

// route follows the kernel's routes to the packet's destination; v is the verdict if there is a way.
func (x *Explainer) route(p *packet.Parsed, v Verdict, out *Explanation) {
	key, ok := x.w.snap.Routes.NextHop(p.Dst())
	if !ok {
		out.Verdict = DropNoRoute
		out.say("there is no route to %s by an interface of ours", p.Dst())
		return
	}
	x.by(key, x.w.snap.HopIDs[key], v, out)
}

// toServer is the way to a real server by a method.
func (x *Explainer) toServer(m lvs.Method, d *Dest, out *Explanation) {
	snap := x.w.snap
	switch {
	case d.Local:
		out.Verdict = Local
		out.say("%s is on this host: handed to the stack of our own", x.server(d))
	case d.Hop == 0:
		out.Verdict = DropNoRoute
		out.say("there is no route to %s by an interface of ours", x.server(d))
	default:
		out.say("method %s", m)
		key := HopKey{}
		for k, id := range snap.HopIDs {
			if id == d.Hop {
				key = k
			}
		}
		x.by(key, d.Hop, map[lvs.Method]Verdict{lvs.MethodDR: TxDR, lvs.MethodNAT: TxNAT, lvs.MethodTUN: TxTUN}[m], out)
	}
}

// by is the way by a next hop.
func (x *Explainer) by(key HopKey, id HopID, v Verdict, out *Explanation) {
	snap := x.w.snap
	out.Hop, out.HopID, out.HasHop = key, id, true
	port := fmt.Sprint(key.Port)
	if int(key.Port) < len(snap.Ports) {
		port = snap.Ports[key.Port].Name
	}
	if key.VLAN != 0 {
		port = fmt.Sprintf("%s, VLAN %d", port, key.VLAN)
	}
	switch state := snap.Hops[id].State; {
	case state == HopReady:
		mac := packet.MAC(snap.Hops[id].DstMAC())
		out.Verdict = v
		out.say("next hop %s on %s, %s", key.Addr, port, mac)
	case state == HopUnreachable:
		out.Verdict = DropNoRoute
		out.say("next hop %s on %s: there is no way", key.Addr, port)
	default:
		out.Verdict = hold
		out.say("next hop %s on %s: its MAC address is not known; the frame waits for up to a second", key.Addr, port)
	}
}

func (x *Explainer) server(d *Dest) string {
	if d.Port == 0 {
		return d.addr().String()
	}
	return netip.AddrPortFrom(d.addr(), packet.WirePort(d.Port)).String()
}
