package sched

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

// source gives the choices of a trial: random numbers, or a fuzzer's bytes.
type source interface {
	// below returns a number in [0, n).
	below(n int) int
	// empty ends the trial.
	empty() bool
}

type seeded struct {
	*rand.Rand
	steps int
}

func (s *seeded) below(n int) int { return s.IntN(n) }

func (s *seeded) empty() bool { s.steps--; return s.steps < 0 }

type fuzzed struct{ data []byte }

func (f *fuzzed) below(n int) int {
	if len(f.data) == 0 {
		return 0
	}
	v := f.data[0]
	f.data = f.data[1:]
	return int(v) % n
}

func (f *fuzzed) empty() bool { return len(f.data) == 0 }

// trial drives a scheduler and its model with the same operations.
type trial struct {
	source
	t      *testing.T
	s      *Scheduler
	m      *model
	all    []*server // present or not
	conns  []conn
	now    int64
	nextID lvs.DestID
	limit  int     // servers
	gone   *server // deleted since the last Update, which cannot see it come back
	log    []string
}

type conn struct {
	load   *lvs.Load
	active bool
}

func newTrial(t *testing.T, name string, flags lvs.SchedFlags, src source) *trial {
	ours, theirs := rand.New(rand.NewPCG(1, 1)), rand.New(rand.NewPCG(1, 1))
	s, err := New(name, flags, Options{Rand: ours.Uint64N, Expiration: modelExpiration})
	if err != nil {
		t.Fatal(err)
	}
	return &trial{source: src, t: t, s: s, m: newModel(name, flags, theirs.Uint64N), limit: 40}
}

func (r *trial) run() {
	for !r.empty() {
		switch op := r.below(32); {
		case op == 0:
			r.edits(0, 0, 1)
		case op == 1:
			r.edits(1, 0, 0)
		case op == 2:
			r.edits(0, 1, 0)
		case op == 3:
			r.edits(r.below(4), r.below(4), r.below(12))
		case op < 20:
			r.request()
		case op < 28:
			r.end()
		case op < 31:
			r.move()
		default:
			r.now += int64(r.below(3) * r.below(1500))
		}
	}
}

// edits deletes, changes and adds that many servers and updates the scheduler
// once; the model goes through the kernel's sequence.
func (r *trial) edits(dels, changes, adds int) {
	r.note("edit")
	for ; dels > 0 && len(r.m.list) > 0; dels-- {
		// From the front on, as an Update takes them: delete among the first ones.
		s := r.m.list[r.below(len(r.m.list))]
		r.m.del(s)
		r.gone = s
		if dels > 1 {
			r.update() // the order of deletions is not ours to choose
		}
	}
	for i := range r.m.list {
		if changes > 0 && r.below(len(r.m.list)) < changes {
			s := r.m.list[i]
			s.Upper, s.Lower = r.thresholds()
			s.Load.SetThresholds(s.Upper, s.Lower)
			r.m.edit(s, r.weight(s.Weight))
		}
	}
	for ; adds > 0 && len(r.m.list) < r.limit; adds-- {
		r.m.add(r.absent())
	}
	r.update()
}

// weight is rarely 0, and never what it was, or an Update would not see the edit.
func (r *trial) weight(old int32) int32 {
	w := int32(max(0, r.below(12)-1)) * []int32{1, 2, 10}[r.below(3)]
	if w == old {
		return old + 1
	}
	return w
}

func (r *trial) thresholds() (upper, lower uint32) {
	if r.below(3) != 0 {
		return 0, 0
	}
	upper = uint32(r.below(6) + 1)
	return upper, uint32(r.below(int(upper)))
}

// absent revives a deleted server, under a new id when it has no sessions, or makes one.
func (r *trial) absent() *server {
	for _, s := range r.all {
		if !s.deleted || s == r.gone || r.below(2) == 0 {
			continue
		}
		if !s.Load.InUse() && r.below(2) == 0 {
			r.nextID++
			s.ID = r.nextID
		}
		s.Weight = r.weight(s.Weight)
		return s
	}
	return r.fresh()
}

func (r *trial) fresh() *server {
	r.nextID++
	n := len(r.all)
	s := &server{Destination: lvs.Destination{
		ID: r.nextID, Addr: netip.AddrFrom4([4]byte{10, 9, byte(n >> 8), byte(n)}), Port: 80,
		Weight: r.weight(-1), Load: new(lvs.Load),
	}}
	r.all = append(r.all, s)
	return s
}

func (r *trial) update() {
	r.gone = nil
	if err := r.s.Update(r.m.destinations()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *trial) request() {
	t := packet.Tuple{SrcPort: uint16(r.below(200)), DstPort: 80, Proto: lvs.ProtoTCP}
	src, dst := byte(r.below(50)), byte(r.below(20))
	if r.below(4) == 0 {
		t.Src, t.Dst = [16]byte{0x20, 1, 5: src, 15: 1}, [16]byte{0x20, 1, 6: dst, 15: 9}
	} else {
		t.Src, t.Dst = netip.AddrFrom4([4]byte{172, 16, 0, src}).As16(), netip.AddrFrom4([4]byte{10, 0, 0, dst}).As16()
	}
	want := r.m.pick(&t, r.now)
	id, ok := r.s.Pick(&t, r.now)
	if ok != (want != nil) || ok && id != want.ID {
		r.fail(id, ok, want)
	}
	if want == nil {
		return
	}
	c := conn{want.Load, r.below(4) != 0}
	c.load.Bind(c.active)
	r.conns = append(r.conns, c)
	r.note(fmt.Sprint("pick ", id))
}

func (r *trial) fail(id lvs.DestID, ok bool, want *server) {
	r.t.Helper()
	for _, s := range r.m.list {
		r.t.Logf("id %d weight %d active %d inactive %d overloaded %v", s.ID, s.Weight,
			s.Load.Active(), s.Load.Inactive(), s.Load.Overloaded())
	}
	r.t.Fatalf("got %d %v, want %+v\nlatest: %s", id, ok, want, strings.Join(r.log, ", "))
}

func (r *trial) end() {
	if len(r.conns) == 0 {
		return
	}
	i := r.below(len(r.conns))
	r.conns[i].load.Unbind(r.conns[i].active)
	r.conns[i] = r.conns[len(r.conns)-1]
	r.conns = r.conns[:len(r.conns)-1]
}

func (r *trial) move() {
	if len(r.conns) == 0 {
		return
	}
	c := &r.conns[r.below(len(r.conns))]
	c.active = !c.active
	c.load.Move(c.active)
}

func (r *trial) note(s string) {
	if r.log = append(r.log, s); len(r.log) > 30 {
		r.log = r.log[1:]
	}
}

var flagSets = []lvs.SchedFlags{0, lvs.SchedFallback, lvs.SchedPort, lvs.SchedFallback | lvs.SchedPort}

func TestEverySchedulerChoosesWhatItsModelChooses(t *testing.T) {
	seed := testutil.Seed(t)
	for i, name := range Names()[:len(Names())-1] {
		for run := range 12 {
			t.Run(fmt.Sprintf("%s/%d", name, run), func(t *testing.T) {
				src := &seeded{rand.New(rand.NewPCG(seed, uint64(i*100+run))), testutil.Rounds(3000)}
				if name == "mh" {
					src.steps = testutil.Rounds(600) // its model is slow
				}
				r := newTrial(t, name, flagSets[run%4], src)
				r.limit = []int{3, 12, 40}[run%3]
				r.run()
			})
		}
	}
}

func TestTenThousandRealServersAreChosenAsByAScan(t *testing.T) {
	seed := testutil.Seed(t)
	for _, name := range []string{"lc", "wlc", "sed", "nq", "fo", "ovf", "twos", "lblc", "lblcr", "rr", "wrr"} {
		t.Run(name, func(t *testing.T) {
			r := newTrial(t, name, 0, &seeded{rand.New(rand.NewPCG(seed, 7)), 0})
			for range 9_999 {
				r.m.list = append(r.m.list, r.fresh())
			}
			r.m.add(r.fresh()) // the first edit that the model hears of
			if err := r.s.Bind(r.m.destinations()); err != nil {
				t.Fatal(err)
			}
			for range testutil.Rounds(300) {
				for range 20 {
					r.move()
				}
				r.request()
				if r.below(3) == 0 {
					r.end()
				}
			}
		})
	}
}

func FuzzOperations(f *testing.F) {
	for i := range table {
		f.Add(byte(i), byte(i), []byte("\x03\x00\x00\x0b123456789 adding some servers, then picking and ending"))
	}
	f.Fuzz(func(t *testing.T, name, flags byte, data []byte) {
		const longest = 2000
		if len(data) > longest {
			return
		}
		n := int(name) % (len(table) - 1)
		newTrial(t, table[n].name, lvs.SchedFlags(flags), &fuzzed{data}).run()
	})
}
