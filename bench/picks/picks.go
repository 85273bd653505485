// Package picks drives the schedulers by themselves: what it costs to choose a real server among many, with
// sessions that come and go, and what an edit of the list costs.
//
// It owns the made-up lists and clients. It does not time anything (package measure does).
package picks

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"ulvs/lvs"
	"ulvs/packet"
	"ulvs/sched"
)

// MaxServers is the longest list.
const MaxServers = 60_000

// living is how many sessions there are at a time.
const living = 1024

// Bed is a scheduler with a list of real servers and sessions on them.
type Bed struct {
	scheduler *sched.Scheduler
	list      []lvs.Destination
	clients   []packet.Tuple
	loads     []*lvs.Load // by id
	sessions  [living]*lvs.Load
	at        int
	edits     int
}

// Names are the schedulers that pick.
func Names() (names []string) {
	for _, name := range sched.Names() {
		if name != "none" {
			names = append(names, name)
		}
	}
	return names
}

// New makes a list of n servers with weights 1 to 8. The error says when a scheduler takes no list so long.
func New(scheduler string, n int) (*Bed, error) {
	if n < 1 || n > MaxServers {
		return nil, fmt.Errorf("servers %d: want 1 to %d", n, MaxServers)
	}
	index := 0
	if scheduler == "mh" && n > 4000 {
		index = 17 // its table has to be larger than the list
	}
	s, err := sched.New(scheduler, 0, sched.Options{TableIndex: index})
	if err != nil {
		return nil, fmt.Errorf("picks: %w", err)
	}
	b := &Bed{scheduler: s, list: servers(n), clients: clients(), loads: make([]*lvs.Load, n+1)}
	for i := range b.list {
		if scheduler == "ovf" {
			b.list[i].Weight *= living // its weight is how many sessions a server takes
		}
	}
	for i := range b.list {
		b.loads[b.list[i].ID] = b.list[i].Load
	}
	if err := s.Update(b.list); err != nil {
		return nil, fmt.Errorf("picks: %s with %d servers: %w", scheduler, n, err)
	}
	return b, nil
}

// servers makes n, newest first.
func servers(n int) []lvs.Destination {
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

func clients() []packet.Tuple {
	r := rand.New(rand.NewPCG(1, 2))
	list := make([]packet.Tuple, living)
	for i := range list {
		src := netip.AddrFrom4([4]byte{172, 16, byte(r.Uint32()), byte(r.Uint32())})
		dst := netip.AddrFrom4([4]byte{10, 0, byte(r.Uint32()), byte(r.Uint32())})
		list[i] = packet.Tuple{Src: src.As16(), Dst: dst.As16(), SrcPort: uint16(r.Uint32()), DstPort: 80}
	}
	return list
}

// Pick chooses n times and counts nothing.
func (b *Bed) Pick(n int) error {
	for i := range n {
		if _, ok := b.scheduler.Pick(&b.clients[i%living], 0); !ok {
			return fmt.Errorf("picks: %s picked none of %d", b.scheduler.Name(), len(b.list))
		}
	}
	return nil
}

// Sessions chooses n times, and each time a session begins there and the oldest one ends, as in a worker.
func (b *Bed) Sessions(n int) error {
	for i := range n {
		id, ok := b.scheduler.Pick(&b.clients[i%living], 0)
		if !ok {
			return fmt.Errorf("picks: %s picked none of %d", b.scheduler.Name(), len(b.list))
		}
		load := b.loads[id]
		load.Bind(true)
		if old := b.sessions[b.at]; old != nil {
			old.Unbind(true)
		}
		b.sessions[b.at] = load
		b.at = (b.at + 1) % living
	}
	return nil
}

// Edit changes a weight n times.
func (b *Bed) Edit(n int) error {
	for range n {
		b.edits++
		b.list[len(b.list)/2].Weight = int32(b.edits%8 + 1)
		if err := b.scheduler.Update(b.list); err != nil {
			return fmt.Errorf("picks: edit: %w", err)
		}
	}
	return nil
}
