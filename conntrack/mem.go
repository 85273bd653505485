package conntrack

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of a transparent huge page, and the piece memory is populated in.
const hugePage = 2 << 20

// memory hands out zeroed arrays: on the Go heap (tests: the race detector does not see mapped
// memory), or reserved address space that costs nothing until it is touched.
type memory struct {
	heap bool
	huge bool
	file *os.File // where arrays with a place in it lie; nil: nobody else is to find them
	maps [][]byte // to unmap
}

// private is the place of an array that is in no file.
const private = -1

// area is the address range under one array; raw is nil on the heap.
type area struct {
	raw       []byte
	asks      bool         // for each huge page: it lies in a file
	populated atomic.Int64 // bytes faulted in ahead of use; one goroutine writes
	huge      atomic.Int64 // of them, bytes that huge pages were asked for and given
}

// ready is the bytes populated so far.
func (a *area) ready() int { return int(a.populated.Load()) }

// array returns n elements and sets the area they lie in. They are zeroed, or what is in the file from place at on.
//
// The unsafe here turns mapped bytes into elements. It holds because T is made of uint64
// words only (no pointers, any bits valid), the mapping starts on a page, is as long as n
// elements, and stays mapped until close, after which the caller uses no element.
func array[T any](m *memory, a *area, n int, at int64) ([]T, error) {
	if m.heap {
		return make([]T, n), nil
	}
	var t T
	raw, err := m.reserve(n*int(unsafe.Sizeof(t)), at)
	if err != nil {
		return nil, err
	}
	a.raw, a.asks = raw, m.huge && m.file != nil && at != private && at%hugePage == 0
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(raw))), n), nil
}

// reserve maps size bytes without committing them, starting at a huge page's boundary: of the file from place at on,
// or of zeroes.
func (m *memory) reserve(size int, at int64) ([]byte, error) {
	const flags = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_NORESERVE
	raw, err := unix.Mmap(-1, 0, size+hugePage, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, fmt.Errorf("reserve %d bytes for conns: %w", size, err)
	}
	m.maps = append(m.maps, raw)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(raw))) & (hugePage - 1))
	part := raw[skip : skip+size : skip+size]
	if m.file != nil && at != private {
		if err := over(part, m.file, at); err != nil {
			return nil, err
		}
	}
	if m.huge {
		// Advice only: a kernel without huge pages serves small ones.
		_ = unix.Madvise(part, unix.MADV_HUGEPAGE)
	}
	return part, nil
}

// over maps the file from place at on over memory that is mapped already.
//
// MAP_FIXED replaces exactly the pages of part, which are ours and which nobody has pointed into yet; they are
// unmapped as part of the mapping that they lie in.
func over(part []byte, f *os.File, at int64) error {
	const flags = unix.MAP_SHARED | unix.MAP_FIXED | unix.MAP_NORESERVE
	start := unsafe.Pointer(unsafe.SliceData(part))
	_, err := unix.MmapPtr(int(f.Fd()), at, start, uintptr(len(part)), unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return fmt.Errorf("map %d bytes of %s: %w", len(part), f.Name(), err)
	}
	return nil
}

// close unmaps everything. No element of any array may be used afterwards.
func (m *memory) close() error {
	var first error
	for _, raw := range m.maps {
		if err := unix.Munmap(raw); err != nil && first == nil {
			first = fmt.Errorf("unmap conns: %w", err)
		}
	}
	m.maps = nil
	return first
}

// populate faults in up to pieces huge-page-sized pieces of the first want bytes. It
// changes no contents, so it may run beside any use.
func (a *area) populate(want, pieces int) {
	want = min(want, len(a.raw))
	for ; a.ready() < want && pieces > 0; pieces-- {
		from := a.ready()
		to := min(from+hugePage, len(a.raw))
		a.collapse(from, to)
		if err := unix.Madvise(a.raw[from:to], unix.MADV_POPULATE_WRITE); err != nil {
			return // before Linux 5.14, or no memory: pages come when used
		}
		a.populated.Store(int64(to))
	}
}

// collapse asks for one huge page: a memfd gets small ones unless the system's setting for shared memory says
// otherwise, which MADV_COLLAPSE (Linux 6.1) does not heed. Nobody uses the piece yet, or hardly anybody; an empty one
// would not be collapsed, so its first page is touched.
func (a *area) collapse(from, to int) {
	if !a.asks || to-from != hugePage {
		return
	}
	piece := a.raw[from:to]
	if unix.Madvise(piece[:os.Getpagesize()], unix.MADV_POPULATE_WRITE) != nil ||
		unix.Madvise(piece, unix.MADV_COLLAPSE) != nil {
		a.asks = false // none is free, or the kernel knows no such thing: small ones from here on
		return
	}
	a.huge.Add(hugePage)
}

// wide returns the entry6 that e is the head of.
//
// It holds because only IPv6 conns (v6Bit, Ref.V6) are asked, and every one of them lives in
// an []entry6, or is Detached's: an entry6 starts with its Entry.
func (e *Entry) wide() *entry6 { return (*entry6)(unsafe.Pointer(e)) }
