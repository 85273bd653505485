package sched

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"ulvs/lvs"
	"ulvs/packet"
)

// vectorFile is a recording of what a kernel chose. Files of the folder without
// a scheduler are about something else.
type vectorFile struct {
	Scheduler string
	Proto     string // tcp when absent
	Cases     []vectorCase
}

type vectorCase struct {
	Name  string
	Flags []string
	Dests []vectorDest
	Steps []vectorStep
	Final map[string]struct{ Active, Inactive int32 }
	Table string         `json:"table256"`
	Share map[string]int `json:"mh_table_share_final"`
	First string         `json:"mh_table_first64_final"`
	Proto string
}

type vectorDest struct {
	ID     string
	Addr   netip.Addr
	Port   uint16
	Weight int32
	U, L   uint32
}

type vectorStep struct {
	Op     string
	Src    netip.Addr
	Sport  uint16
	Dst    netip.Addr
	Expect *string
	Rnd    []uint64
	Conn   int
	Dest   json.RawMessage // a name, or for add a vectorDest
	Weight int32
	U, L   *uint32 // of a weight step that changes the thresholds too
}

// TestVectors replays testdata, or the folder that ULVS_VECTORS names.
func TestVectors(t *testing.T) {
	dir := "testdata"
	if d := os.Getenv("ULVS_VECTORS"); d != "" {
		if dir = d; !filepath.IsAbs(d) {
			dir = filepath.Join("..", d) // as seen from where "go test ./sched" is called, the repository
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s: %v", dir, err)
	}
	cases := 0
	for _, name := range files {
		cases += replayFile(t, name)
	}
	if cases == 0 {
		t.Fatalf("%s has no scheduler vectors", dir)
	}
}

func replayFile(t *testing.T, name string) int {
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var head struct{ Scheduler string }
	if json.Unmarshal(text, &head) != nil || head.Scheduler == "" {
		return 0
	}
	var f vectorFile
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, c := range f.Cases {
		t.Run(f.Scheduler+"/"+c.Name, func(t *testing.T) { newReplay(t, &f, c).run() })
	}
	return len(f.Cases)
}

// replay is one case under way.
type replay struct {
	t      *testing.T
	c      vectorCase
	udp    bool
	s      *Scheduler
	list   []lvs.Destination // newest first
	names  []string          // by DestID
	loads  map[string]*lvs.Load
	conns  []*lvs.Load // nil: was refused
	random []uint64
}

func newReplay(t *testing.T, f *vectorFile, c vectorCase) *replay {
	r := &replay{t: t, c: c, names: []string{""}, loads: map[string]*lvs.Load{}}
	r.udp = f.Proto == "udp" || c.Proto == "udp"
	var flags lvs.SchedFlags
	for _, name := range c.Flags {
		switch name {
		case "sh-fallback", "mh-fallback", "flag-1":
			flags |= lvs.SchedFallback
		case "sh-port", "mh-port", "flag-2":
			flags |= lvs.SchedPort
		default:
			t.Fatalf("unknown flag %q", name)
		}
	}
	s, err := New(f.Scheduler, flags, Options{Rand: r.rand})
	if err != nil {
		t.Fatal(err)
	}
	r.s = s
	return r
}

func (r *replay) rand(n uint64) uint64 {
	if len(r.random) == 0 {
		r.t.Fatal("the vector has no more random numbers")
	}
	v := r.random[0]
	r.random = r.random[1:]
	if v >= n {
		r.t.Fatalf("random number %d asked below %d", v, n)
	}
	return v
}

func (r *replay) run() {
	for _, d := range r.c.Dests {
		r.add(d)
	}
	for i, step := range r.c.Steps {
		r.step(i, step)
	}
	for name, want := range r.c.Final {
		l := r.loads[name]
		if l.Active() != want.Active || l.Inactive() != want.Inactive {
			r.t.Errorf("%s ends with %d active, %d inactive, want %+v", name, l.Active(), l.Inactive(), want)
		}
	}
	r.tables()
}

func (r *replay) step(i int, step vectorStep) {
	switch step.Op {
	case "req":
		r.request(i, step)
	case "ack": // SYN_RECV and ESTABLISHED are both active
	case "fin":
		if l := r.conns[step.Conn]; l != nil && !r.udp {
			l.Move(false)
		}
	case "weight":
		d := &r.list[r.find(step.Dest)]
		d.Weight = step.Weight
		if step.U != nil && step.L != nil {
			d.Upper, d.Lower = *step.U, *step.L
			d.Load.SetThresholds(d.Upper, d.Lower)
		}
		r.update()
	case "del":
		at := r.find(step.Dest)
		r.list = append(r.list[:at:at], r.list[at+1:]...)
		r.update()
	case "add":
		var d vectorDest
		if err := json.Unmarshal(step.Dest, &d); err != nil {
			r.t.Fatal(err)
		}
		r.add(d)
	default:
		r.t.Fatalf("step %d: unknown op %q", i, step.Op)
	}
}

func (r *replay) request(i int, step vectorStep) {
	tuple := packet.Tuple{Src: step.Src.As16(), Dst: step.Dst.As16(), SrcPort: step.Sport, DstPort: 80}
	r.random = step.Rnd
	got, want := "none", "none"
	if step.Expect != nil {
		want = *step.Expect
	}
	id, ok := r.s.Pick(&tuple, int64(i))
	if ok {
		got = r.names[id]
	}
	if got != want {
		r.t.Fatalf("step %d (%s:%d to %s): got %s, want %s", i, step.Src, step.Sport, step.Dst, got, want)
	}
	var l *lvs.Load
	if ok {
		l = r.loads[got]
		l.Bind(!r.udp)
	}
	r.conns = append(r.conns, l)
}

// add revives the id and the counts of a destination that was there before.
func (r *replay) add(v vectorDest) {
	if r.loads[v.ID] == nil {
		r.loads[v.ID] = new(lvs.Load)
		r.names = append(r.names, v.ID)
	}
	d := lvs.Destination{Addr: v.Addr, Port: v.Port, Weight: v.Weight, Upper: v.U, Lower: v.L, Load: r.loads[v.ID]}
	for id, name := range r.names {
		if name == v.ID {
			d.ID = lvs.DestID(id)
		}
	}
	d.Load.SetThresholds(v.U, v.L)
	r.list = append([]lvs.Destination{d}, r.list...)
	r.update()
}

func (r *replay) update() {
	if err := r.s.Update(r.list); err != nil {
		r.t.Fatal(err)
	}
}

func (r *replay) find(raw json.RawMessage) int {
	var name string
	err := json.Unmarshal(raw, &name)
	for i := range r.list {
		if err == nil && r.names[r.list[i].ID] == name {
			return i
		}
	}
	r.t.Fatal(errors.Join(errors.New("no destination "+string(raw)), err))
	return 0
}

// tables compares the hashing schedulers' tables, of which the recording has all or parts.
func (r *replay) tables() {
	var b *buckets
	switch p := r.s.policy.(type) {
	case *dh:
		b = p.table.Load()
	case *sh:
		b = p.table.Load()
	case *mh:
		b = p.table.Load()
	default:
		return
	}
	text, share := "", map[string]int{}
	for _, pos := range b.slots {
		name := r.names[b.dests[pos].id]
		text += name
		share[name]++
	}
	if r.c.Table != "" && text != r.c.Table {
		r.t.Errorf("table is\n%s, want\n%s", text, r.c.Table)
	}
	if r.c.First != "" && text[:len(r.c.First)] != r.c.First {
		r.t.Errorf("table starts with\n%.64s, want\n%s", text, r.c.First)
	}
	for name, want := range r.c.Share {
		if share[name] != want {
			r.t.Errorf("%s has %d slots, want %d", name, share[name], want)
		}
	}
}
