package afxdp

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestChunksAreTakenOverWhereTheyWere(t *testing.T) {
	const chunks = 64
	u := newUMEM(make([]byte, chunks*2048), 2048)
	owners := make([]byte, chunks)
	for i := range owners {
		owners[i] = byte([]chunkOwner{
			ownerFree, ownerLent, rxOwner(0), txOwner(0), rxOwner(1), txOwner(1), rxOwner(2), 255,
		}[i%8])
	}
	u.adopt(owners, 2)
	if len(u.free) != chunks/2 { // free, lent, and what belongs to ports that are not there
		t.Errorf("%d chunks are free, want %d", len(u.free), chunks/2)
	}
	for _, i := range u.free {
		if u.owner[i] != ownerFree {
			t.Errorf("chunk %d is free and has owner %d", i, u.owner[i])
		}
	}
	p := port{u: u, id: 1, rings: &rings{}}
	p.tx.ring = newRing(new(uint32), new(uint32), new(uint32), make([]unix.XDPDesc, 8))
	*p.tx.prod, *p.tx.cons = 5, 3
	p.resume()
	if p.inRX != chunks/8 || p.inTX != chunks/8 || !p.stalled {
		t.Errorf("port 1 has %d and %d chunks, stalled %v", p.inRX, p.inTX, p.stalled)
	}
}

func TestRingsGoOnWhereTheyWereLeft(t *testing.T) {
	r := &rings{}
	r.fill.ring = newRing(new(uint32), new(uint32), new(uint32), make([]uint64, 8))
	r.completion.ring = newRing(new(uint32), new(uint32), new(uint32), make([]uint64, 8))
	r.rx.ring = newRing(new(uint32), new(uint32), new(uint32), make([]unix.XDPDesc, 8))
	r.tx.ring = newRing(new(uint32), new(uint32), new(uint32), make([]unix.XDPDesc, 8))
	*r.fill.prod, *r.fill.cons = 1<<32-2, 1<<32-5
	*r.rx.prod, *r.rx.cons = 9, 6
	*r.tx.prod, *r.tx.cons = 4, 4
	*r.completion.prod, *r.completion.cons = 4, 2
	r.resume()
	if n := r.rx.ready(8); n != 3 {
		t.Errorf("%d frames wait, want 3", n)
	}
	if n := r.completion.ready(8); n != 2 {
		t.Errorf("%d completions wait, want 2", n)
	}
	if n := r.fill.free(8); n != 5 {
		t.Errorf("%d entries of the fill ring are free, want 5", n)
	}
	s := &Set{ports: []port{{rings: r}}}
	if !s.Same() {
		t.Error("nobody has touched the rings")
	}
	*r.rx.cons++
	if s.Same() {
		t.Error("another process has taken a frame")
	}
}

func TestWhatDoesNotFitIsNotTakenOver(t *testing.T) {
	o := Options{Interfaces: []Interface{{"a", 1}}, Frames: 1024}
	for _, h := range []Handed{{}, {Options: o}, {Options: o, Owners: make([]byte, 1024)}} {
		if s, err := Adopt(h, nil, nil); err == nil {
			t.Errorf("%+v was taken over: %v", h.Options, s)
		}
	}
	if _, err := AdoptSteering(HandedSteering{Ports: make([]HandedPort, 1)}, nil, SteeringOptions{}); err == nil {
		t.Error("a program without its files was taken over")
	}
}
