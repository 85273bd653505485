package afxdp

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"ulvs/packet"
)

// fakeKernel is the other end of a port's rings, on heap memory. Like the
// kernel it holds chunks of its own for a while and completes out of order.
type fakeKernel struct {
	rings
	r        *rand.Rand
	filled   []uint64 // taken from the fill ring
	sending  []uint64 // taken from the TX ring
	sent     []unix.XDPDesc
	errno    unix.Errno // of kickTX
	gone     unix.Errno // pendingError
	stuck    bool       // kickTX takes nothing
	perKick  int        // frames one kickTX takes, 0 for all
	unfilled bool       // kickRX takes nothing
	frameLen uint32
}

// heapRing makes a ring that starts at index, to see it wrap.
func heapRing[T any](size int, index uint32) ring[T] {
	words := make([]uint32, 64) // apart, as in the kernel's layout
	words[0], words[16] = index, index
	return newRing(&words[0], &words[16], &words[32], make([]T, size))
}

func newFakeKernel(size int, index uint32, r *rand.Rand) *fakeKernel {
	k := &fakeKernel{r: r, frameLen: 60}
	k.fill = producer[uint64]{ring: heapRing[uint64](size, index), next: index, consumed: index}
	k.tx = producer[unix.XDPDesc]{ring: heapRing[unix.XDPDesc](size, index), next: index, consumed: index}
	k.completion = consumer[uint64]{ring: heapRing[uint64](size, index), next: index, produced: index}
	k.rx = consumer[unix.XDPDesc]{ring: heapRing[unix.XDPDesc](size, index), next: index, produced: index}
	*k.tx.flags = unix.XDP_RING_NEED_WAKEUP
	return k
}

// newFakeSet makes a Set of n ports on fake kernels.
func newFakeSet(t testing.TB, o Options, n int, index uint32, r *rand.Rand) (*Set, []*fakeKernel) {
	t.Helper()
	for range n {
		o.Interfaces = append(o.Interfaces, Interface{Name: "fake"})
	}
	if err := o.normalize(); err != nil {
		t.Fatal(err)
	}
	s := newSet(o, make([]byte, o.Frames*o.FrameSize))
	var ks []*fakeKernel
	for range n {
		k := newFakeKernel(o.RingSize, index, r)
		s.addPort(&k.rings, k)
		ks = append(ks, k)
	}
	return s, ks
}

// kernelTake consumes up to n entries of a ring we produce.
func kernelTake[T any](p *producer[T], n int) (out []T) {
	for cons := *p.cons; n > 0 && cons != atomic.LoadUint32(p.prod); n-- {
		out = append(out, p.entries[cons&p.mask])
		cons++
		atomic.StoreUint32(p.cons, cons)
	}
	return out
}

// kernelPut produces one entry of a ring we consume, if there is room.
func kernelPut[T any](c *consumer[T], v T) bool {
	prod := *c.prod
	if prod-atomic.LoadUint32(c.cons) > c.mask {
		return false
	}
	c.entries[prod&c.mask] = v
	atomic.StoreUint32(c.prod, prod+1)
	return true
}

// deliver receives up to n frames.
func (k *fakeKernel) deliver(n int) {
	k.filled = append(k.filled, kernelTake(&k.fill, n)...)
	for ; n > 0 && len(k.filled) > 0; n-- {
		if !kernelPut(&k.rx, unix.XDPDesc{Addr: k.filled[0] + Headroom, Len: k.frameLen}) {
			return
		}
		k.filled = k.filled[1:]
	}
}

// complete gives up to n sent chunks back, in any order.
func (k *fakeKernel) complete(n int) {
	for ; n > 0 && len(k.sending) > 0; n-- {
		i := k.r.IntN(len(k.sending))
		if !kernelPut(&k.completion, k.sending[i]) {
			return
		}
		k.sending = append(k.sending[:i], k.sending[i+1:]...)
	}
}

func (k *fakeKernel) kickTX() unix.Errno {
	if k.stuck {
		return k.errno
	}
	n := len(k.tx.entries)
	if k.perKick > 0 {
		n = k.perKick
	}
	for _, d := range kernelTake(&k.tx, n) {
		k.sent = append(k.sent, d)
		k.sending = append(k.sending, d.Addr)
	}
	if k.tx.pending() > 0 {
		return unix.EAGAIN
	}
	return k.errno
}

func (k *fakeKernel) kickRX() unix.Errno {
	if !k.unfilled {
		k.filled = append(k.filled, kernelTake(&k.fill, 8)...)
	}
	return 0
}

func (k *fakeKernel) pendingError() unix.Errno           { return k.gone }
func (k *fakeKernel) stats() (unix.XDPStatistics, error) { return unix.XDPStatistics{}, nil }

// frameSet is a worker's hands: the frames it holds.
type frameSet struct{ held []packet.Frame }

// take removes up to n frames in random order.
func (f *frameSet) take(n int, r *rand.Rand) []packet.Frame {
	r.Shuffle(len(f.held), func(i, j int) { f.held[i], f.held[j] = f.held[j], f.held[i] })
	n = min(n, len(f.held))
	out := append([]packet.Frame(nil), f.held[:n]...)
	f.held = f.held[n:]
	return out
}
