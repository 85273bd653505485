package afxdp

import (
	"bytes"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ulvs/internal/testutil"
	"ulvs/packet"
)

func TestFramesInOnePortLeaveByTheOther(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		in, out := newWire(t, "a", 1), newWire(t, "b", 1)
		st := attachAll(t, in, out)
		q := b.openOn(t, st, Options{}, in, out)
		const n = 500
		for i := range n {
			want := in.udpFrame(testVIP, 1000, 80, frameText(i))
			in.inject(t, want)
			if got, sent := forward(t, q, 1, 1, testutil.AwaitLimit); got != 1 || sent != 1 {
				t.Fatalf("frame %d: received %d, sent %d", i, got, sent)
			}
			if got := out.capture(t, frameText(i), testutil.AwaitLimit); !bytes.Equal(got, want) {
				t.Fatalf("frame %d: got\n%x want\n%x", i, got, want)
			}
		}
		settle(t, q)
		s := q.Stats()
		if s[0].RX != n || s[1].TX != n || s[0].Misused != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestHeadroomIsThereToPrepend(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		w := newWire(t, "a", 1)
		q := b.openOn(t, attachAll(t, w), Options{}, w)
		w.inject(t, w.udpFrame(testVIP, 1, 2, "prepended"))
		frames := make([]packet.Frame, 1)
		recvOne(t, q, frames)
		if frames[0].Off != Headroom {
			t.Errorf("frame starts at %d, want %d", frames[0].Off, Headroom)
		}
		if !frames[0].Prepend(40) {
			t.Fatal("no room for 40 bytes")
		}
		head := bytes.Repeat([]byte{0xee}, 40)
		copy(frames[0].Bytes(), head)
		if q.Send(frames) != 1 {
			t.Fatal("not sent")
		}
		if got := w.capture(t, "prepended", testutil.AwaitLimit); !bytes.HasPrefix(got, head) {
			t.Errorf("got %x", got)
		}
		settle(t, q)
	})
}

// recvOne receives one frame.
func recvOne(t testing.TB, q testQueue, frames []packet.Frame) {
	t.Helper()
	for end := time.Now().Add(testutil.AwaitLimit); time.Now().Before(end); {
		if q.Recv(frames[:1]) == 1 {
			return
		}
		if err := q.Wait(10 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("no frame arrived")
}

func TestTwoQueuesEachGetTheirFrames(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		in, out := newWire(t, "a", 2), newWire(t, "b", 2)
		st := attachAll(t, in, out)
		q0 := b.openOn(t, st, Options{Queue: 0}, in, out)
		q1 := b.openOn(t, st, Options{Queue: 1}, in, out)
		const n = 200
		got := [2]int{}
		for i := range n {
			in.inject(t, in.udpFrame(testVIP, uint16(1000+i), 80, frameText(i)))
			for j, q := range []testQueue{q0, q1} {
				k, _ := forward(t, q, 1, 1, 0)
				got[j] += k
			}
		}
		for end := time.Now().Add(testutil.AwaitLimit); got[0]+got[1] < n && time.Now().Before(end); {
			for j, q := range []testQueue{q0, q1} {
				k, _ := forward(t, q, 1, 1, time.Millisecond)
				got[j] += k
			}
		}
		if got[0] == 0 || got[1] == 0 || got[0]+got[1] != n {
			t.Errorf("queues got %v frames, want %d in all and some each", got, n)
		}
		settle(t, q0)
		settle(t, q1)
	})
}

func TestSendMoreThanTheRingHolds(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		w := newWire(t, "a", 1)
		q := b.openOn(t, attachAll(t, w), Options{RingSize: 64, Frames: 1024}, w)
		frames := make([]packet.Frame, 400)
		n := q.Alloc(frames)
		if n < 256 {
			t.Fatalf("only %d frames to send", n)
		}
		for i := range frames[:n] {
			f := &frames[i]
			f.Resize(copy(f.Buf[f.Off:], w.udpFrame(testVIP, 1, 2, frameText(i))))
		}
		sent := q.Send(frames[:n])
		seen := 0
		for seen < sent && w.capture(t, "ulvs-frame-", testutil.AwaitLimit) != nil {
			seen++
		}
		if w.capture(t, "ulvs-frame-", 50*time.Millisecond) != nil {
			t.Errorf("more than the %d that were sent arrive", sent)
		}
		s := q.Stats()[0]
		if seen != sent || sent < 64 || int(s.TXFull) != n-sent || int(s.TX) != sent {
			t.Errorf("sent %d of %d, %d arrived, stats %+v", sent, n, seen, s)
		}
		settle(t, q)
	})
}

func TestReopenAtOnce(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		in, out := newWire(t, "a", 1), newWire(t, "b", 1)
		st := attachAll(t, in, out)
		for i := range 5 {
			q := b.openOn(t, st, Options{}, in, out)
			in.inject(t, in.udpFrame(testVIP, 1, 2, frameText(i)))
			if got, _ := forward(t, q, 1, 1, testutil.AwaitLimit); got != 1 {
				t.Fatalf("round %d: nothing received", i)
			}
			if out.capture(t, frameText(i), testutil.AwaitLimit) == nil {
				t.Fatalf("round %d: nothing came out", i)
			}
			if err := q.Close(); err != nil {
				t.Fatalf("round %d: close: %v", i, err)
			}
		}
	})
}

func TestASecondSetOnTheQueueIsRefused(t *testing.T) {
	enterNamespace(t)
	w := newWire(t, "a", 1)
	backends()[0].openOn(t, attachAll(t, w), Options{}, w)
	_, err := Open(Options{Interfaces: []Interface{w.near}})
	if !errors.Is(err, unix.EBUSY) {
		t.Errorf("got %v, want EBUSY", err)
	}
}

func TestOpenSaysWhatItCannotDo(t *testing.T) {
	enterNamespace(t)
	w := newWire(t, "a", 1)
	attachAll(t, w)
	for name, o := range map[string]Options{
		"no interface":             {},
		"a queue that is not":      {Interfaces: []Interface{w.near}, Queue: 7},
		"an unknown interface":     {Interfaces: []Interface{{Name: "nix", Index: 9999}}},
		"zero-copy on a veth":      {Interfaces: []Interface{w.near}, Mode: ModeZeroCopy},
		"frames not power of two":  {Interfaces: []Interface{w.near}, Frames: 5000},
		"a ring that is too small": {Interfaces: []Interface{w.near}, RingSize: 32},
		"too few frames":           {Interfaces: []Interface{w.near}, Frames: 128},
	} {
		if q, err := Open(o); err == nil {
			q.Close()
			t.Errorf("%s: opened", name)
		}
	}
}

func TestADeletedInterfaceIsReportedAndTheOthersGoOn(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		gone, in, out := newWire(t, "g", 1), newWire(t, "a", 1), newWire(t, "b", 1)
		st := attachAll(t, gone, in, out)
		q := b.openOn(t, st, Options{}, gone, in, out)
		l, err := netlink.LinkByName(gone.near.Name)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkDel(l); err != nil {
			t.Fatal(err)
		}
		var failed *PortError
		for end := time.Now().Add(testutil.AwaitLimit); failed == nil && time.Now().Before(end); {
			errors.As(q.Wait(20*time.Millisecond), &failed)
		}
		if failed == nil || failed.Port != 0 || failed.Name != "g0" {
			t.Fatalf("got %v, want the failure of port 0", failed)
		}
		if err := q.Wait(time.Millisecond); err != nil {
			t.Errorf("reported twice: %v", err)
		}
		in.inject(t, in.udpFrame(testVIP, 1, 2, "still here"))
		if got, sent := forward(t, q, 2, 1, testutil.AwaitLimit); got != 1 || sent != 1 {
			t.Fatalf("received %d, sent %d", got, sent)
		}
		in.inject(t, in.udpFrame(testVIP, 1, 2, "to the dead"))
		if got, sent := forward(t, q, 0, 1, testutil.AwaitLimit); got != 1 || sent != 0 {
			t.Fatalf("received %d, sent %d to a dead port", got, sent)
		}
		if s := q.Stats(); !s[0].Down || s[0].TXErrors != 1 || s[1].Down {
			t.Errorf("stats %+v", s)
		}
		settle(t, q)
	})
}

func TestALinkThatIsDownHoldsFramesAndLosesNone(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		w := newWire(t, "a", 1)
		q := b.openOn(t, attachAll(t, w), Options{}, w)
		l, _ := netlink.LinkByName(w.near.Name)
		if err := netlink.LinkSetDown(l); err != nil {
			t.Fatal(err)
		}
		frames := make([]packet.Frame, 8)
		for i := range frames[:q.Alloc(frames)] {
			f := &frames[i]
			f.Resize(copy(f.Buf[f.Off:], w.udpFrame(testVIP, 1, 2, "after the dark")))
		}
		q.Send(frames)
		if err := netlink.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
		settle(t, q)
		for end := time.Now().Add(testutil.AwaitLimit); q.Recv(frames[:1]) == 0; { // the far end's carrier takes a while
			if time.Now().After(end) {
				t.Fatal("nothing arrives after the link came back")
			}
			w.inject(t, w.udpFrame(testVIP, 1, 2, "hello again"))
			if err := q.Wait(10 * time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		q.Release(frames[:1])
	})
}

func TestWaitWakesSleepsAndEnds(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		w := newWire(t, "a", 1)
		q := b.openOn(t, attachAll(t, w), Options{}, w)
		if err := q.Wait(time.Millisecond); err != nil {
			t.Errorf("timeout: %v", err)
		}
		q.Wake()
		if err := q.Wait(-1); err != nil {
			t.Errorf("wake before: %v", err)
		}
		w.inject(t, w.udpFrame(testVIP, 1, 2, "wake up"))
		if err := q.Wait(-1); err != nil {
			t.Errorf("frame: %v", err)
		}
		ended := make(chan error)
		go func() { ended <- q.Wait(-1) }()
		frames := make([]packet.Frame, 4)
		q.Release(frames[:0])
		if err := <-ended; err != nil { // the frame is still there
			t.Errorf("frame again: %v", err)
		}
		q.Release(frames[:q.Recv(frames)])
		go func() { ended <- q.Wait(-1) }()
		if err := q.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want net.ErrClosed", err)
		}
		if q.Recv(frames) != 0 || q.Alloc(frames) != 0 || q.Send(frames) != 0 || q.FD(0) != -1 {
			t.Error("a closed queue works")
		}
		q.Wake()
	})
}

func TestAnInterfaceThatReturnsIsServedAgain(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		w := newWire(t, "a", 1)
		st := attachAll(t, w)
		q := b.openOn(t, st, Options{}, w)
		l, _ := netlink.LinkByName(w.near.Name)
		if err := netlink.LinkDel(l); err != nil {
			t.Fatal(err)
		}
		old := st.attached[w.near.Index]
		if err := errors.Join(old.Close(), q.Close()); err != nil {
			t.Fatalf("close what was on the lost interface: %v", err)
		}
		w = newWire(t, "a", 1)
		if _, err := st.Attach(w.near, AttachAuto); err != nil {
			t.Fatal(err)
		}
		q = b.openOn(t, st, Options{}, w)
		w.inject(t, w.udpFrame(testVIP, 1, 2, "back again"))
		recvOne(t, q, make([]packet.Frame, 1))
	})
}
