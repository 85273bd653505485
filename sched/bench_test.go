package sched

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"ulvs/lvs"
	"ulvs/packet"
)

// someDests makes n destinations with weights 1 to 8, newest first.
func someDests(n int) []lvs.Destination {
	list := make([]lvs.Destination, n)
	for i := range list {
		id := n - i
		list[i] = lvs.Destination{
			ID: lvs.DestID(id), Port: 80, Weight: int32(id%8 + 1), Load: new(lvs.Load),
			Addr: netip.AddrFrom4([4]byte{10, 1, byte(id >> 8), byte(id)}),
		}
	}
	return list
}

// someTuples makes n flows of different clients and destination addresses.
func someTuples(n int) []packet.Tuple {
	r := rand.New(rand.NewPCG(1, 2))
	tuples := make([]packet.Tuple, n)
	for i := range tuples {
		src := netip.AddrFrom4([4]byte{172, 16, byte(r.Uint32()), byte(r.Uint32())})
		dst := netip.AddrFrom4([4]byte{10, 0, byte(r.Uint32()), byte(r.Uint32())})
		tuples[i] = packet.Tuple{Src: src.As16(), Dst: dst.As16(), SrcPort: uint16(r.Uint32()), DstPort: 80}
	}
	return tuples
}

func newUpdated(tb testing.TB, name string, list []lvs.Destination) *Scheduler {
	tb.Helper()
	s, err := New(name, 0, Options{})
	if err == nil {
		err = s.Update(list)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// load is what a worker does around a pick: bind the new session, and end one of
// the last window so that the counts stay level. It is half of what a pick costs on long lists.
type load struct {
	byID []*lvs.Load
	ring [1024]*lvs.Load
	at   int
}

func newLoad(list []lvs.Destination) *load {
	l := &load{byID: make([]*lvs.Load, len(list)+1)}
	for i := range list {
		l.byID[list[i].ID] = list[i].Load
	}
	return l
}

func (l *load) bind(id lvs.DestID) {
	d := l.byID[id]
	d.Bind(true)
	if old := l.ring[l.at]; old != nil {
		old.Unbind(true)
	}
	l.ring[l.at] = d
	l.at = (l.at + 1) % len(l.ring)
}

// BenchmarkPick is the pick alone on counts that do not change; BenchmarkSession
// binds and unbinds a session around every pick.
func BenchmarkPick(b *testing.B) { benchmark(b, false) }

// BenchmarkSession is BenchmarkPick with the counting.
func BenchmarkSession(b *testing.B) { benchmark(b, true) }

func benchmark(b *testing.B, sessions bool) {
	tuples := someTuples(1024)
	for _, name := range Names() {
		for _, n := range []int{10, 10_000} {
			if name == "none" || name == "mh" && n > 4093 {
				continue
			}
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				list := someDests(n)
				s, l := newUpdated(b, name, list), newLoad(list)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					id, ok := s.Pick(&tuples[i%len(tuples)], 0)
					if ok && sessions {
						l.bind(id)
					}
				}
			})
		}
	}
}

// BenchmarkUpdate is one weight edit.
func BenchmarkUpdate(b *testing.B) {
	for _, name := range []string{"rr", "wlc", "mh", "lblcr"} {
		for _, n := range []int{10, 4000} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				list := someDests(n)
				s := newUpdated(b, name, list)
				for i := 0; b.Loop(); i++ {
					list[n/2].Weight = int32(i%8 + 1)
					if err := s.Update(list); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
