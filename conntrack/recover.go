package conntrack

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Adopt says how to read an image.
type Adopt struct {
	// Services and Dests translate: by the image's number the table's, 0 where there is none any more.
	Services, Dests []uint32
	Now             Tick // of the table
	Shift           Tick // from the image's ticks to the table's
	Limit           int  // of the table's destinations: their numbers are below
}

// Bound is how many conns of a destination were recovered.
type Bound struct{ Active, Inactive, Templates int32 }

// Recovered is what became of the conns of an image.
type Recovered struct {
	Conns     int // found again, without templates
	Templates int
	Torn      int // what does not verify: left half written, or damaged
	NoService int // their service is not configured any more
	NoDest    int // their real server is not
	Expired   int // their time ran out meanwhile
	Twice     int // their key is there already
	Full      int // no room: max_conns is lower now
	Loose     int // of Conns, those that lost their template

	Bound []Bound // by the table's destinations
}

// Dropped is how many conns the image had that the table has not, but for those whose time was over.
func (r *Recovered) Dropped() int { return r.Torn + r.NoService + r.NoDest + r.Twice + r.Full }

func (r *Recovered) add(o *Recovered) {
	r.Conns, r.Templates, r.Torn = r.Conns+o.Conns, r.Templates+o.Templates, r.Torn+o.Torn
	r.NoService, r.NoDest, r.Expired = r.NoService+o.NoService, r.NoDest+o.NoDest, r.Expired+o.Expired
	r.Twice, r.Full, r.Loose = r.Twice+o.Twice, r.Full+o.Full, r.Loose+o.Loose
	for i := range o.Bound {
		b := &r.Bound[i]
		b.Active, b.Inactive = b.Active+o.Bound[i].Active, b.Inactive+o.Bound[i].Inactive
		b.Templates += o.Bound[i].Templates
	}
}

// Recover inserts the conns of an image that verify into the table, which is empty and whose workers do not run yet.
// It trusts neither a link nor a number in it: a conn counts if it is whole, its service and real server are there
// under the same identity and address, and its timer makes sense. It works with as many goroutines as the
// machine has cores and the table handles.
func (t *Table) Recover(im *Image, o Adopt) Recovered {
	r := &recovery{t: t, im: im, Adopt: o}
	total := Recovered{Bound: make([]Bound, o.Limit)}
	// Templates first, because conns hang on them. Then NAT conns that another one has the reply key of: the newest
	// has it in the end, and that is the one that comes last.
	for _, r.pass = range []pass{passTemplates, passShadowed, passConns} {
		if r.pass == passShadowed && !r.shadowed.Load() {
			continue
		}
		r.run(&total)
	}
	return total
}

// pass is one look at the whole image.
type pass uint8

const (
	passTemplates pass = iota
	passShadowed
	passConns
)

// of returns the pass that a conn with these flags is recovered in.
func of(f Flags) pass {
	switch {
	case f&FlagTemplate != 0:
		return passTemplates
	case f&FlagNoReply != 0:
		return passShadowed
	}
	return passConns
}

// recovery is one Recover on its way.
type recovery struct {
	Adopt
	t        *Table
	im       *Image
	pass     pass
	shadowed atomic.Bool
	cursor   atomic.Uint64
	moved    [2][]Ref // by family and the image's index: where a template is now; nil until there is one
	making   sync.Mutex
}

// recoverChunk is how many entries of the image a goroutine takes at a time.
const recoverChunk = 1024

func (r *recovery) run(total *Recovered) {
	r.cursor.Store(0)
	n := min(len(r.t.handles), runtime.NumCPU())
	parts := make([]Recovered, n)
	var wg sync.WaitGroup
	for i := range parts {
		parts[i].Bound = make([]Bound, r.Limit)
		wg.Go(func() { r.work(r.t.Worker(i), &parts[i]) })
	}
	wg.Wait()
	for i := range parts {
		total.add(&parts[i])
	}
}

// work recovers chunks until there are none left.
func (r *recovery) work(h *Handle, out *Recovered) {
	defer h.Park()
	n4, n6 := uint64(len(r.im.narrow)), uint64(len(r.im.broad))
	for {
		at := r.cursor.Add(recoverChunk) - recoverChunk
		if at >= n4+n6 {
			return
		}
		end := min(at+recoverChunk, n4+n6)
		for ; at < min(end, n4); at++ {
			r.look(h, out, Ref(at))
		}
		for ; at < end; at++ {
			r.look(h, out, Ref(at-n4)|refV6)
		}
		h.Quiesce()
	}
}

func (r *recovery) entry(old Ref) *Entry {
	if old.V6() {
		return &r.im.broad[old&idxMask].Entry
	}
	return &r.im.narrow[old&idxMask]
}

// look recovers one entry of the image, if there is a conn in it that is of this pass.
func (r *recovery) look(h *Handle, out *Recovered, old Ref) {
	e := r.entry(old)
	f := Flags(e.w[3] >> flagShift)
	first := r.pass == passTemplates // which counts what is wrong with any of them
	if e.w[3]&lifeMask != lifeLive || old&idxMask == 0 {
		return // free, or its insertion had not ended: nobody was told of it
	}
	if first && of(f) == passShadowed {
		r.shadowed.Store(true)
	}
	if of(f) != r.pass && !first {
		return
	}
	switch {
	case !e.sound(old.V6(), r.Now-r.Shift):
		if first {
			out.Torn++
		}
	case of(f) == r.pass:
		r.adopt(h, out, old, e)
	}
}

// sound reports whether a live entry is a whole conn of its family that makes sense at time now.
func (e *Entry) sound(v6 bool, now Tick) bool {
	w1, m := e.w[1], e.w[3]
	if (w1&v6Bit != 0) != v6 || w1>>(destShift+16)&^1 != 0 || e.check() != m>>checkShift<<checkShift {
		return false
	}
	s, f := State(m&stateMask>>stateShift), Flags(m>>flagShift)
	if int(s) >= NumStates || e.w[7]&isConn == 0 {
		return false
	}
	if f&FlagTemplate == 0 && uint8(w1>>32) == protoTCP && int(s) >= numTCPStates {
		return false
	}
	seen, timeout := Tick(e.w[4]), Tick(e.w[4]>>32)
	return seen <= now+clockSlack && timeout <= Ticks(maxTimeout)
}

const (
	protoTCP = 6
	// clockSlack is how far ahead of the clock a conn may have been touched: the clock that comes after is read anew.
	clockSlack = 2 * TicksPerSecond
)

// adopt inserts a sound conn.
func (r *recovery) adopt(h *Handle, out *Recovered, old Ref, e *Entry) {
	s := e.spec()
	seen := Tick(e.w[4]) + r.Shift
	if !r.translate(out, &s) {
		return
	}
	template := s.Flags&FlagTemplate != 0
	switch {
	case !template && deadline(uint64(seen)|uint64(s.Timeout)<<32) <= uint64(r.Now):
		out.Expired++
		return
	case s.Flags&FlagUnlinked != 0:
		return // a new one is in its place; its conns go on without
	}
	s.Control = r.template(s.Control, old, &s)
	ref, res := h.Insert(&s, seen)
	if res != Inserted {
		out.refused(res)
		return
	}
	n := h.Entry(ref)
	sent := (e.w[7] + uint64(r.Shift/TicksPerSecond)) & sentMask
	atomic.StoreUint64(&n.w[7], e.w[7]&^sentMask|sent)
	if s.Control != 0 {
		h.Entry(s.Control).AddControlled(1)
	} else if !template && e.Control() != 0 {
		out.Loose++
	}
	if template {
		r.move(old, ref)
	}
	out.bind(&s)
}

// spec is what inserts the conn again. What workers noted for themselves (Aux) is left out.
func (e *Entry) spec() Spec {
	key, _ := e.keys()
	s := Spec{
		Key: key, DestAddr: [2]uint64{e.w[2] & lowHalf}, DestPort: e.DestPort(), Dest: e.Dest(), Service: e.Service(),
		State: e.State(), Flags: e.Flags(), Timeout: e.Timeout(), Control: e.Control(), Version: e.Version(),
	}
	if s.V6 {
		s.DestAddr = e.DestAddr6()
	}
	return s
}

// translate gives the conn the table's numbers; false, counted, if its service or real server is no more.
func (r *recovery) translate(out *Recovered, s *Spec) bool {
	service, dest := at(r.Services, s.Service), uint32(0)
	if service == 0 {
		out.NoService++
		return false
	}
	if s.Flags&FlagBypass == 0 {
		o, ok := r.im.dest(s.Dest)
		dest = at(r.Dests, s.Dest)
		if !ok || dest == 0 || int(dest) >= r.Limit || !o.is(s) {
			out.NoDest++
			return false
		}
	}
	s.Service, s.Dest = service, dest
	return true
}

// is reports whether a conn goes to that destination. An IPv4 conn has 32 bits of the address, whatever its family;
// the port is the destination's only where NAT maps it.
func (o *Origin) is(s *Spec) bool {
	if s.Flags.twoKeys() && o.Port != 0 && o.Port != s.DestPort {
		return false
	}
	if s.V6 {
		return o.Addr == s.DestAddr
	}
	return o.Addr[0]&lowHalf == s.DestAddr[0]&lowHalf
}

func at(list []uint32, i uint32) uint32 {
	if int(i) >= len(list) {
		return 0
	}
	return list[i]
}

// template returns where the template is now that a conn hung on: one that was recovered, of the same family and
// service. A template hangs on nothing.
func (r *recovery) template(was, old Ref, s *Spec) Ref {
	if s.Flags&FlagTemplate != 0 || was.V6() != old.V6() {
		return 0 // while templates are recovered others still make and fill what is read below
	}
	moved := r.moved[family(old)]
	if int(was&idxMask) >= len(moved) {
		return 0
	}
	if now := moved[was&idxMask]; now != 0 && r.t.Entry(now).Service() == s.Service {
		return now
	}
	return 0
}

// move notes where a template is now.
func (r *recovery) move(old, now Ref) {
	f := family(old)
	r.making.Lock()
	if r.moved[f] == nil {
		r.moved[f] = make([]Ref, [2]int{len(r.im.narrow), len(r.im.broad)}[f])
	}
	moved := r.moved[f]
	r.making.Unlock()
	moved[old&idxMask] = now
}

func family(r Ref) int {
	if r.V6() {
		return 1
	}
	return 0
}

func (r *Recovered) refused(res Result) {
	if res == Exists {
		r.Twice++
		return
	}
	r.Full++
}

// bind counts a conn for its destination.
func (r *Recovered) bind(s *Spec) {
	b := &Bound{}
	if s.Dest != 0 {
		b = &r.Bound[s.Dest]
	}
	switch {
	case s.Flags&FlagTemplate != 0:
		r.Templates++
		b.Templates++
		return
	case s.State.Active():
		b.Active++
	default:
		b.Inactive++
	}
	r.Conns++
}
