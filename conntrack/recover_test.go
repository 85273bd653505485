package conntrack

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// Numbers and names that flow's conns have: services 3, destinations 0..7 of which 0 is none.
const (
	testService = 3
	testDests   = 8
	testID      = 0xabcdef123456
)

func testOrigin(dest uint32, v6 bool) Origin {
	s := flow(0, v6, 0)
	return Origin{Service: testID, Addr: s.DestAddr, Port: s.DestPort}
}

// nameAll notes what the numbers of flow's conns mean. IPv4 has the even destinations, IPv6 the odd ones.
func nameAll(t *Table) {
	t.NameService(testService, testID)
	for id := range uint32(testDests) {
		t.NameDest(id, testOrigin(id, id%2 == 1))
	}
}

// keptFlow is flow with a destination of its family, and none that is 0.
func keptFlow(n uint64, v6 bool, f Flags) Spec {
	s := flow(n, v6, f)
	s.Dest = 2 + uint32(n%3)*2
	if v6 {
		s.Dest++
	}
	return s
}

// same translates every number into itself.
func same() Adopt {
	a := Adopt{Services: make([]uint32, testService+1), Dests: make([]uint32, testDests), Limit: testDests}
	for i := range a.Services {
		a.Services[i] = uint32(i)
	}
	for i := range a.Dests {
		a.Dests[i] = uint32(i)
	}
	return a
}

func newFile(t testing.TB) *os.File {
	t.Helper()
	f, err := NewFile()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func openImage(t testing.TB, f *os.File) *Image {
	t.Helper()
	im, err := OpenImage(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { im.Close() })
	return im
}

// populateTable gives a table conns of all kinds, removes some, and returns how many templates and others live.
func populateTable(t testing.TB, h *Handle, rng *rand.Rand, n int) (conns, templates int) {
	t.Helper()
	hang := map[bool]Ref{}
	for i := range uint64(n) {
		v6 := rng.IntN(3) == 0
		s := keptFlow(i, v6, []Flags{0, FlagNAT, FlagTUN, FlagTemplate}[rng.IntN(4)])
		if s.Flags&FlagTemplate != 0 {
			s.State, s.L4 = TemplateAssured, s.L4&^portMask|i&0xff
		} else if c := hang[v6]; c != 0 && rng.IntN(2) == 0 {
			s.Control = c
		}
		s.Version = Version(rng.Uint64N(1 << versionBits))
		r, res := h.Insert(&s, Tick(rng.IntN(400)))
		if res != Inserted {
			continue
		}
		switch {
		case s.Control != 0:
			h.Entry(s.Control).AddControlled(1)
		case s.Flags&FlagTemplate != 0:
			hang[v6] = r
		}
		h.Entry(r).SetAux(uint32(i))
		if s.Flags&FlagTemplate == 0 && s.Control == 0 && rng.IntN(4) == 0 {
			h.Delete(r)
			continue
		}
		if s.Flags&FlagTemplate != 0 {
			templates++
		} else {
			conns++
		}
	}
	h.Quiesce()
	return conns, templates
}

// contents is what a table has that must survive, by key.
func contents(t *Table) map[string]string {
	all := map[string]string{}
	t.Walk(func(r Ref, e *Entry, i Info) bool {
		control := ""
		if i.Control != 0 {
			control = fmt.Sprint(t.Entry(i.Control).Key())
		}
		all[fmt.Sprint(e.Key())] = fmt.Sprint(i.Dest, i.State, i.Flags&^FlagNoReply, i.DestID, i.ServiceID, i.Seen, i.Timeout,
			i.Controlled, control, e.Version())
		return true
	})
	return all
}

// wellFormed fails unless everything in the table is found by its keys, and counts agree.
func wellFormed(t testing.TB, table *Table, got Recovered) {
	t.Helper()
	h := table.Worker(0)
	defer h.Park()
	conns, templates, bound := 0, 0, make([]Bound, len(got.Bound))
	controlled, hung := map[Ref]int{}, map[Ref]int{}
	table.Walk(func(r Ref, e *Entry, i Info) bool {
		fwd, reply := e.keys()
		if h.FindKey(&fwd) != r {
			t.Errorf("conn %+v is not found by its key", fwd)
		}
		if back := h.FindKey(&reply); i.Flags.twoKeys() && i.Flags&FlagNoReply == 0 && back.Conn() != r {
			t.Errorf("conn %+v is not found by its reply key", fwd)
		}
		b := &bound[i.DestID]
		switch {
		case i.Flags&FlagTemplate != 0:
			templates++
			b.Templates++
			controlled[r] = i.Controlled
		case i.State.Active():
			conns++
			b.Active++
		default:
			conns++
			b.Inactive++
		}
		if i.Control != 0 {
			hung[i.Control]++
		}
		return true
	})
	for r, n := range controlled {
		if hung[r] != n {
			t.Errorf("template %#x counts %d conns, %d hang on it", r, n, hung[r])
		}
		delete(hung, r)
	}
	if len(hung) != 0 {
		t.Errorf("conns hang on what is no template: %v", hung)
	}
	bound[0] = Bound{} // of conns without a real server
	if s := table.Stats(); conns != got.Conns || templates != got.Templates || s.Conns != conns+templates ||
		s.Templates != templates || !slices.Equal(bound, got.Bound) {
		t.Errorf("%d conns and %d templates are there, bound %v; recovered %+v, stats %+v", conns, templates, bound, got, s)
	}
}

func TestATableIsFoundAgainInItsFile(t *testing.T) {
	rng := seeded(t)
	f := newFile(t)
	table := newTable(t, Options{Bits: 12, Keep: Keep{File: f, Base: 77, Generation: 4}})
	nameAll(table)
	conns, templates := populateTable(t, table.Worker(0), rng, 5000)
	table.Beat(99)
	im := openImage(t, f) // the process is gone: nothing was closed, nothing was written last
	if im.Base() != 77 || im.Generation() != 4 || im.Beat() != 99 {
		t.Errorf("base %d, generation %d, beat %d", im.Base(), im.Generation(), im.Beat())
	}
	// Another size, another number of workers.
	next := newTable(t, Options{Bits: 9, Workers: 3, Keep: Keep{File: newFile(t)}})
	o := same()
	o.Now = 400
	got := next.Recover(im, o)
	if got.Conns != conns || got.Templates != templates || got.Dropped() != 0 || got.Expired != 0 || got.Loose != 0 {
		t.Errorf("recovered %+v, want %d and %d", got, conns, templates)
	}
	wellFormed(t, next, got)
	before, after := contents(table), contents(next)
	for k, v := range before {
		if after[k] != v {
			t.Fatalf("%s was %s and is %s", k, v, after[k])
		}
	}
	goOn(t, next, rng)
}

// goOn uses a recovered table as workers do.
func goOn(t *testing.T, table *Table, rng *rand.Rand) {
	t.Helper()
	for i := range table.handles {
		h := table.Worker(i)
		for n := range uint64(2000) {
			s := keptFlow(1<<20+n<<4+uint64(i), rng.IntN(2) == 0, FlagNAT)
			mustInsert(t, h, s, 400)
		}
		h.Quiesce()
		h.Park()
	}
	h := table.Worker(0)
	for h.t.Stats().Conns > 0 {
		h.Advance(1<<30, 1<<20, sweepAll{})
		h.Quiesce()
		for i := 1; i < len(table.handles); i++ {
			o := table.Worker(i)
			o.Park()
		}
	}
}

// sweepAll ends whatever is past its time.
type sweepAll struct{}

func (sweepAll) Expired(Ref, *Entry) bool { return true }

func TestWhatIsNotConfiguredAnyMoreIsDroppedAndCounted(t *testing.T) {
	f := newFile(t)
	table := newTable(t, Options{Bits: 8, Keep: Keep{File: f}})
	nameAll(table)
	h := table.Worker(0)
	insert := func(n uint64, change func(*Spec)) {
		s := keptFlow(n, false, 0)
		s.Timeout = 100
		change(&s)
		mustInsert(t, h, s, 10)
	}
	insert(0, func(s *Spec) { s.Dest = 2 })
	insert(1, func(s *Spec) { s.Dest = 4 })                       // removed
	insert(2, func(s *Spec) { s.Service = 2 })                    // removed
	insert(3, func(s *Spec) { s.Dest = 700 })                     // never was
	insert(4, func(s *Spec) { s.DestAddr[0]++ })                  // not where its real server is
	insert(5, func(s *Spec) { s.Timeout = 1 })                    // over
	insert(6, func(s *Spec) { s.Flags, s.Dest = FlagBypass, 0 })  // needs no real server
	insert(7, func(s *Spec) { s.Flags, s.DestPort = FlagNAT, 9 }) // not the port it maps to
	o := same()
	o.Now, o.Dests[4], o.Dests[2], o.Services[2] = 50, 0, 6, 0
	next := newTable(t, Options{Bits: 8, Heap: true})
	got := next.Recover(openImage(t, f), o)
	want := Recovered{Conns: 2, NoService: 1, NoDest: 4, Expired: 1, Bound: make([]Bound, testDests)}
	want.Bound[6].Active = 1
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	wellFormed(t, next, got)
}

func TestTheClockGoesOnWhereItWas(t *testing.T) {
	f := newFile(t)
	table := newTable(t, Options{Bits: 8, Keep: Keep{File: f}})
	nameAll(table)
	s := keptFlow(1, false, 0)
	r := mustInsert(t, table.Worker(0), s, 100)
	table.Entry(r).SetVersion(9, 96)
	o := same()
	o.Now, o.Shift = 1000+160, 1000
	next := newTable(t, Options{Bits: 8, Heap: true})
	next.Recover(openImage(t, f), o)
	h := next.Worker(0)
	e := h.Entry(lookup(t, h, &s.Key))
	if left := e.Remaining(o.Now); left != s.Timeout-60 || e.SinceSent(o.Now) != 64 || e.Version() != 9 {
		t.Errorf("%d ticks left of %d, sent %d ago, version %d", left, s.Timeout, e.SinceSent(o.Now), e.Version())
	}
}

func TestTheNewestOfThoseWithOneReplyKeyKeepsIt(t *testing.T) {
	f := newFile(t)
	table := newTable(t, Options{Bits: 8, Keep: Keep{File: f}})
	nameAll(table)
	h := table.Worker(0)
	var keys []Key
	for i := range uint64(4) { // one client port, four VIPs, one real server
		s := keptFlow(1, false, FlagNAT)
		s.Dest, s.Addr[0] = 2, s.Addr[0]+i<<40
		mustInsert(t, h, s, 0)
		keys = append(keys, s.Key)
	}
	s := keptFlow(1, false, FlagNAT)
	reply := s.replyKey()
	next := newTable(t, Options{Bits: 8, Heap: true})
	got := next.Recover(openImage(t, f), same())
	n := next.Worker(0)
	for i := len(keys) - 1; i >= 0; i-- {
		r := n.FindKey(&reply)
		if i == len(keys)-1 && next.Entry(r).Key() != keys[i] {
			t.Errorf("the reply key is %+v's", next.Entry(r).Key())
		}
		if r == 0 || !n.Delete(r.Conn()) {
			t.Fatalf("%d conns left, none has the reply key (%+v)", i+1, got)
		}
	}
}

func TestAFileThatIsNoTablesIsRefused(t *testing.T) {
	f := newFile(t)
	table := newTable(t, Options{Bits: 8, Keep: Keep{File: f}})
	nameAll(table)
	header := table.kept.header
	saved := slices.Clone(header)
	for word := range 5 {
		copy(header, saved)
		header[word] ^= 1 << 20
		if _, err := OpenImage(f); !errors.Is(err, ErrImage) {
			t.Errorf("word %d changed: %v", word, err)
		}
	}
	copy(header, saved)
	header[1]++
	header[4] = headerSum(header)
	if _, err := OpenImage(f); !errors.Is(err, ErrImage) {
		t.Errorf("another version: %v", err)
	}
	for _, size := range []int64{0, 8, fileSize - 1} {
		g, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		_ = g.Truncate(size)
		if _, err := OpenImage(g); !errors.Is(err, ErrImage) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if _, err := OpenImage(newFile(t)); !errors.Is(err, ErrImage) {
		t.Errorf("an empty file: %v", err)
	}
}
