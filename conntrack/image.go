package conntrack

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrImage is wrapped by every error of OpenImage that says that the file is not a table's, or of another version, or
// damaged where everything else depends on it.
var ErrImage = errors.New("conntrack: not the memory of a table")

// Image is what a table left in its file. Nothing in it is trusted: Recover looks at every conn.
type Image struct {
	header   []uint64
	services []uint64
	dests    []destName
	narrow   []Entry
	broad    []entry6
	mem      memory
}

// OpenImage maps a table's file for reading. The table's process has ended, or stopped all its workers. The file
// stays open, and the caller's.
func OpenImage(f *os.File) (*Image, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at the memory of a table: %w", err)
	}
	if st.Size() != fileSize || !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrImage, st.Size(), int64(fileSize))
	}
	im := &Image{mem: memory{file: f}}
	if err := im.open(f); err != nil {
		return nil, errors.Join(err, im.Close())
	}
	return im, nil
}

func (im *Image) open(f *os.File) (err error) {
	if im.header, err = find[uint64](im, f, span{0, fileServices, 8}); err != nil {
		return err
	}
	if err := im.judge(); err != nil {
		return err
	}
	if im.services, err = find[uint64](im, f, span{fileServices, fileDests, 8}); err != nil {
		return err
	}
	if im.dests, err = find[destName](im, f, span{fileDests, fileNarrow, 32}); err != nil {
		return err
	}
	if im.narrow, err = find[Entry](im, f, span{fileNarrow, fileBroad, 64}); err != nil {
		return err
	}
	im.broad, err = find[entry6](im, f, span{fileBroad, fileSize, 128})
	return err
}

// judge looks at the header.
func (im *Image) judge() error {
	h := im.header
	switch {
	case len(h) < headerWords || h[0] != fileMagic:
		return fmt.Errorf("%w: no header", ErrImage)
	case h[4] != headerSum(h):
		return fmt.Errorf("%w: the header's checksum is wrong", ErrImage)
	case h[1] != fileVersion:
		return fmt.Errorf("%w: layout version %d, this ulvs has %d", ErrImage, h[1], fileVersion)
	}
	return nil
}

// span is a part of the file, and the bytes of its elements.
type span struct{ from, to, size int64 }

// find maps what of a part was ever written: looking at a hole would fill it.
func find[T any](im *Image, f *os.File, s span) ([]T, error) {
	end, err := dataEnd(int(f.Fd()), s.from, s.to)
	if err != nil {
		return nil, fmt.Errorf("find what is in the memory of a table: %w", err)
	}
	n := int((end - s.from) / s.size)
	if n == 0 {
		return nil, nil
	}
	var a area
	list, err := array[T](&im.mem, &a, n, s.from)
	if err != nil {
		return nil, err
	}
	// Advice only: the pages come when they are looked at.
	_ = unix.Madvise(a.raw, unix.MADV_POPULATE_READ)
	return list, nil
}

// extentsMax bounds the search for the end; a table is written from its beginning on.
const extentsMax = 1 << 16

// dataEnd returns where the last data between two places of a file ends.
func dataEnd(fd int, from, to int64) (int64, error) {
	end := from
	for at, n := from, 0; n < extentsMax; n++ {
		data, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || err == nil && data >= to {
			return end, nil
		}
		if err != nil {
			return 0, err
		}
		hole, err := unix.Seek(fd, data, unix.SEEK_HOLE)
		if err != nil {
			return 0, err
		}
		end, at = min(hole, to), hole
	}
	return end, nil
}

// Close unmaps the image.
func (im *Image) Close() error { return im.mem.close() }

// Generation is that of Keep.
func (im *Image) Generation() uint64 { return im.header[2] }

// Base is that of Keep: the boot time, in nanoseconds, at tick 0.
func (im *Image) Base() int64 { return int64(im.header[3]) }

// Beat is the boot time, in nanoseconds, at which the table was last known to be served; 0: never.
func (im *Image) Beat() int64 { return int64(im.header[beatWord]) }

// Services calls fn for all services that the image names.
func (im *Image) Services(fn func(id uint32, identity uint64)) {
	for id, name := range im.services {
		if name != 0 && name == serviceName(uint32(id), name>>16) {
			fn(uint32(id), name>>16)
		}
	}
}

// Dests calls fn for all destinations that the image names.
func (im *Image) Dests(fn func(id uint32, o Origin)) {
	for id := range im.dests {
		if o, ok := im.dest(uint32(id)); ok {
			fn(uint32(id), o)
		}
	}
}

func (im *Image) dest(id uint32) (Origin, bool) {
	if int(id) >= len(im.dests) {
		return Origin{}, false
	}
	n := im.dests[id]
	o := Origin{Service: n[0], Addr: [2]uint64{n[1], n[2]}, Port: uint16(n[3])}
	return o, o.Service != 0 && o.name(id) == n
}
