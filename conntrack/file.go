package conntrack

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A table's file holds what is needed to make the table again when its process is gone: the conns, and what the
// numbers in them mean. The index over them is not in it; it is made anew from the conns.
//
//	     0  header: magic, version, generation, base of the clock, checksum; on a line of its own the heartbeat
//	 1 MiB  services by number: identity<<16 | check
//	64 MiB  destinations by number: identity of the service, address (2 words), port | check<<48
//	 1 GiB  IPv4 conns
//	32 GiB  IPv6 conns
//
// The places are fixed, whatever the table's size, and the file is sparse: what nobody used takes no memory.
const (
	fileServices = 1 << 20
	fileDests    = 64 << 20
	fileNarrow   = 1 << 30
	fileBroad    = 32 << 30
	fileSize     = 64 << 30

	// Numbers past these are not named, and their conns are not found again. lvs has 1<<16 services and 1<<18
	// destinations at a time, and as many again that were removed and still have conns.
	namedServices = 1 << 17
	namedDests    = 1 << 20

	fileMagic   = 0x3162617473766c75 // "ulvstab1"
	fileVersion = 1                  // of the layout, entries included
	headerWords = 16
	beatWord    = 8
)

// Keep says where a table lies that is to be found again.
type Keep struct {
	File *os.File // of NewFile; nil: the table ends with the process
	// Base is the boot time (CLOCK_BOOTTIME), in nanoseconds, at tick 0.
	Base int64
	// Generation is one more than that of the table that this one goes on from.
	Generation uint64
}

// kept is the part of the file that is not conns. Nil slices: there is no file.
type kept struct {
	header   []uint64
	services []uint64
	dests    []destName
	area     [3]area
}

type destName [4]uint64

// NewFile makes an empty file in memory that New puts a table into. Its pages are huge by themselves where a mount may
// be made (CAP_SYS_ADMIN), else where New asks for each (Stats.Huge).
func NewFile() (f *os.File, err error) {
	if f, err = hugeFile(); err != nil {
		return smallFile()
	}
	return sized(f)
}

func smallFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("ulvs-table", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make memory for conns: %w", err)
	}
	return sized(os.NewFile(uintptr(fd), "ulvs-table"))
}

func sized(f *os.File) (*os.File, error) {
	if err := unix.Ftruncate(int(f.Fd()), fileSize); err != nil {
		return nil, errors.Join(fmt.Errorf("make memory for conns: %w", err), f.Close())
	}
	return f, nil
}

// hugeFile makes a nameless file on a tmpfs of its own, mounted nowhere, which has huge pages whatever the system's
// setting for shared memory is. The file keeps the tmpfs.
func hugeFile() (*os.File, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fs)
	// size 0: no limit but memory, as for a memfd.
	if err := errors.Join(unix.FsconfigSetString(fs, "huge", "always"), unix.FsconfigSetString(fs, "size", "0"),
		unix.FsconfigSetString(fs, "mode", "0700")); err != nil {
		return nil, err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, err
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOEXEC|unix.MOUNT_ATTR_NOSUID)
	if err != nil {
		return nil, err
	}
	defer unix.Close(mount)
	fd, err := unix.Openat(mount, ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "ulvs-table"), nil
}

// BootTime returns the time since the machine booted, sleep included, in nanoseconds: what Keep.Base is in.
func BootTime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err) // Linux has it since 2.6.39
	}
	return ts.Nano()
}

// init maps and writes the header. A file that is taken over has been emptied before.
func (k *kept) init(m *memory, o Keep) (err error) {
	if o.File == nil {
		return nil
	}
	if k.header, err = array[uint64](m, &k.area[0], headerWords, 0); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	if k.services, err = array[uint64](m, &k.area[1], namedServices, fileServices); err != nil {
		return fmt.Errorf("services: %w", err)
	}
	if k.dests, err = array[destName](m, &k.area[2], namedDests, fileDests); err != nil {
		return fmt.Errorf("destinations: %w", err)
	}
	h := k.header
	h[0], h[1], h[2], h[3] = fileMagic, fileVersion, o.Generation, uint64(o.Base)
	h[4] = headerSum(h)
	return nil
}

func headerSum(h []uint64) uint64 {
	return mum(h[0]^checkA, h[1]^checkB) ^ mum(h[2]^checkB, h[3]^checkC)
}

// Beat notes in the file that the table was served at boot time ns, for Image.Beat.
func (t *Table) Beat(ns int64) {
	if h := t.kept.header; h != nil {
		atomic.StoreUint64(&h[beatWord], uint64(ns))
	}
}

// Origin is what the number of a destination means, in words that hold on any director.
type Origin struct {
	Service uint64    // identity of the service, not 0
	Addr    [2]uint64 // as Spec.DestAddr
	Port    uint16    // as Spec.DestPort; 0: that of the client's packet
}

// NameService notes in the file what the number of a service means, before any conn has it. One goroutine at a time.
func (t *Table) NameService(id uint32, identity uint64) {
	if t == nil {
		return
	}
	if s := t.kept.services; int(id) < len(s) {
		atomic.StoreUint64(&s[id], serviceName(id, identity))
	}
}

// NameDest is NameService for a destination.
func (t *Table) NameDest(id uint32, o Origin) {
	if t == nil || int(id) >= len(t.kept.dests) {
		return
	}
	d, n := &t.kept.dests[id], o.name(id)
	if *d == n {
		return
	}
	atomic.StoreUint64(&d[3], 0) // whoever finds it half written finds nothing
	for _, i := range []int{0, 1, 2, 3} {
		atomic.StoreUint64(&d[i], n[i])
	}
}

// serviceName is identity with its check. Identities have 48 bits.
func serviceName(id uint32, identity uint64) uint64 {
	identity <<= 16
	return identity | mum(identity^checkA, uint64(id)^checkB)>>checkShift
}

func (o *Origin) name(id uint32) destName {
	n := destName{o.Service, o.Addr[0], o.Addr[1], uint64(o.Port)}
	n[3] |= (mum(n[0]^checkA, n[1]^checkB) ^ mum(n[2]^checkC, n[3]^uint64(id)<<16^checkA)) >> checkShift << checkShift
	return n
}
