package dataplane

import (
	"sync/atomic"

	"ulvs/conntrack"
	"ulvs/lvs"
)

// ReplicaOptions are what a Replica is made of.
type ReplicaOptions struct {
	Table     *conntrack.Table
	Handle    int // of the table; no worker's
	Snapshots *atomic.Pointer[Snapshot]
	Term      *atomic.Uint32 // the director's term, as its workers' logs have it
	Digest    conntrack.DigestKey
}

// Replica brings what peers tell of their sessions into the table that the workers share, and reads the
// table out for peers. It is one goroutine's, between Begin and End.
type Replica struct {
	opt   ReplicaOptions
	h     *conntrack.Handle
	snap  *Snapshot
	now   conntrack.Tick
	names identities
	tombs tombstones
	// unbound are the sessions of services or real servers that are not configured here (yet), with their
	// service's identity.
	unbound map[conntrack.Key]uint64
	applied [conntrack.NumApplied]atomic.Uint64
	ends    []ending     // Gone's
	warmed  uint64       // keeps the compiler from dropping Warm's loads
	strange atomic.Int64 // len(unbound)
}

// NewReplica makes a Replica. Its handle is parked until Begin.
func NewReplica(o ReplicaOptions) *Replica {
	r := &Replica{opt: o, h: o.Table.Worker(o.Handle), unbound: map[conntrack.Key]uint64{}}
	r.tombs.init()
	r.h.Park()
	return r
}

// Begin starts a round at time now: memory of sessions that are removed meanwhile stays.
func (r *Replica) Begin(now conntrack.Tick) {
	r.h.Unpark()
	r.now = now
	r.tombs.turn(now)
	if snap := r.opt.Snapshots.Load(); snap != r.snap {
		r.snap = snap
		if r.names.follow(snap) {
			r.bind()
		}
	}
}

// End ends a round. Nothing of the Replica may be called until the next Begin, but for Stats.
func (r *Replica) End() {
	r.h.Quiesce()
	r.h.Park()
}

// Unbound returns how many sessions wait for their service or real server to be configured. Any goroutine may
// ask.
func (r *Replica) Unbound() int { return int(r.strange.Load()) }

// Applied returns how many records ended like that. Any goroutine may ask.
func (r *Replica) Applied(a conntrack.Applied) uint64 { return r.applied[a].Load() }

// Warm touches what Apply will touch of some records: their cache misses overlap, where those of one Apply after the
// other would not.
func (r *Replica) Warm(recs []conntrack.Record) {
	r.h.Warm(recs)
	touched := uint64(0)
	for i := range recs {
		touched |= r.tombs.warm(r.opt.Digest.Hash(&recs[i].Key))
	}
	r.warmed = touched
}

// Gone remembers those records of our own that are ends, as Apply does of a peer's: a peer that has not heard of them
// yet tells of such sessions in digests and snapshots, and they do not come back.
func (r *Replica) Gone(recs []conntrack.Record) {
	r.ends = r.ends[:0]
	touched := uint64(0)
	for i := range recs {
		if rec := &recs[i]; rec.Op == conntrack.OpClose {
			h := r.opt.Digest.Hash(&rec.Key)
			touched |= r.tombs.warm(h)
			r.ends = append(r.ends, ending{h, rec.Version})
		}
	}
	r.warmed = touched
	for _, e := range r.ends {
		r.tombs.bury(e.key, e.version)
	}
}

// ending is the end of a session of our own, by its key's hash.
type ending struct {
	key     uint64
	version conntrack.Version
}

// Apply brings one record in. It is the same whatever the order: what is newer holds.
func (r *Replica) Apply(rec *conntrack.Record) conntrack.Applied {
	a := r.apply(rec)
	r.applied[a].Add(1)
	return a
}

func (r *Replica) apply(rec *conntrack.Record) conntrack.Applied {
	ref := r.h.FindKey(&rec.Key)
	if ref.Reply() {
		return conntrack.AppliedClash
	}
	if rec.Op == conntrack.OpClose {
		return r.close(ref, rec)
	}
	if ref == 0 {
		return r.insert(rec)
	}
	e := r.h.Entry(ref)
	v, standby := e.Version(), e.Flags()&conntrack.FlagStandby != 0
	switch {
	case v == 0 && !standby && replicated>>e.State()&1 != 0 &&
		conntrack.NewerTerm(uint8(r.opt.Term.Load()), rec.Version.Term()):
		// A session of our own that is not told yet; a half-open one gives way to what the client went on with elsewhere.
		return conntrack.AppliedNothing
	case v == rec.Version && standby:
		if rec.Remaining > 0 { // else two standbys would keep what is over alive for each other
			r.touch(e, rec)
		}
		e.SetVersion(v, r.now)
		return conntrack.AppliedRefreshed
	case v != 0 && !rec.Version.Newer(v) && !(e.Expired(r.now) && rec.Version.Later(v)):
		return conntrack.AppliedNothing // what is later than what is over is another session of the same client port
	case !sameWay(e, rec):
		if past, a := r.past(rec); past {
			return a // it takes the place of nothing
		}
		r.remove(ref, e)
		a := r.insert(rec)
		r.inherit(e, &rec.Key)
		return a
	}
	r.update(e, rec)
	return conntrack.AppliedUpdated
}

// sameWay reports whether a session goes where the record says.
func sameWay(e *conntrack.Entry, rec *conntrack.Record) bool {
	const method = conntrack.FlagNAT | conntrack.FlagTUN | conntrack.FlagTemplate
	if (e.Flags()^rec.Flags)&method != 0 || e.DestPort() != rec.DestPort {
		return false
	}
	if rec.V6 {
		return e.DestAddr6() == rec.DestAddr
	}
	return uint64(e.DestAddr4()) == rec.DestAddr[0]
}

// update makes a session what a newer record says: a peer's.
func (r *Replica) update(e *conntrack.Entry, rec *conntrack.Record) {
	for {
		was := e.State()
		if was == rec.State || !e.Live() {
			break
		}
		if !e.SetState(was, rec.State) {
			continue
		}
		if d := r.snap.dest(e.Dest()); d != nil && !rec.Template() && was.Active() != rec.State.Active() {
			d.Load.Move(rec.State.Active())
		}
		break
	}
	if rec.Flags&conntrack.FlagNoOutput == 0 {
		e.ClearFlags(conntrack.FlagNoOutput)
	}
	e.SetVersion(rec.Version, r.now)
	r.touch(e, rec)
	e.SetFlags(conntrack.FlagSynced | conntrack.FlagStandby)
}

// touch sets a session's timer so that it has its configured timeout and the remaining time of the record.
func (r *Replica) touch(e *conntrack.Entry, rec *conntrack.Record) {
	seen, timeout := r.timer(rec)
	e.Touch(seen, timeout)
}

// timer is when a record's session was seen, and its timeout. It is never now: a worker that sees the session in the
// same tick would find nothing to write, and not take it over.
func (r *Replica) timer(rec *conntrack.Record) (seen, timeout conntrack.Tick) {
	timeout = rec.Timeout
	if !rec.Template() {
		timeout = r.snap.Timeouts.Of(rec.State)
	}
	if rec.Remaining >= timeout || r.now+rec.Remaining < timeout {
		return r.now - 1, rec.Remaining + 1
	}
	return r.now + rec.Remaining - timeout, timeout
}

// past reports whether a record is of what is over, and what became of the record then: its end came before it, or its
// time is over where it comes from.
func (r *Replica) past(rec *conntrack.Record) (bool, conntrack.Applied) {
	if r.tombs.buried(r.opt.Digest.Hash(&rec.Key), rec.Version) {
		return true, conntrack.AppliedBuried
	}
	return rec.Remaining == 0, conntrack.AppliedNothing
}

func (r *Replica) insert(rec *conntrack.Record) conntrack.Applied {
	if past, a := r.past(rec); past {
		return a
	}
	seen, timeout := r.timer(rec)
	s := conntrack.Spec{
		Key: rec.Key, DestAddr: rec.DestAddr, DestPort: rec.DestPort, State: rec.State, Timeout: timeout,
		Version: rec.Version,
		Flags:   rec.Flags&conntrack.ReplicatedFlags | conntrack.FlagSynced | conntrack.FlagStandby,
	}
	svc, d := r.names.find(r.snap, rec)
	if d == nil {
		r.strangers(rec)
	} else {
		s.Service, s.Dest = uint32(svc), r.names.id(svc, rec)
		s.Control = r.template(rec, &r.snap.Services[svc], s.Dest)
	}
	ref, result := r.h.Insert(&s, seen)
	if result != conntrack.Inserted {
		r.undo(s.Control, rec)
		if result == conntrack.Full {
			return conntrack.AppliedFull
		}
		return conntrack.AppliedClash
	}
	r.h.Entry(ref).SetVersion(rec.Version, r.now)
	switch {
	case d == nil:
	case rec.Template():
		d.Load.BindTemplate()
	default:
		d.Load.Bind(rec.State.Active())
	}
	return conntrack.AppliedInserted
}

func (r *Replica) undo(control conntrack.Ref, rec *conntrack.Record) {
	if control != 0 {
		r.h.Entry(control).AddControlled(-1)
	}
	delete(r.unbound, rec.Key)
	r.strange.Store(int64(len(r.unbound)))
}

// close removes a session that its director removed, and remembers that it is gone.
func (r *Replica) close(ref conntrack.Ref, rec *conntrack.Record) conntrack.Applied {
	r.tombs.bury(r.opt.Digest.Hash(&rec.Key), rec.Version)
	if ref == 0 {
		return conntrack.AppliedNothing
	}
	e := r.h.Entry(ref)
	if v := e.Version(); v != 0 && v.Newer(rec.Version) || v == 0 && e.Flags()&conntrack.FlagStandby == 0 {
		return conntrack.AppliedNothing
	}
	if rec.Template() && e.Controlled() > 0 {
		// Sessions of ours still hang on it: it goes on for their sake, and nobody else's.
		e.SetVersion(0, r.now)
		return conntrack.AppliedNothing
	}
	r.remove(ref, e)
	return conntrack.AppliedClosed
}

// remove takes a session out, or a template out of the way of the sessions that hang on it.
func (r *Replica) remove(ref conntrack.Ref, e *conntrack.Entry) {
	if e.Flags()&conntrack.FlagTemplate != 0 && e.Controlled() > 0 {
		e.SetVersion(0, r.now)
		r.h.Unlink(ref)
		return
	}
	key := e.Key()
	if r.h.Delete(ref) {
		r.snap.unbind(r.opt.Table, e)
		r.undo(0, &conntrack.Record{Key: key})
	}
}

// Reap removes a peer's session that the peer does not know any more; nothing happens if it became ours, or
// was heard of after since ticks.
func (r *Replica) Reap(k *conntrack.Key, since conntrack.Tick) bool {
	ref := r.h.FindKey(k)
	if ref == 0 || ref.Reply() {
		return false
	}
	e := r.h.Entry(ref)
	if e.Flags()&conntrack.FlagStandby == 0 || e.SinceSent(r.now) < since ||
		e.Flags()&conntrack.FlagTemplate != 0 && e.Controlled() > 0 {
		return false
	}
	r.remove(ref, e)
	r.applied[conntrack.AppliedClosed].Add(1)
	return true
}

// Scan calls fn with a record of each session that directors share, among the next n entries of the table from
// position at on (0: the beginning), and returns where to go on, 0 after the last. own tells a
// session of ours from one that a peer told us of. The record is the Scan's.
func (r *Replica) Scan(at uint64, n int, fn func(rec *conntrack.Record, own bool)) uint64 {
	var rec conntrack.Record
	return r.h.Scan(at, n, func(_ conntrack.Ref, e *conntrack.Entry) {
		if e.Version() == 0 || !e.Describe(&rec, r.now) || rec.Version == 0 {
			return
		}
		f := e.Flags()
		if f&conntrack.FlagUnlinked != 0 {
			return
		}
		if rec.Service = r.snap.identity(e.Service()); rec.Service == 0 {
			rec.Service = r.unbound[rec.Key]
		}
		fn(&rec, f&conntrack.FlagStandby == 0)
	})
}

// Known reports whether there is a session with that key that peers know.
func (r *Replica) Known(k *conntrack.Key) bool {
	ref := r.h.FindKey(k)
	return ref != 0 && !ref.Reply() && r.h.Entry(ref).Version() != 0
}

// strangersMax bounds the sessions whose service's identity is remembered for a configuration to come.
const strangersMax = 1 << 16

func (r *Replica) strangers(rec *conntrack.Record) {
	if len(r.unbound) < strangersMax {
		r.unbound[rec.Key] = rec.Service
		r.strange.Store(int64(len(r.unbound)))
	}
}

// bind looks whether sessions without a real server have one now, and makes them anew with it.
func (r *Replica) bind() {
	for key, service := range r.unbound {
		var rec conntrack.Record
		ref := r.h.FindKey(&key)
		if ref == 0 || r.h.Entry(ref).Dest() != 0 || !r.h.Entry(ref).Describe(&rec, r.now) {
			delete(r.unbound, key)
			continue
		}
		rec.Service = service
		if _, d := r.names.find(r.snap, &rec); d == nil {
			continue
		}
		r.remove(ref, r.h.Entry(ref))
		r.insert(&rec)
	}
	r.strange.Store(int64(len(r.unbound)))
}

// identities find services and real servers by what peers call them.
type identities struct {
	of       *Dest // the first of the destinations that the maps were made of
	services map[uint64]lvs.ServiceID
	dests    map[realOf]uint32
}

// realOf is a real server of a service; port in wire order, anyPortOf for whatever port.
type realOf struct {
	service lvs.ServiceID
	addr    [2]uint64
	port    uint32
}

const anyPortOf = 1 << 16

// follow makes the maps anew if services changed, and reports whether they did.
func (x *identities) follow(s *Snapshot) bool {
	if len(s.Dests) > 0 && x.of == &s.Dests[0] {
		return false
	}
	if len(s.Dests) > 0 {
		x.of = &s.Dests[0]
	}
	x.services = make(map[uint64]lvs.ServiceID, len(s.Services))
	x.dests = make(map[realOf]uint32, 2*len(s.Dests))
	for i := range s.Services {
		if c := s.Services[i].Config; c != nil && x.services[s.Services[i].identity] == 0 {
			x.services[s.Services[i].identity] = lvs.ServiceID(i)
		}
	}
	for i := range s.Dests {
		d := &s.Dests[i]
		if d.Load == nil {
			continue
		}
		x.dests[realOf{d.Service, d.Addr, uint32(d.Port)}] = uint32(i)
		if any := (realOf{d.Service, d.Addr, anyPortOf}); x.dests[any] == 0 {
			x.dests[any] = uint32(i)
		}
	}
	return true
}

// find returns the service and the real server of a record; nil if one of them is not configured.
func (x *identities) find(s *Snapshot, rec *conntrack.Record) (lvs.ServiceID, *Dest) {
	svc := x.services[rec.Service]
	if svc == 0 {
		return 0, nil
	}
	return svc, s.dest(x.id(svc, rec))
}

// id returns the real server's number: by address and port, else (port 0, or sessions to other ports of a
// persistent service) by address.
func (x *identities) id(svc lvs.ServiceID, rec *conntrack.Record) uint32 {
	if id := x.dests[realOf{svc, rec.DestAddr, uint32(rec.DestPort)}]; id != 0 {
		return id
	}
	return x.dests[realOf{svc, rec.DestAddr, anyPortOf}]
}
