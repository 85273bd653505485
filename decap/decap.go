package decap

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
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

// ErrNotAttached is returned by Read for a link that does not run the program, and
// ErrForeign by Attach for one that runs another.
var (
	ErrNotAttached = errors.New("the link has no decap program")
	ErrForeign     = errors.New("the link runs another XDP program")
)

// programName is what the kernel calls the program, and mapName its counters.
const (
	programName = "decap"
	mapName     = "unpacked"
)

// Attach loads the program and attaches it to the named link of the calling
// thread's network namespace, unless it is there already. It is attached by netlink, not by
// a bpf_link: it stays when the process ends, and goes with the link. Where the driver
// refuses it (no XDP, or frames too large for it) the kernel's generic XDP runs
// it. Another program on the link is not replaced: that is ErrForeign.
func Attach(link string) error {
	dev, err := netlink.LinkByName(link)
	if err != nil {
		return fmt.Errorf("decap: find %s: %w", link, err)
	}
	if _, err := Read(link); err == nil {
		return nil
	} else if isAttached(dev) {
		return fmt.Errorf("decap: %s: %w", link, ErrForeign)
	}
	var objs programObjects
	if err := loadProgramObjects(&objs, nil); err != nil {
		return fmt.Errorf("decap: load: %w", err)
	}
	defer func() { _ = objs.Close() }()
	err = netlink.LinkSetXdpFdWithFlags(dev, objs.Decap.FD(), nl.XDP_FLAGS_UPDATE_IF_NOEXIST)
	if err != nil {
		err = netlink.LinkSetXdpFdWithFlags(dev, objs.Decap.FD(),
			nl.XDP_FLAGS_UPDATE_IF_NOEXIST|nl.XDP_FLAGS_SKB_MODE)
	}
	if err != nil {
		return fmt.Errorf("decap: attach to %s: %w", link, err)
	}
	return nil
}

// Detach takes the program off the link; one that does not run it is left as it is.
func Detach(link string) error {
	if _, err := Read(link); errors.Is(err, ErrNotAttached) {
		return nil
	} else if err != nil {
		return err
	}
	dev, err := netlink.LinkByName(link)
	if err != nil {
		return fmt.Errorf("decap: find %s: %w", link, err)
	}
	flags := 0
	if dev.Attrs().Xdp.AttachMode == nl.XDP_ATTACHED_SKB {
		flags = nl.XDP_FLAGS_SKB_MODE
	}
	if err := netlink.LinkSetXdpFdWithFlags(dev, -1, flags); err != nil {
		return fmt.Errorf("decap: detach from %s: %w", link, err)
	}
	return nil
}

func isAttached(dev netlink.Link) bool { return dev.Attrs().Xdp != nil && dev.Attrs().Xdp.Attached }

// Read returns the counters of the program on the named link of the calling
// thread's network namespace, or ErrNotAttached.
func Read(link string) (Counts, error) {
	dev, err := netlink.LinkByName(link)
	if err != nil {
		return Counts{}, fmt.Errorf("decap: find %s: %w", link, err)
	}
	if !isAttached(dev) {
		return Counts{}, fmt.Errorf("decap: %s: %w", link, ErrNotAttached)
	}
	id := dev.Attrs().Xdp.ProgId
	prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if err != nil {
		return Counts{}, fmt.Errorf("decap: open program %d of %s: %w", id, link, err)
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
