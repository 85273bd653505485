package sched

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"ulvs/lvs"
)

func TestPickAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	tuples := someTuples(64)
	for _, name := range Names() {
		for _, n := range []int{0, 1, 10, 100} {
			list := someDests(n)
			s, l, now := newUpdated(t, name, list), newLoad(list), int64(0)
			allocs := testing.AllocsPerRun(2000, func() {
				now++
				if id, ok := s.Pick(&tuples[now%64], now*7); ok {
					l.bind(id)
				}
			})
			if allocs != 0 {
				t.Errorf("%s over %d real servers: %v allocations per pick", name, n, allocs)
			}
		}
	}
}

// TestWorkersPickWhileTheListChanges lets the race detector look, and checks that
// a pick is always of a destination that is or was in the list.
func TestWorkersPickWhileTheListChanges(t *testing.T) {
	for _, name := range Names() {
		for _, n := range []int{8, 60} {
			t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) { hammer(t, name, n) })
		}
	}
}

func hammer(t *testing.T, name string, n int) {
	list := someDests(n)
	for i := range list {
		list[i].Upper = 50
		list[i].Load.SetThresholds(50, 0)
	}
	s := newUpdated(t, name, list)
	var stop atomic.Bool
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() { work(t, s, list, &stop) })
	}
	for i := range 60 {
		next := append([]lvs.Destination(nil), list[i%n/2:]...)
		next[i%len(next)].Weight = int32(i % 5)
		if err := s.Update(next); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	workers.Wait()
	if err := s.Update(list); err != nil {
		t.Fatal(err)
	}
	settled(t, name, s, list)
}

func work(t *testing.T, s *Scheduler, list []lvs.Destination, stop *atomic.Bool) {
	tuples, l := someTuples(256), newLoad(list)
	for i := 0; !stop.Load(); i++ {
		id, ok := s.Pick(&tuples[i%256], int64(i))
		if !ok {
			continue
		}
		if id == 0 || int(id) > len(list) {
			t.Errorf("picked id %d of %d", id, len(list))
			return
		}
		l.bind(id)
	}
	for _, d := range l.ring {
		if d != nil {
			d.Unbind(true)
		}
	}
}

// settled checks that no change of a count got lost on the way: once all is
// quiet, the choice is again the scan's.
func settled(t *testing.T, name string, s *Scheduler, list []lvs.Destination) {
	m := newModel(name, 0, nil)
	switch name {
	case "lc", "wlc", "sed", "nq", "fo", "ovf":
	default:
		return
	}
	for i := range list {
		m.list = append(m.list, &server{Destination: list[i]})
	}
	for range 200 {
		id, ok := s.Pick(nil, 0)
		want := m.pick(nil, 0)
		if ok != (want != nil) || ok && id != want.ID {
			t.Fatalf("after the storm: got %d %v, want %+v", id, ok, want)
		}
		if !ok {
			return
		}
		list[len(list)-int(id)].Load.Bind(true)
	}
}
