package memqueue

import (
	"bytes"
	"errors"
	"net"
	"testing"
	"time"

	"ulvs/internal/testutil"
	"ulvs/packet"
)

func TestAFrameComesInAndGoesOutAsItIs(t *testing.T) {
	q := New(4)
	data := []byte("a frame")
	if !q.Inject(3, data) {
		t.Fatal("an empty queue took no frame")
	}
	var f [2]packet.Frame
	if n := q.Recv(f[:]); n != 1 || !bytes.Equal(f[0].Bytes(), data) || f[0].Port != 3 || f[0].Off != Headroom {
		t.Fatalf("received %d: %+v", n, f[0])
	}
	if n := q.Lent(); n != 1 {
		t.Errorf("%d frames are lent, want 1", n)
	}
	f[0].Port = 1
	if n := q.Send(f[:1]); n != 1 || q.Lent() != 0 {
		t.Errorf("sent %d, %d are lent", n, q.Lent())
	}
	out := q.Take()
	if len(out) != 1 || out[0].Port != 1 || !bytes.Equal(out[0].Data, data) || len(q.Take()) != 0 {
		t.Errorf("took %+v", out)
	}
}

func TestThePoolIsBounded(t *testing.T) {
	q := New(3)
	var f [4]packet.Frame
	if n := q.Alloc(f[:]); n != 3 || q.Lent() != 3 {
		t.Fatalf("allocated %d of 3", n)
	}
	if q.Inject(0, []byte{1}) {
		t.Error("a frame was injected into an empty pool")
	}
	q.Release(f[:1])
	if !q.Inject(0, []byte{1}) || q.Inject(0, []byte{1}) {
		t.Error("one frame was given back, and not one could be injected")
	}
	if New(1).Inject(0, make([]byte, ChunkSize-Headroom+1)) || !New(1).Inject(0, make([]byte, ChunkSize-Headroom)) {
		t.Error("a frame must fit its chunk behind the headroom")
	}
}

func TestAFrameGivenBackTwicePanics(t *testing.T) {
	q := New(2)
	var f [1]packet.Frame
	q.Alloc(f[:])
	q.Release(f[:])
	defer func() {
		if recover() == nil {
			t.Error("giving a frame back twice went unnoticed")
		}
	}()
	q.Send(f[:])
}

func TestALimitedRingGivesFramesUpAndTakesThemBack(t *testing.T) {
	q := New(4)
	q.LimitTx(1)
	var f [3]packet.Frame
	q.Alloc(f[:])
	if n := q.Send(f[:]); n != 1 || q.Lent() != 0 || len(q.Take()) != 1 {
		t.Errorf("%d of 3 were accepted, %d are lent", n, q.Lent())
	}
}

func TestWaitEndsForAFrameAWakeTheTimeoutAndClose(t *testing.T) {
	q := New(2)
	waited := make(chan error)
	wait := func(d time.Duration) { go func() { waited <- q.Wait(d) }() }
	got := func(what string) error {
		t.Helper()
		select {
		case err := <-waited:
			return err
		case <-time.After(testutil.AwaitLimit):
			t.Fatalf("Wait did not end for %s", what)
			return nil
		}
	}
	wait(time.Hour)
	q.Inject(0, []byte{1})
	if err := got("a frame"); err != nil {
		t.Error(err)
	}
	wait(time.Hour)
	if err := got("a frame that is still there"); err != nil {
		t.Error(err)
	}
	var f [1]packet.Frame
	q.Recv(f[:])
	q.Wake()
	wait(time.Hour)
	if err := got("a wake before it"); err != nil {
		t.Error(err)
	}
	wait(time.Millisecond)
	if err := got("the timeout"); err != nil {
		t.Error(err)
	}
	wait(time.Hour)
	_ = q.Close()
	if err := got("Close"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close the error is %v", err)
	}
}
