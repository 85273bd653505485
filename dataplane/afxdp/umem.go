package afxdp

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// chunkOwner says where a chunk is: the byte per chunk that makes losing one,
// or giving one back twice, visible at once.
type chunkOwner uint8

const (
	ownerFree chunkOwner = iota
	ownerLent            // with the worker
	ownerPort            // + 2*port: fill ring, kernel, RX ring; + 2*port+1: TX ring, kernel, completion ring
)

func rxOwner(port uint8) chunkOwner { return ownerPort + chunkOwner(2*port) }
func txOwner(port uint8) chunkOwner { return ownerPort + chunkOwner(2*port) + 1 }

// umem is the memory all frames live in, cut in chunks, with its free list.
type umem struct {
	mem   []byte
	shift uint         // log2 of the chunk's size
	free  []uint32     // indexes of free chunks; last in, first out, for the cache
	owner []chunkOwner // by chunk index
}

// newUMEM makes chunks over mem, all free.
func newUMEM(mem []byte, chunkSize int) *umem {
	u := &umem{mem: mem}
	for 1<<u.shift < chunkSize {
		u.shift++
	}
	n := len(mem) >> u.shift
	u.owner = make([]chunkOwner, n)
	u.free = make([]uint32, 0, n)
	for i := n - 1; i >= 0; i-- {
		u.free = append(u.free, uint32(i))
	}
	return u
}

// mapUMEM maps memory for frames chunks of size bytes, on huge pages if wanted
// and there are any.
//
// The memory is a file's, without a name, so that another process can go on with it.
func mapUMEM(frames, size int, huge bool, log *slog.Logger) ([]byte, *os.File, error) {
	n := frames * size
	if huge && n%(2<<20) == 0 {
		mem, f, err := mapFile(n, unix.MFD_HUGETLB)
		if err == nil {
			return mem, f, nil
		}
		log.Info("no huge pages for the UMEM, using small ones", "bytes", n, "err", err)
	}
	mem, f, err := mapFile(n, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("map a UMEM of %d bytes: %w", n, err)
	}
	return mem, f, nil
}

func mapFile(n, flags int) ([]byte, *os.File, error) {
	fd, err := unix.MemfdCreate("ulvs-umem", unix.MFD_CLOEXEC|flags)
	if err != nil {
		return nil, nil, err
	}
	f := os.NewFile(uintptr(fd), "ulvs-umem")
	if err := unix.Ftruncate(fd, int64(n)); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	mem, err := mapShared(f, n)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return mem, f, nil
}

func mapShared(f *os.File, n int) ([]byte, error) {
	return unix.Mmap(int(f.Fd()), 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
}

// chunk returns the bytes of chunk i.
func (u *umem) chunk(i uint32) []byte {
	base, size := uint64(i)<<u.shift, uint64(1)<<u.shift
	return u.mem[base : base+size : base+size]
}

// index returns the chunk an address of the UMEM lies in, and whether there is one.
func (u *umem) index(addr uint64) (uint32, bool) {
	i := addr >> u.shift
	return uint32(i), i < uint64(len(u.owner))
}

// pop takes a free chunk for owner to; the caller has looked at len(u.free).
func (u *umem) pop(to chunkOwner) uint32 {
	last := len(u.free) - 1
	i := u.free[last]
	u.free = u.free[:last]
	u.owner[i] = to
	return i
}

// push puts a chunk on the free list.
func (u *umem) push(i uint32) {
	u.owner[i] = ownerFree
	u.free = append(u.free, i)
}
