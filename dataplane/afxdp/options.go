package afxdp

import (
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
)

// Limits and defaults of Options.
const (
	// DefaultFrames is enough for two ports with their rings half full.
	DefaultFrames = 8192
	// DefaultFrameSize holds a 1500-byte MTU with the kernel's headroom.
	DefaultFrameSize = 2048
	// DefaultRingSize is that of each of the four rings of a socket.
	DefaultRingSize = 2048
	// DefaultTXBudget is how many frames one kick moves in copy mode. The
	// kernel's own default of 32 costs a system call for half a batch.
	DefaultTXBudget = 256
	// MaxPorts is the most interfaces of a Set.
	MaxPorts = 64
	// Headroom is what the kernel leaves before a received frame, and Alloc
	// before an empty one, in bytes (XDP_PACKET_HEADROOM).
	Headroom = 256

	minRing   = 64 // the kernel's TX_BATCH_SIZE twice
	maxRing   = 1 << 15
	maxFrames = 1 << 22
	// reserveFrames stay out of the rings for Alloc and frames being worked on.
	reserveFrames = 256
)

// Mode is how the sockets exchange frames with the driver.
type Mode uint8

const (
	ModeAuto     Mode = iota // zero-copy if every port can, else copy
	ModeZeroCopy             // zero-copy or an error
	ModeCopy                 // through the kernel's copy: any driver
)

// String names m as the configuration does.
func (m Mode) String() string {
	switch m {
	case ModeZeroCopy:
		return "zerocopy"
	case ModeCopy:
		return "copy"
	}
	return "auto"
}

// Options says what a Set serves. Zero fields take the defaults above.
type Options struct {
	Interfaces []Interface // ports, in the order of Frame.Port; at least one
	Queue      int         // the RX and TX queue served on every interface
	Frames     int         // chunks of the UMEM, all ports together; a power of two
	FrameSize  int         // bytes of a chunk, headroom included: 2048 or 4096
	RingSize   int         // entries of each ring of each port; a power of two
	Mode       Mode        // what to bind
	TXBudget   int         // frames one kick moves in copy mode (Linux 6.17)
	HugePages  bool        // UMEM on 2 MiB pages if there are any, else on small ones
	Debug      bool        // panic when a frame is given back twice; for tests
	Log        *slog.Logger
}

// normalize fills in defaults and refuses what cannot work.
func (o *Options) normalize() error {
	o.Frames = orDefault(o.Frames, DefaultFrames)
	o.FrameSize = orDefault(o.FrameSize, DefaultFrameSize)
	o.RingSize = orDefault(o.RingSize, min(DefaultRingSize, o.Frames/2))
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	n := len(o.Interfaces)
	switch {
	case n == 0 || n > MaxPorts:
		return fmt.Errorf("%d interfaces, want 1 to %d", n, MaxPorts)
	case o.Queue < 0:
		return errors.New("a negative queue")
	case o.FrameSize != 2048 && o.FrameSize != 4096:
		return fmt.Errorf("frame size %d, want 2048 or 4096", o.FrameSize)
	case !powerOfTwo(o.RingSize) || o.RingSize < minRing || o.RingSize > maxRing:
		return fmt.Errorf("ring size %d, want a power of two from %d to %d", o.RingSize, minRing, maxRing)
	case !powerOfTwo(o.Frames) || o.Frames > maxFrames:
		return fmt.Errorf("%d frames, want a power of two up to %d", o.Frames, maxFrames)
	case o.Frames < n*4*minRing:
		return fmt.Errorf("%d frames are too few for %d interfaces, want %d each", o.Frames, n, 4*minRing)
	}
	o.TXBudget = min(max(orDefault(o.TXBudget, DefaultTXBudget), 32), o.RingSize)
	return nil
}

// sharesOf returns how many chunks a port may have in its receive rings and in its
// transmit rings. Half of the UMEM waits for frames; of the rest a reserve
// stays out, so that a port that does not transmit cannot starve the others. n is the number of ports.
func (o *Options) sharesOf(n int) (rx, tx int) {
	rx = min(o.RingSize, o.Frames/2/n)
	reserve := min(reserveFrames, o.Frames/8)
	return rx, min(o.RingSize, (o.Frames-n*rx-reserve)/n)
}

func orDefault(v, def int) int {
	if v == 0 {
		return def
	}
	return v
}

func powerOfTwo(v int) bool { return v > 0 && bits.OnesCount(uint(v)) == 1 }
