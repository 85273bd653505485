package dataplane

import (
	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

// template returns the template that a peer's session hangs on, counted there, and makes it if it is not
// there; 0 where the service is not persistent. IPVS does not replicate the link, which is why its
// backup lets templates of living sessions expire (ipvs-spec.md section 2.8).
func (r *Replica) template(rec *conntrack.Record, svc *Service, dest uint32) conntrack.Ref {
	if svc.Persist == 0 || svc.Scheduler == nil || rec.Template() {
		return 0
	}
	p := packet.Parsed{Addr: rec.Addr, L4: rec.L4}
	if rec.V6 {
		p.Flags |= packet.FlagV6
	}
	key := templateKey(&p, svc.Config)
	ref := r.h.FindKey(&key)
	if ref == 0 {
		ref = r.makeTemplate(key, rec, svc, dest)
	}
	if ref == 0 || ref.Reply() {
		return 0
	}
	e := r.h.Entry(ref)
	if e.Expired(r.now) {
		e.Touch(r.now, templateLinger)
	}
	e.AddControlled(1)
	return ref
}

// makeTemplate makes the template that a session of a peer must have had: it has no version, so that the
// peer's own replaces it.
func (r *Replica) makeTemplate(k conntrack.Key, rec *conntrack.Record, svc *Service, dest uint32) conntrack.Ref {
	s := conntrack.Spec{
		Key: k, DestAddr: rec.DestAddr, Dest: dest, Service: uint32(svc.Config.ID), State: conntrack.TemplateNone,
		Flags:   conntrack.FlagTemplate | conntrack.FlagSynced | conntrack.FlagStandby,
		Timeout: svc.Persist,
	}
	if rec.State.Established() {
		s.State = conntrack.TemplateAssured
	}
	if !anyPort(svc.Config) {
		s.DestPort = r.snap.Dests[dest].Port
	}
	ref, result := r.h.Insert(&s, r.now)
	if result == conntrack.Inserted {
		r.snap.Dests[dest].Load.BindTemplate()
	}
	return ref
}

// Relink gives every session of a persistent service that hangs on no template its template, made anew where
// it is missing, and returns how many sessions that were. It looks at the whole table: for takeovers.
func (r *Replica) Relink() (linked int) {
	for at := uint64(0); ; {
		at = r.h.Scan(at, 4096, func(_ conntrack.Ref, e *conntrack.Entry) {
			if r.relink(e) {
				linked++
			}
		})
		if at == 0 {
			return linked
		}
	}
}

func (r *Replica) relink(e *conntrack.Entry) bool {
	const no = conntrack.FlagTemplate | conntrack.FlagBypass | conntrack.FlagOnePacket
	id := e.Service()
	if e.Control() != 0 || e.Flags()&no != 0 || int(id) >= len(r.snap.Services) || r.snap.dest(e.Dest()) == nil {
		return false
	}
	svc := &r.snap.Services[id]
	var rec conntrack.Record
	if svc.Persist == 0 || !e.Describe(&rec, r.now) {
		return false
	}
	ref := r.template(&rec, svc, e.Dest())
	if ref == 0 {
		return false
	}
	if !e.Hang(ref) {
		r.h.Entry(ref).AddControlled(-1)
		return false
	}
	return true
}

// inherit hangs a template that another one took the place of on that one, for as long as sessions hang on it: a
// client with a living session finds a template that lives (and not only one that nobody finds).
func (r *Replica) inherit(old *conntrack.Entry, k *conntrack.Key) {
	if old.Flags()&conntrack.FlagUnlinked == 0 {
		return
	}
	ref := r.h.FindKey(k)
	if ref == 0 || ref.Reply() {
		return
	}
	e := r.h.Entry(ref)
	e.AddControlled(1)
	if !old.Hang(ref) {
		e.AddControlled(-1)
	}
}

// Exceptions calls fn with a record of each session of ours that no peer was told of, because any director would
// have picked the same real server, and that this holds for no longer: real servers of its service changed.
// From then on it is replicated like any other. Call it when services changed; it looks at the whole table.
func (r *Replica) Exceptions(first conntrack.Version, fn func(rec *conntrack.Record)) {
	var rec conntrack.Record
	var tuple packet.Tuple
	for at, more := uint64(0), r.deriving(); more; more = at != 0 {
		at = r.h.Scan(at, 4096, func(_ conntrack.Ref, e *conntrack.Entry) {
			if !r.exception(e, &tuple) {
				return
			}
			v := e.Advance(first.Term(), first, r.now)
			if v == 0 || !e.Describe(&rec, r.now) {
				return
			}
			rec.Version, rec.Service = v, r.snap.identity(e.Service())
			fn(&rec)
		})
	}
}

func (r *Replica) deriving() bool {
	for i := range r.snap.Services {
		if r.snap.Services[i].derived {
			return true
		}
	}
	return false
}

func (r *Replica) exception(e *conntrack.Entry, t *packet.Tuple) bool {
	id := e.Service()
	if e.Version() != 0 || int(id) >= len(r.snap.Services) || !r.snap.Services[id].derived {
		return false
	}
	const no = conntrack.FlagTemplate | conntrack.FlagBypass | conntrack.FlagOnePacket | conntrack.FlagStandby
	if e.Flags()&no != 0 || replicated>>e.State()&1 == 0 {
		return false
	}
	p := packet.Parsed{Proto: e.Proto()}
	k := e.Key()
	p.Addr, p.L4 = k.Addr, k.L4
	if k.V6 {
		p.Flags |= packet.FlagV6
	}
	*t = p.Tuple()
	pick, ok := r.snap.Services[id].Scheduler.Pick(t, int64(r.now/conntrack.TicksPerSecond))
	return !ok || pick != lvs.DestID(e.Dest())
}
