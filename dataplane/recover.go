package dataplane

import (
	"ulvs/conntrack"
)

// Name notes in the table's file what the numbers of services and destinations of the snapshot mean, before any
// session has them.
func (s *Snapshot) Name(t *conntrack.Table, services, dests []int) {
	for _, id := range services {
		s.nameService(t, id)
	}
	for _, id := range dests {
		s.nameDest(t, id)
	}
}

// NameAll is Name for all of them.
func (s *Snapshot) NameAll(t *conntrack.Table) {
	for id := range s.Services {
		s.nameService(t, id)
	}
	for id := range s.Dests {
		s.nameDest(t, id)
	}
}

func (s *Snapshot) nameService(t *conntrack.Table, id int) {
	if svc := &s.Services[id]; svc.Config != nil {
		t.NameService(uint32(id), svc.identity)
	}
}

func (s *Snapshot) nameDest(t *conntrack.Table, id int) {
	if d := &s.Dests[id]; d.Load != nil {
		t.NameDest(uint32(id), conntrack.Origin{Service: s.identity(uint32(d.Service)), Addr: d.Addr, Port: d.Port})
	}
}

// Recover brings the sessions that another process left in an image into the table, which is empty and which no worker
// uses yet: those whose service and real server the snapshot has. shift is from the image's ticks to the table's.
func Recover(t *conntrack.Table, im *conntrack.Image, s *Snapshot, now, shift conntrack.Tick) conntrack.Recovered {
	var names identities
	names.follow(s)
	o := conntrack.Adopt{Now: now, Shift: shift, Limit: len(s.Dests)}
	im.Services(func(id uint32, identity uint64) {
		o.Services = put(o.Services, id, uint32(names.services[identity]))
	})
	im.Dests(func(id uint32, d conntrack.Origin) {
		if svc := names.services[d.Service]; svc != 0 {
			o.Dests = put(o.Dests, id, names.dests[realOf{svc, d.Addr, uint32(d.Port)}])
		}
	})
	got := t.Recover(im, o)
	for id, b := range got.Bound {
		if load := s.Dests[id].Load; load != nil && b != (conntrack.Bound{}) {
			load.Restore(b.Active, b.Inactive, b.Templates)
		}
	}
	return got
}

// put sets list[id], which grows as needed.
func put(list []uint32, id, to uint32) []uint32 {
	if n := int(id) + 1 - len(list); n > 0 {
		list = append(list, make([]uint32, n)...)
	}
	list[id] = to
	return list
}
