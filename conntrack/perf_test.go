package conntrack

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"ulvs/packet"
)

func TestTheHotPathAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	table := newTable(t, Options{Bits: 12})
	h := table.Worker(0)
	for i := range uint64(3000) {
		mustInsert(t, h, flow(i, i%2 == 0, FlagNAT), 0)
	}
	var frames [2][maxBatch]packet.Parsed
	for i := range maxBatch {
		a, b := flow(uint64(2*i+1), false, 0), flow(uint64(2*i), true, 0)
		frames[0][i], frames[1][i] = frame(&a.Key), frame(&b.Key)
	}
	var refs [maxBatch]Ref
	n := uint64(10_000)
	sw := keepAll{}
	allocs := testing.AllocsPerRun(200, func() {
		for f := range frames {
			h.Find(frames[f][:], refs[:])
		}
		for range 32 {
			n++
			s := flow(n, n%2 == 0, FlagNAT)
			r, _ := h.Insert(&s, 0)
			h.Entry(r).SetState(TCPSynRecv, NextTCP(Input, TCPSynRecv, 16))
			h.Entry(r).Touch(Tick(n), 5)
			h.Delete(h.FindKey(&s.Key))
		}
		h.Advance(1<<31, 512, sw)
		h.Quiesce()
		h.Park()
		h.Unpark()
	})
	if allocs != 0 {
		t.Errorf("%v allocations per batch", allocs)
	}
}

// TestSmallAccessorsAreInlined asks the compiler, because a call costs more than what they do.
func TestSmallAccessorsAreInlined(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the package")
	}
	out, err := exec.Command("go", "build", "-gcflags=-m", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("ask the compiler: %v\n%s", err, out)
	}
	for _, name := range []string{
		"(*Table).Entry", "(*Handle).Entry", "(*Entry).Live", "(*Entry).State", "(*Entry).Flags", "(*Entry).Seen",
		"(*Entry).Timeout", "(*Entry).Touch", "(*Entry).Expired", "(*Entry).Dest", "(*Entry).Service",
		"(*Entry).DestAddr4", "(*Entry).DestAddr6", "(*Entry).DestPort", "(*Entry).VIP4", "(*Entry).VIPPort",
		"(*Entry).Control", "(*Entry).Aux", "(*Timeouts).Of", "NextTCP", "Ref.Reply", "Ref.Conn",
		"(*seeds).hash4", "view.bucket", "(*index).home", "settled",
	} {
		if !strings.Contains(string(out), "can inline "+name+"\n") {
			t.Errorf("%s is not inlined", name)
		}
	}
}

// TestBytesPerConn fills the index to exactly 75 % and divides.
func TestBytesPerConn(t *testing.T) {
	bits := uint8(20)
	if raceEnabled || testing.Short() {
		bits = 14
	}
	for _, c := range []struct {
		name  string
		f     Flags
		slots int
		most  float64
	}{{"DR", 0, 1, 80}, {"NAT", FlagNAT, 2, 96}} {
		table := newTable(t, Options{Bits: bits, Seed: 5})
		h := table.Worker(0)
		n := slotsPerBucket << (bits - 2) * 3 / 4 / c.slots
		for i := range n {
			mustInsert(t, h, flow(uint64(i), false, c.f), 0)
		}
		h.Quiesce()
		s := table.Stats()
		per := float64(s.Bytes) / float64(s.Conns)
		t.Logf("%s: %.1f bytes per conn, %d conns, load %.1f %%, %d overflow buckets, %.1f MiB ahead",
			c.name, per, s.Conns, 100*float64(s.Slots)/float64(s.Capacity), s.Overflow, float64(s.Ahead)/(1<<20))
		if s.Grown != 0 || per > c.most {
			t.Errorf("%s: %.1f bytes per conn, want %.0f at most (%+v)", c.name, per, c.most, s)
		}
	}
}

// TestAFreshTableCommitsLittle: gigabytes are reserved, megabytes are used.
func TestAFreshTableCommitsLittle(t *testing.T) {
	before := resident(t)
	table := newTable(t, Options{})
	h := table.Worker(0)
	mustInsert(t, h, flow(1, true, 0), 0)
	mustInsert(t, h, flow(1, false, 0), 0)
	table.populate(1000) // what the background would do
	h.Quiesce()
	got := resident(t) - before
	t.Logf("%d MiB resident, %+v", got>>20, table.Stats())
	if got > 64<<20 {
		t.Errorf("%d MiB for two conns", got>>20)
	}
}

// resident is this process's resident bytes.
func resident(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
