package tuning

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"github.com/safchain/ethtool"
	"golang.org/x/sys/unix"
)

// Tool is ethtool: what only the driver of an interface knows, and changes.
type Tool interface {
	// Settings returns all that the driver tells. What it does not know is zero.
	Settings(nic string) (NICSettings, error)
	SetChannels(nic string, c Channels) error
	SetRings(nic string, r Rings) error
	SetFeature(nic, feature string, on bool) error
	// SetTable sets the receive queues that RSS spreads frames over.
	SetTable(nic string, table []uint32) error
}

// NICSettings is what a driver tells.
type NICSettings struct {
	Channels *Channels `json:"channels,omitempty"`
	Rings    *Rings    `json:"rings,omitempty"`
	// Features are those of the watched ones that the driver has.
	Features map[string]Feature `json:"features,omitempty"`
	Table    []uint32           `json:"rss_table,omitempty"` // RSS: the queue of each hash bucket
}

// Channels are a NIC's queues.
type Channels struct {
	MaxRX       int `json:"max_rx"`
	MaxTX       int `json:"max_tx"`
	MaxCombined int `json:"max_combined"`
	RX          int `json:"rx"`
	TX          int `json:"tx"`
	Combined    int `json:"combined"`
}

// Rings are the lengths of a NIC's rings, in frames.
type Rings struct {
	MaxRX int `json:"max_rx"`
	MaxTX int `json:"max_tx"`
	RX    int `json:"rx"`
	TX    int `json:"tx"`
}

// Feature is an offload.
type Feature struct {
	On    bool `json:"on"`
	Fixed bool `json:"fixed"` // cannot be changed
}

// The features that matter to AF_XDP, by their names in the kernel (ethtool -k prints some of them differently).
const (
	featLRO     = "rx-lro"
	featGROHW   = "rx-gro-hw"
	featRXCsum  = "rx-checksum"
	featRXVLAN  = "rx-vlan-hw-parse"
	featTXCsum  = "tx-checksum-ip-generic"
	featTXCsum4 = "tx-checksum-ipv4"
)

var watchedFeatures = []string{featLRO, featGROHW, featRXCsum, featRXVLAN, featTXCsum, featTXCsum4}

// KernelTool asks this machine's drivers.
type KernelTool struct{}

// Settings asks the driver of an interface.
func (KernelTool) Settings(nic string) (s NICSettings, err error) {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return s, fmt.Errorf("open ethtool: %w", err)
	}
	defer e.Close()
	var errs []error
	if c, err := e.GetChannels(nic); known(&errs, "channels", err) {
		s.Channels = &Channels{
			int(c.MaxRx), int(c.MaxTx), int(c.MaxCombined), int(c.RxCount), int(c.TxCount), int(c.CombinedCount),
		}
	}
	if r, err := e.GetRing(nic); known(&errs, "rings", err) && r.RxMaxPending > 0 {
		s.Rings = &Rings{int(r.RxMaxPending), int(r.TxMaxPending), int(r.RxPending), int(r.TxPending)}
	}
	all, err := e.FeaturesWithState(nic)
	if known(&errs, "features", err) {
		s.Features = map[string]Feature{}
		for _, name := range watchedFeatures {
			if f, has := all[name]; has {
				s.Features[name] = Feature{On: f.Active, Fixed: f.NeverChanged || !f.Available}
			}
		}
	}
	table, err := readTable(nic)
	if known(&errs, "RSS table", err) {
		s.Table = table
	}
	return s, errors.Join(errs...)
}

// known reports whether the driver answered. That it does not know the question is no error.
func known(errs *[]error, what string, err error) bool {
	unknown := errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL)
	if err != nil && !unknown {
		*errs = append(*errs, fmt.Errorf("%s: %w", what, err))
	}
	return err == nil
}

// SetChannels sets how many queues there are.
func (KernelTool) SetChannels(nic string, c Channels) error {
	return withEthtool("channels", nic, func(e *ethtool.Ethtool) error {
		now, err := e.GetChannels(nic)
		if err != nil {
			return err
		}
		now.RxCount, now.TxCount, now.CombinedCount = uint32(c.RX), uint32(c.TX), uint32(c.Combined)
		_, err = e.SetChannels(nic, now)
		return err
	})
}

// SetRings sets the lengths of the rings.
func (KernelTool) SetRings(nic string, r Rings) error {
	return withEthtool("rings", nic, func(e *ethtool.Ethtool) error {
		now, err := e.GetRing(nic)
		if err != nil {
			return err
		}
		now.RxPending, now.TxPending = uint32(r.RX), uint32(r.TX)
		_, err = e.SetRing(nic, now)
		return err
	})
}

// SetFeature turns an offload on or off.
func (KernelTool) SetFeature(nic, feature string, on bool) error {
	return withEthtool(feature, nic, func(e *ethtool.Ethtool) error {
		return e.Change(nic, map[string]bool{feature: on})
	})
}

func withEthtool(what, nic string, fn func(*ethtool.Ethtool) error) error {
	e, err := ethtool.NewEthtool()
	if err == nil {
		defer e.Close()
		err = fn(e)
	}
	if err != nil {
		return fmt.Errorf("set the %s of %s: %w", what, nic, err)
	}
	return nil
}

// maxTable bounds a table of RSS: mlx5 has up to 4096 buckets.
const maxTable = 1 << 16

// readTable asks by struct ethtool_rxfh_indir: command, size, table. The library knows 256 buckets at most, and sets
// none but equal or weighted tables, so that it could not put back what was there.
func readTable(nic string) ([]uint32, error) {
	head := make([]uint32, 2)
	head[0] = unix.ETHTOOL_GRXFHINDIR
	if err := ethtoolCall(nic, head); err != nil {
		return nil, err
	}
	if head[1] > maxTable {
		return nil, fmt.Errorf("%d buckets are more than %d", head[1], maxTable)
	}
	all := make([]uint32, 2+head[1])
	all[0], all[1] = unix.ETHTOOL_GRXFHINDIR, head[1]
	if err := ethtoolCall(nic, all); err != nil {
		return nil, err
	}
	return all[2:], nil
}

// SetTable sets RSS's table. One that the driver itself would make is set by asking it to, so that it goes on
// following the number of queues.
func (t KernelTool) SetTable(nic string, table []uint32) error {
	err := ethtoolCall(nic, []uint32{unix.ETHTOOL_SRXFHINDIR, 0}) // size 0: the driver's own
	if err == nil {
		if now, err := readTable(nic); err == nil && slices.Equal(now, table) {
			return nil
		}
	}
	if err := ethtoolCall(nic, append([]uint32{unix.ETHTOOL_SRXFHINDIR, uint32(len(table))}, table...)); err != nil {
		return fmt.Errorf("set the RSS table of %s: %w", nic, err)
	}
	return nil
}

// KeepTable remembers an interface's RSS table and returns what sets it again. virtio_net goes on showing its table
// when a program attaches, but the machine below spreads frames by its own hash until the table is set once more. A
// driver without a table has nothing to set.
func KeepTable(nic string) (again func() error) {
	table, err := readTable(nic)
	if err != nil || len(table) == 0 {
		return func() error { return nil }
	}
	return func() error { return KernelTool{}.SetTable(nic, table) }
}

// ifreq is struct ifreq with a pointer in its union (linux/if.h).
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// ethtoolCall has the kernel read and write words, the first of which is the command.
func ethtoolCall(nic string, words []uint32) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req := ifreq{data: unsafe.Pointer(&words[0])}
	copy(req.name[:unix.IFNAMSIZ-1], nic)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	runtime.KeepAlive(words)
	if errno != 0 {
		return errno
	}
	return nil
}
