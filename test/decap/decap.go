package decap

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

// Counts says how many packets were unpacked since Attach, by outer and inner family.
type Counts struct {
	IPv4InIPv4 uint64 `json:"ipv4_in_ipv4"`
	IPv6InIPv4 uint64 `json:"ipv6_in_ipv4"`
	IPv4InIPv6 uint64 `json:"ipv4_in_ipv6"`
	IPv6InIPv6 uint64 `json:"ipv6_in_ipv6"`
}

// Total returns the packets of all families.
func (c Counts) Total() uint64 {
	return c.IPv4InIPv4 + c.IPv6InIPv4 + c.IPv4InIPv6 + c.IPv6InIPv6
}

// ErrNotAttached is returned by Read for a link that does not run the program.
var ErrNotAttached = errors.New("the link has no decap program")

// programName is what the kernel calls the program, and mapName its counters.
const (
	programName = "decap"
	mapName     = "unpacked"
)

// Attach loads the program and attaches it to the named link of the calling
// thread's network namespace. It is attached by netlink, not by a bpf_link: it stays
// when the process ends, and goes with the link. The program needs a driver
// with native XDP or falls back to the kernel's generic one by itself.
func Attach(link string) error {
	dev, err := netlink.LinkByName(link)
	if err != nil {
		return fmt.Errorf("decap: find %s: %w", link, err)
	}
	var objs programObjects
	if err := loadProgramObjects(&objs, nil); err != nil {
		return fmt.Errorf("decap: load: %w", err)
	}
	defer func() { _ = objs.Close() }()
	if err := netlink.LinkSetXdpFd(dev, objs.Decap.FD()); err != nil {
		return fmt.Errorf("decap: attach to %s: %w", link, err)
	}
	return nil
}

// Read returns the counters of the program on the named link of the calling
// thread's network namespace, or ErrNotAttached.
func Read(link string) (Counts, error) {
	dev, err := netlink.LinkByName(link)
	if err != nil {
		return Counts{}, fmt.Errorf("decap: find %s: %w", link, err)
	}
	xdp := dev.Attrs().Xdp
	if xdp == nil || !xdp.Attached {
		return Counts{}, fmt.Errorf("decap: %s: %w", link, ErrNotAttached)
	}
	prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(xdp.ProgId))
	if err != nil {
		return Counts{}, fmt.Errorf("decap: open program %d of %s: %w", xdp.ProgId, link, err)
	}
	defer func() { _ = prog.Close() }()
	return readMaps(prog, link)
}

func readMaps(prog *ebpf.Program, link string) (Counts, error) {
	info, err := prog.Info()
	if err != nil {
		return Counts{}, fmt.Errorf("decap: %s: %w", link, err)
	}
	ids, _ := info.MapIDs()
	if info.Name != programName || len(ids) != 1 {
		return Counts{}, fmt.Errorf("decap: %s runs program %q: %w", link, info.Name, ErrNotAttached)
	}
	m, err := ebpf.NewMapFromID(ids[0])
	if err != nil {
		return Counts{}, fmt.Errorf("decap: open counters of %s: %w", link, err)
	}
	defer func() { _ = m.Close() }()
	return readCounts(m)
}

func readCounts(m *ebpf.Map) (c Counts, err error) {
	for key, n := range []*uint64{&c.IPv4InIPv4, &c.IPv6InIPv4, &c.IPv4InIPv6, &c.IPv6InIPv6} {
		var perCPU []uint64
		if err := m.Lookup(uint32(key), &perCPU); err != nil {
			return Counts{}, fmt.Errorf("decap: read %s[%d]: %w", mapName, key, err)
		}
		for _, v := range perCPU {
			*n += v
		}
	}
	return c, nil
}
