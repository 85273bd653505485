package dataplane

import (
	"bytes"
	"testing"
	"time"

	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

// tapAll takes every frame, or none of a length.
type tapAll struct{ not int }

func (f tapAll) Match(_ []byte, wire int) bool { return wire != f.not }

// tapped is a frame as a reader of a Tap sees it.
type tapped struct {
	TapFrame
	data []byte
}

// tap sets one for the bed's worker. What it took is read by the func.
func (b *bed) tap(filter TapFilter, snaplen int, drops bool) (read func() []tapped) {
	t := NewTap(filter, 1, snaplen, drops)
	b.worker.taps.Store(t)
	return func() (out []tapped) {
		for t.Read(0, 64, func(f *TapFrame, data []byte) bool {
			out = append(out, tapped{*f, bytes.Clone(data)})
			return true
		}) > 0 {
		}
		return out
	}
}

func TestATapShowsAFrameAsItArrivedAndAsItWasSent(t *testing.T) {
	for _, m := range []lvs.Method{lvs.MethodDR, lvs.MethodNAT, lvs.MethodTUN} {
		b := newBed(t, bedOptions{}, service(vip4, m, "10.0.0.21:80"))
		read := b.tap(tapAll{}, 0xffff, false)
		frame := syn4(t)
		sent := b.one(0, frame, 1)[0]
		got := read()
		if len(got) != 2 {
			t.Fatalf("%s: %d frames, want two", m, len(got))
		}
		in, out := got[0], got[1]
		if in.Sent || in.Port != 0 || in.Verdict != forwards[m] || !bytes.Equal(in.data, frame) {
			t.Errorf("%s: it arrived as %+v, %x; want %x", m, in.TapFrame, in.data, frame)
		}
		if !out.Sent || out.Port != sent.Port || out.Verdict != forwards[m] || !bytes.Equal(out.data, sent.Data) {
			t.Errorf("%s: it was sent as %+v, %x; want %x", m, out.TapFrame, out.data, sent.Data)
		}
		if in.Time != b.now.Duration() {
			t.Errorf("%s: the time is %v, want %v", m, in.Time, b.now.Duration())
		}
		b.check()
	}
}

func TestATapOfDropsShowsDropsOnly(t *testing.T) {
	b := newBed(t, bedOptions{}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	read := b.tap(tapAll{}, 64, true)
	bad := syn4(t)
	bad[24] ^= 1 // the header's checksum
	b.send(0, syn4(t), bad, []byte("short"))
	got := read()
	if len(got) != 2 || got[0].Verdict != ParseVerdict(packet.ErrIPChecksum) || got[0].Len != 64 || got[0].Wire <= 64 {
		t.Errorf("frames %+v, want the two bad ones, cut to 64 bytes", got)
	}
}

func TestATapShowsWhatBecameOfAHeldFrame(t *testing.T) {
	b := newBed(t, bedOptions{}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	id := b.hopOf("10.0.0.21")
	b.edited(func(s *Snapshot) { s.Hops[id].State = HopUnresolved })
	read := b.tap(tapAll{}, 128, false)
	b.one(0, syn4(t), 0)
	if got := read(); len(got) != 1 || !got[0].Held() {
		t.Errorf("frames %+v, want one that is held", got)
	}
	b.edited(func(s *Snapshot) { s.Hops[id].State = HopReady })
	b.send(0)
	if got := read(); len(got) != 2 || !got[0].Again || got[0].Verdict != TxDR || !got[1].Sent {
		t.Errorf("frames %+v, want it again, and sent", got)
	}
	b.edited(func(s *Snapshot) { s.Hops[id].State = HopUnresolved })
	b.one(0, syn4(t), 0)
	read()
	b.now += 2 * holdTicks
	b.send(0)
	if got := read(); len(got) != 1 || got[0].Verdict != DropNeighbour || got[0].Sent {
		t.Errorf("frames %+v, want one that was given up", got)
	}
}

func TestATapShowsFragments(t *testing.T) {
	b := newBed(t, bedOptions{mtu: 600}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	read := b.tap(tapAll{}, 2000, false)
	out := b.send(0, seg{src: client4, dst: vip4, flags: packet.TCPSyn, payload: 1000}.bytes(t))
	got := read()
	if len(out) != 2 || len(got) != 3 || !got[1].Piece && !got[2].Piece {
		t.Fatalf("%d frames came out, the tap has %+v; want two, and three", len(out), got)
	}
	b.check()
}

func TestAFullRingIsCountedAndWaitsForNobody(t *testing.T) {
	b := newBed(t, bedOptions{}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	tap := NewTap(tapAll{}, 1, MaxSnaplen, false)
	b.worker.taps.Store(tap)
	room := tapBytes / MaxSnaplen
	for range room {
		b.one(0, syn4(t), 1)
	}
	in, lostIn := tap.Counts(0)
	out, lostOut := tap.Counts(1)
	if in != uint64(room) || out != uint64(room) || lostIn+lostOut != uint64(room) {
		t.Errorf("taken %d and %d, lost %d and %d; want half of %d lost", in, out, lostIn, lostOut, 2*room)
	}
	for tap.Read(0, 64, func(*TapFrame, []byte) bool { return true }) > 0 {
	}
	b.one(0, syn4(t), 1)
	if n := tap.Read(0, 64, func(*TapFrame, []byte) bool { return true }); n != 2 {
		t.Errorf("%d frames after the ring was read, want two", n)
	}
}

func TestATapEndsWithTheNextBatch(t *testing.T) {
	b := newBed(t, bedOptions{}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	read := b.tap(tapAll{}, 64, false)
	b.worker.taps.Store(nil)
	b.one(0, syn4(t), 1)
	if got := read(); len(got) != 0 {
		t.Errorf("frames %+v after the end", got)
	}
}

func TestATapCostsNoAllocation(t *testing.T) {
	b := newBed(t, bedOptions{bits: 12}, service(vip4, lvs.MethodNAT, "10.0.0.21:80"))
	b.one(0, syn4(t), 1)
	b.worker.taps.Store(NewTap(tapAll{}, 1, 128, false))
	ack := seg{src: client4, dst: vip4, flags: packet.TCPAck}.bytes(t)
	b.allocFree(map[uint8][][]byte{0: {ack}}, false, TxNAT)
}

// A reader and a worker that run at once see each other's frames whole.
func TestATapIsReadWhileItIsWritten(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	tap := NewTap(tapAll{}, 1, 128, false)
	b.worker.taps.Store(tap)
	frame := syn4(t)
	done := make(chan uint64)
	go func() {
		seen := uint64(0)
		for deadline := time.Now().Add(testutil.AwaitLimit); seen < 2000 && time.Now().Before(deadline); {
			tap.Read(0, 16, func(f *TapFrame, data []byte) bool {
				if f.Len != f.Wire || len(data) != len(frame) || f.Verdict != TxDR || !bytes.Equal(data[14:22], frame[14:22]) {
					t.Errorf("frame %+v: %x", f, data)
				}
				seen++
				return true
			})
		}
		done <- seen
	}()
	for range 1000 {
		b.one(0, frame, 1)
	}
	if n := <-done; n != 2000 {
		t.Errorf("%d frames were read, want 2000", n)
	}
}
