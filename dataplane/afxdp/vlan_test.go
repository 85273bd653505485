package afxdp

import (
	"bytes"
	"testing"

	"ulvs/packet"
)

func TestATagInTheFrameStaysInTheFrame(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		w := newWire(t, "a", 1)
		q := b.openOn(t, attachAll(t, w), Options{}, w)
		plain := w.udpFrame(testVIP, 1, 2, "tagged")
		want := join(plain[:12], []byte{0x81, 0, 0, 5}, plain[12:])
		w.inject(t, want)
		frames := make([]packet.Frame, 1)
		recvOne(t, q, frames)
		if got := frames[0].Bytes(); !bytes.Equal(got, want) {
			t.Errorf("got\n%x want\n%x", got, want)
		}
		q.Release(frames)
	})
}
