package afxdp

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// bindTries and bindPause bound the wait for a queue that somebody still
	// has: the kernel tears a closed socket down some milliseconds later, or, on a busy machine, seconds.
	bindTries = 500
	bindPause = 10 * time.Millisecond
)

// socket is one AF_XDP socket with its four rings mapped.
type socket struct {
	rings
	fd   int
	maps [4][]byte // fill, completion, RX, TX
}

// openSocket makes a socket with rings of size entries. With mem it registers
// that as its UMEM, else it is to share another socket's when bound.
func openSocket(mem []byte, chunkSize, size int) (*socket, error) {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("create an AF_XDP socket: %w", err)
	}
	s := &socket{fd: fd}
	if err := s.setup(mem, chunkSize, size); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *socket) setup(mem []byte, chunkSize, size int) error {
	if mem != nil {
		reg := unix.XDPUmemReg{
			Addr: uint64(uintptr(unsafe.Pointer(&mem[0]))), Len: uint64(len(mem)), Size: uint32(chunkSize),
		}
		if err := setsockopt(s.fd, unix.XDP_UMEM_REG, unsafe.Pointer(&reg), unsafe.Sizeof(reg)); err != nil {
			return fmt.Errorf("register a UMEM of %d bytes: %w", len(mem), err)
		}
	}
	for _, opt := range []int{
		unix.XDP_UMEM_FILL_RING, unix.XDP_UMEM_COMPLETION_RING, unix.XDP_RX_RING, unix.XDP_TX_RING,
	} {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_XDP, opt, size); err != nil {
			return fmt.Errorf("make ring %d of %d entries: %w", opt, size, err)
		}
	}
	return s.mapRings(size)
}

// mapRings maps the rings at the offsets the kernel says.
func (s *socket) mapRings(size int) error {
	var off unix.XDPMmapOffsets
	if err := getsockopt(s.fd, unix.XDP_MMAP_OFFSETS, unsafe.Pointer(&off), unsafe.Sizeof(off)); err != nil {
		return fmt.Errorf("read the rings' offsets: %w", err)
	}
	addrBytes, descBytes := size*8, size*int(unsafe.Sizeof(unix.XDPDesc{}))
	for i, m := range []struct {
		pgoff int64
		bytes int
	}{
		{unix.XDP_UMEM_PGOFF_FILL_RING, int(off.Fr.Desc) + addrBytes},
		{unix.XDP_UMEM_PGOFF_COMPLETION_RING, int(off.Cr.Desc) + addrBytes},
		{unix.XDP_PGOFF_RX_RING, int(off.Rx.Desc) + descBytes},
		{unix.XDP_PGOFF_TX_RING, int(off.Tx.Desc) + descBytes},
	} {
		mem, err := unix.Mmap(s.fd, m.pgoff, m.bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
		if err != nil {
			return fmt.Errorf("map ring %d: %w", i, err)
		}
		s.maps[i] = mem
	}
	s.fill.ring = mappedRing[uint64](s.maps[0], off.Fr, size)
	s.completion.ring = mappedRing[uint64](s.maps[1], off.Cr, size)
	s.rx.ring = mappedRing[unix.XDPDesc](s.maps[2], off.Rx, size)
	s.tx.ring = mappedRing[unix.XDPDesc](s.maps[3], off.Tx, size)
	return nil
}

// bind binds to the address, waiting about a second for a queue in use.
func (s *socket) bind(sa *unix.SockaddrXDP) error {
	for try := 0; ; try++ {
		err := unix.Bind(s.fd, sa)
		if err == nil || !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EINTR) || try == bindTries {
			return err
		}
		time.Sleep(bindPause)
	}
}

// zeroCopy reads back what bind got.
func (s *socket) zeroCopy() (bool, error) {
	var flags uint32
	if err := getsockopt(s.fd, unix.XDP_OPTIONS, unsafe.Pointer(&flags), unsafe.Sizeof(flags)); err != nil {
		return false, fmt.Errorf("read XDP_OPTIONS: %w", err)
	}
	return flags&unix.XDP_OPTIONS_ZEROCOPY != 0, nil
}

// setBudget asks for n frames per kick in copy mode and returns what is in
// force: kernels before 6.17 do not know the option and move 32.
func (s *socket) setBudget(n int) int {
	if unix.SetsockoptInt(s.fd, unix.SOL_XDP, unix.XDP_MAX_TX_SKB_BUDGET, n) != nil {
		return kernelTXBudget
	}
	return n
}

// kernelTXBudget is TX_BATCH_SIZE of net/xdp/xsk.c.
const kernelTXBudget = 32

// stats reads the kernel's counters of the socket.
func (s *socket) stats() (st unix.XDPStatistics, err error) {
	err = getsockopt(s.fd, unix.XDP_STATISTICS, unsafe.Pointer(&st), unsafe.Sizeof(st))
	return st, err
}

// pendingError returns and clears the socket's error: ENETDOWN after its
// interface is gone.
func (s *socket) pendingError() unix.Errno {
	v, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return 0
	}
	return unix.Errno(v)
}

// kickTX has the kernel look at the TX ring. In copy mode it sends the frames and, on a veth, often has them received,
// before it returns. The Go scheduler is not told: see pollBriefly.
func (s *socket) kickTX() unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	return errno
}

// kickRX has the kernel look at the fill ring.
func (s *socket) kickRX() unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(s.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	return errno
}

// close unmaps the rings, without which the kernel keeps the socket and its
// queue, and closes it.
func (s *socket) close() error {
	var errs []error
	for i, m := range s.maps {
		if m != nil {
			errs = append(errs, unix.Munmap(m))
			s.maps[i] = nil
		}
	}
	s.rings = rings{}
	if s.fd >= 0 {
		errs = append(errs, unix.Close(s.fd))
		s.fd = -1
	}
	return errors.Join(errs...)
}

// setsockopt and getsockopt pass structures x/sys/unix has no call for. v
// points to size bytes that live until the call returns.
func setsockopt(fd, opt int, v unsafe.Pointer, size uintptr) error {
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(opt), uintptr(v), size, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func getsockopt(fd, opt int, v unsafe.Pointer, size uintptr) error {
	n := uint32(size)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(opt),
		uintptr(v), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
