package afxdp

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ulvs/internal/release"
	"ulvs/packet"
)

// kernel is what a port asks of its socket besides the rings; tests have a fake.
type kernel interface {
	kickTX() unix.Errno
	kickRX() unix.Errno
	pendingError() unix.Errno
	stats() (unix.XDPStatistics, error)
}

const (
	// maxKicks bounds the system calls of one flush. In copy mode a call moves
	// at most the TX budget, 32 frames on older kernels.
	maxKicks = 64
	// idleKick is how many empty looks at the RX ring pass between two calls
	// to a driver that wants to be woken for the fill ring.
	idleKick = 64
)

// port is one interface's socket as the worker sees it. Only the worker's
// goroutine touches it, but for the counters.
type port struct {
	*rings
	k       kernel
	u       *umem
	id      uint8
	dead    bool       // the interface is gone, or its socket was closed by Remove
	freeAt  time.Time  // after Remove: when no driver can have its chunks any more
	err     unix.Errno // why it is dead
	stalled bool       // published frames wait for another kick
	sendSeq uint32
	inRX    int // chunks in fill ring, kernel and RX ring
	inTX    int // chunks in TX ring, kernel and completion ring
	rxShare int // limit of inRX
	txShare int // limit of inTX
	idle    int // looks at an empty RX ring
	queued  int // frames enqueued since the last flush
	c       portCounters
}

// portCounters are written by the worker once per batch and read by anybody.
type portCounters struct {
	rx, tx, txFull, txErrors, txInvalid, badDescs atomic.Uint64
	kicks, kickAgain, kickErrors, fillShort       atomic.Uint64
	inRX, inTX                                    atomic.Uint64
	dead                                          atomic.Bool
}

// bump adds to a counter that has one writer, without a locked instruction.
func bump(c *atomic.Uint64, n int) { release.Store(c, c.Load()+uint64(n)) }

// removed reports whether Remove closed the socket, so that its place waits for Add.
func (p *port) removed() bool { return !p.freeAt.IsZero() }

// recv lends the frames that arrived.
func (p *port) recv(frames []packet.Frame) int {
	if p.dead || len(frames) == 0 {
		return 0
	}
	n := p.rx.ready(len(frames))
	got := 0
	for range n {
		if p.lend(p.rx.take(), &frames[got]) {
			got++
		}
	}
	if n > 0 {
		p.rx.release()
		p.inRX -= n
		bump(&p.c.rx, got)
		p.idle = 0
	}
	p.refill(n == 0)
	return got
}

// lend makes f the frame of descriptor d. A descriptor that is not one of the
// chunks this port has in its receive rings is counted and ignored.
func (p *port) lend(d unix.XDPDesc, f *packet.Frame) bool {
	i, ok := p.u.index(d.Addr)
	if !ok || p.u.owner[i] != rxOwner(p.id) {
		bump(&p.c.badDescs, 1)
		return false
	}
	buf := p.u.chunk(i)
	base := uint64(i) << p.u.shift
	off := d.Addr - base
	if off+uint64(d.Len) > uint64(len(buf)) {
		bump(&p.c.badDescs, 1)
		p.u.push(i)
		return false
	}
	p.u.owner[i] = ownerLent
	*f = packet.Frame{Buf: buf, Addr: base, Off: uint16(off), Len: uint16(d.Len), Port: p.id}
	return true
}

// refill gives free chunks to the kernel to receive into.
func (p *port) refill(idle bool) {
	want := p.rxShare - p.inRX
	n := min(want, len(p.u.free), p.fill.free(want))
	for range n {
		p.fill.put(uint64(p.u.pop(rxOwner(p.id))) << p.u.shift)
	}
	if n > 0 {
		p.fill.publish()
		p.inRX += n
		p.c.inRX.Store(uint64(p.inRX))
	}
	if n < want {
		bump(&p.c.fillShort, 1)
	}
	p.wakeFill(n > 0, idle)
}

// wakeFill calls the driver if it sleeps until somebody fills the ring. A driver
// may go to sleep just after we looked, so an idle port asks again now and then.
func (p *port) wakeFill(filled, idle bool) {
	if idle {
		p.idle++
	}
	if (filled || p.idle >= idleKick) && p.fill.needWakeup() {
		p.idle = 0
		bump(&p.c.kicks, 1)
		p.k.kickRX()
	}
}

// reap takes the chunks of sent frames back.
func (p *port) reap() {
	if p.inTX == 0 || p.dead {
		return
	}
	n := p.completion.ready(p.inTX)
	if n == 0 {
		return
	}
	for range n {
		i, ok := p.u.index(p.completion.take())
		if !ok || p.u.owner[i] != txOwner(p.id) {
			bump(&p.c.badDescs, 1)
			continue
		}
		p.u.push(i)
	}
	p.completion.release()
	p.inTX -= n
	p.c.inTX.Store(uint64(p.inTX))
}

// service moves on what earlier calls left: completions, and frames the kernel
// had no room for.
func (p *port) service() {
	p.reap()
	if p.stalled {
		p.kick()
	}
}

// enqueue writes the frame's chunk i to the TX ring, without telling the kernel.
// When the ring is full it kicks and reaps, once per Send (seq).
func (p *port) enqueue(i uint32, f *packet.Frame, seq uint32) bool {
	if p.dead {
		bump(&p.c.txErrors, 1)
		return false
	}
	if f.Len == 0 || int(f.Off)+int(f.Len) > 1<<p.u.shift {
		bump(&p.c.txInvalid, 1) // the kernel would swallow the chunk for ever
		return false
	}
	if !p.room() && (p.sendSeq == seq || !p.makeRoom(seq)) {
		bump(&p.c.txFull, 1)
		return false
	}
	p.tx.put(unix.XDPDesc{Addr: uint64(i)<<p.u.shift + uint64(f.Off), Len: uint32(f.Len)})
	p.u.owner[i] = txOwner(p.id)
	p.inTX++
	p.queued++
	return true
}

func (p *port) room() bool { return p.inTX < p.txShare && p.tx.free(1) > 0 }

func (p *port) makeRoom(seq uint32) bool {
	p.sendSeq = seq
	p.tx.publish()
	p.kick()
	p.reap()
	return !p.dead && p.room()
}

// flush publishes the enqueued frames and kicks the kernel if it wants that.
func (p *port) flush() {
	bump(&p.c.tx, p.queued)
	p.queued = 0
	if p.dead {
		return
	}
	p.tx.publish()
	p.c.inTX.Store(uint64(p.inTX))
	if p.tx.needWakeup() {
		p.kick()
	}
	p.reap()
}

// kick calls the kernel until it has taken all published frames or takes no
// more; then stalled is set and the next Recv or Send tries again. Errors are
// counted and never fatal (net/xdp/xsk.c, xsk_sendmsg).
func (p *port) kick() {
	p.stalled = false
	for range maxKicks {
		before := p.tx.pending()
		if before == 0 {
			return
		}
		bump(&p.c.kicks, 1)
		switch errno := p.k.kickTX(); errno {
		case 0:
			return
		case unix.EAGAIN, unix.EBUSY, unix.ENOBUFS, unix.EINTR:
			bump(&p.c.kickAgain, 1)
		default: // ENETDOWN: the link is down, what is queued goes when it is up
			if errno == unix.ENXIO && p.lost() {
				return
			}
			bump(&p.c.kickErrors, 1)
			p.stalled = true
			return
		}
		if p.tx.pending() >= before {
			break
		}
	}
	p.stalled = p.tx.pending() > 0
}

// lost asks whether the interface is gone, and gives the port up if so. Only
// the socket's error says that for certain: a driver that is being set up anew
// answers kicks with ENXIO too, and then still owns the chunks it has.
func (p *port) lost() bool {
	if p.err == 0 {
		p.err = p.k.pendingError()
	}
	if p.err != 0 {
		p.fail()
	}
	return p.dead
}

// fail takes every chunk back from a port whose interface is gone: the kernel
// has unbound the socket and touches them no more.
func (p *port) fail() {
	if p.dead {
		return
	}
	p.dead, p.stalled = true, false
	p.c.dead.Store(true)
	p.reclaim()
}

// reclaim frees the chunks of a port that nobody touches any more.
func (p *port) reclaim() {
	for i, o := range p.u.owner {
		if o == rxOwner(p.id) || o == txOwner(p.id) {
			p.u.push(uint32(i))
		}
	}
	p.inRX, p.inTX = 0, 0
	p.c.inRX.Store(0)
	p.c.inTX.Store(0)
}
