package afxdp

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/asavie/xdp"
	"golang.org/x/sys/unix"

	"ulvs/packet"
)

// asavieShift is where Frame.Addr has the port whose UMEM a chunk is in.
const asavieShift = 48

// asaviePort is one of the library's sockets. The library keeps a bitmap of
// free chunks that calls received ones free, and does not say which were sent.
// So the first txChunks are for sending, and the bitmap right about them; the
// others are received into, and our own list (u) is right about those.
type asaviePort struct {
	sock     *xdp.Socket
	u        *umem
	id       uint8
	dead     bool
	stalled  bool
	inRX     int
	rxShare  int
	ring     int
	txChunks int
	free     []xdp.Desc // TX chunks known to be free, of this Send
	queued   []xdp.Desc // frames copied out, not yet transmitted
	fills    []xdp.Desc
	misused  atomic.Uint64
	c        portCounters
}

func newAsaviePort(id uint8, sock *xdp.Socket, o *Options, frames int) *asaviePort {
	tx := min(o.RingSize, frames/2)
	mem := sock.GetFrame(xdp.Desc{Addr: 0, Len: uint32(frames * o.FrameSize)})
	p := &asaviePort{sock: sock, u: newUMEM(mem, o.FrameSize), id: id, ring: o.RingSize, txChunks: tx}
	p.u.free = p.u.free[:frames-tx] // the list ends with the lowest chunks
	p.rxShare = min(o.RingSize, (frames-tx)/2)
	p.queued, p.fills = make([]xdp.Desc, 0, tx), make([]xdp.Desc, 0, o.RingSize)
	return p
}

// service takes completions and moves on what an earlier kick left.
func (p *asaviePort) service() {
	if p.dead {
		return
	}
	if n := p.sock.NumCompleted(); n > 0 {
		p.sock.Complete(n)
		p.c.inTX.Store(uint64(p.sock.NumTransmitted()))
	}
	if p.stalled {
		p.kick()
	}
}

func (p *asaviePort) recv(frames []packet.Frame) int {
	if p.dead || len(frames) == 0 {
		return 0
	}
	got := 0
	if n := min(p.sock.NumReceived(), len(frames)); n > 0 {
		for _, d := range p.sock.Receive(n) {
			if p.lend(d, &frames[got]) {
				got++
			}
		}
		p.inRX -= n
		bump(&p.c.rx, got)
	}
	p.refill()
	return got
}

func (p *asaviePort) lend(d xdp.Desc, f *packet.Frame) bool {
	i, ok := p.u.index(d.Addr)
	if !ok || p.u.owner[i] != rxOwner(0) {
		bump(&p.c.badDescs, 1)
		return false
	}
	buf, base := p.u.chunk(i), uint64(i)<<p.u.shift
	off := d.Addr - base
	if off+uint64(d.Len) > uint64(len(buf)) {
		bump(&p.c.badDescs, 1)
		p.u.push(i)
		return false
	}
	p.u.owner[i] = ownerLent
	addr := base | uint64(p.id)<<asavieShift
	*f = packet.Frame{Buf: buf, Addr: addr, Off: uint16(off), Len: uint16(d.Len), Port: p.id}
	return true
}

func (p *asaviePort) refill() {
	want := p.rxShare - p.inRX
	n := min(want, len(p.u.free), p.sock.NumFreeFillSlots())
	if n < want {
		bump(&p.c.fillShort, 1)
	}
	if n <= 0 {
		return
	}
	p.fills = p.fills[:0]
	for range n {
		p.fills = append(p.fills, xdp.Desc{Addr: uint64(p.u.pop(rxOwner(0))) << p.u.shift, Len: 1 << p.u.shift})
	}
	p.inRX += p.sock.Fill(p.fills)
	p.c.inRX.Store(uint64(p.inRX))
}

// copyOut copies the frame into a TX chunk, to be transmitted by flush.
func (p *asaviePort) copyOut(f *packet.Frame) bool {
	if p.dead {
		bump(&p.c.txErrors, 1)
		return false
	}
	if f.Len == 0 || int(f.Off)+int(f.Len) > len(f.Buf) {
		bump(&p.c.txInvalid, 1)
		return false
	}
	if len(p.free) == 0 {
		p.findFree()
	}
	if len(p.free) == 0 || len(p.queued) >= p.sock.NumFreeTxSlots() {
		bump(&p.c.txFull, 1)
		return false
	}
	d := p.free[0]
	p.free = p.free[1:]
	d.Len = uint32(f.Len)
	copy(p.u.mem[d.Addr:], f.Bytes())
	p.queued = append(p.queued, d)
	return true
}

// findFree lists free TX chunks. The library scans its bitmap for them, and
// does not know of those queued here; so queued ones go out first.
func (p *asaviePort) findFree() {
	p.flush()
	if p.dead {
		return
	}
	p.service()
	p.free = p.sock.GetDescs(min(p.txChunks, 2*32))
	for i, d := range p.free {
		if d.Addr >= uint64(p.txChunks)<<p.u.shift { // a chunk of the receive side
			p.free = p.free[:i]
			return
		}
	}
}

// flush transmits what was queued.
func (p *asaviePort) flush() {
	p.free = nil // of this Send only: GetDescs would list them again
	if p.dead || len(p.queued) == 0 {
		return
	}
	n := len(p.queued)
	p.transmit(p.queued)
	p.queued = p.queued[:0]
	bump(&p.c.tx, n)
	p.c.inTX.Store(uint64(p.sock.NumTransmitted()))
	p.kick()
}

// kick repeats the library's one sendto until the kernel has taken everything
// or takes no more: in copy mode a call moves 32 frames unless the budget is raised.
func (p *asaviePort) kick() {
	for range maxKicks {
		before := p.ring - p.sock.NumFreeTxSlots()
		p.stalled = before > 0
		if !p.stalled || !p.transmit(nil) || p.ring-p.sock.NumFreeTxSlots() >= before {
			return
		}
	}
}

// transmit puts descs, for which there is room, into the TX ring and kicks. The
// library panics when the kick fails (ENETDOWN, ENXIO): the ring has the
// frames by then, so the panic is counted and the daemon lives.
func (p *asaviePort) transmit(descs []xdp.Desc) (ok bool) {
	defer func() {
		if !ok {
			_ = recover()
			bump(&p.c.kickErrors, 1)
		}
	}()
	bump(&p.c.kicks, 1)
	p.sock.Transmit(descs)
	return true
}

// fail takes the receive side's chunks back from a port whose interface is gone.
func (p *asaviePort) fail() {
	p.dead, p.stalled, p.inRX = true, false, 0
	p.c.dead.Store(true)
	for i, o := range p.u.owner {
		if o == rxOwner(0) {
			p.u.push(uint32(i))
		}
	}
	p.c.inRX.Store(0)
	p.c.inTX.Store(0)
}

// Stats is that of Set.
func (s *AsavieSet) Stats() []PortStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]PortStats, len(s.ports))
	for i := range s.ports {
		p := s.ports[i]
		out[i] = p.c.read()
		out[i].Name, out[i].Misused = s.opts.Interfaces[i].Name, s.ports[0].misused.Load()
		if !s.closed.Load() && !p.c.dead.Load() {
			own := socket{fd: p.sock.FD()}
			out[i].addKernel(&own)
		}
	}
	return out
}

// Account is that of Set.
func (s *AsavieSet) Account() Account {
	var a Account
	a.Ports = make([]PortAccount, len(s.ports))
	for i := range s.ports {
		p := s.ports[i]
		a.Total += len(p.u.owner)
		a.Free += len(p.u.free) + p.txChunks
		for _, o := range p.u.owner {
			switch o {
			case ownerLent:
				a.Lent++
			case rxOwner(0):
				a.Ports[i].RX++
			}
		}
		if !p.dead {
			a.Ports[i].TX = p.sock.NumTransmitted()
			a.Free -= a.Ports[i].TX
		}
	}
	return a
}

// closeAsavie closes the socket and unmaps the rings, which the library's Close
// leaves mapped: the kernel would keep the queue as long as this process lives.
func closeAsavie(x *xdp.Socket) error {
	var st unix.Stat_t
	if err := unix.Fstat(x.FD(), &st); err != nil {
		return errors.Join(fmt.Errorf("find the rings: %w", err), x.Close())
	}
	rings, err := mappingsOf(st.Ino)
	for _, r := range rings {
		// The addresses are those of mappings the library made and uses no more.
		_, _, errno := unix.Syscall(unix.SYS_MUNMAP, r[0], r[1]-r[0], 0)
		if errno != 0 {
			err = errors.Join(err, fmt.Errorf("unmap a ring: %w", errno))
		}
	}
	return errors.Join(err, x.Close())
}

// mappingsOf lists start and end of this process's mappings of a socket.
func mappingsOf(inode uint64) ([][2]uintptr, error) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, fmt.Errorf("find the rings: %w", err)
	}
	var out [][2]uintptr
	for line := range strings.Lines(string(maps)) {
		if !strings.HasSuffix(strings.TrimSpace(line), fmt.Sprintf("socket:[%d]", inode)) {
			continue
		}
		from, to, _ := strings.Cut(strings.Fields(line)[0], "-")
		a, err1 := strconv.ParseUint(from, 16, 64)
		b, err2 := strconv.ParseUint(to, 16, 64)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("find the rings: %q", line)
		}
		out = append(out, [2]uintptr{uintptr(a), uintptr(b)})
	}
	return out, nil
}
