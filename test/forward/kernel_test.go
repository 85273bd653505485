package forward

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"ulvs/internal/testutil"
	"ulvs/test/lab"
)

// forwardedByKernel reads the kernel's counters of forwarded packets, both families.
func forwardedByKernel(tb testing.TB, l *lab.Lab, ns string) uint64 {
	tb.Helper()
	sum, err := l.KernelForwarded(ns)
	if err != nil {
		tb.Fatal(err)
	}
	return sum
}

// inside runs fn in a namespace of the lab and ends the test on its error.
func inside(tb testing.TB, l *lab.Lab, ns string, fn func() error) {
	tb.Helper()
	if err := l.Do(ns, fn); err != nil {
		tb.Fatalf("in %s: %v", l.Netns(ns), err)
	}
}

// hasXDP tells whether an XDP program is on the link of a namespace.
func hasXDP(tb testing.TB, l *lab.Lab, ns, link string) (attached bool) {
	tb.Helper()
	inside(tb, l, ns, func() error {
		dev, err := netlink.LinkByName(link)
		if err == nil {
			x := dev.Attrs().Xdp
			attached = x != nil && x.Attached
		}
		return err
	})
	return attached
}

// setLink sets a link up or down.
func setLink(tb testing.TB, l *lab.Lab, ns, link string, up bool) {
	tb.Helper()
	inside(tb, l, ns, func() error {
		dev, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		if up {
			return netlink.LinkSetUp(dev)
		}
		return netlink.LinkSetDown(dev)
	})
}

// forgetNeighbours empties a link's neighbour tables, or takes these addresses out of them.
func forgetNeighbours(tb testing.TB, l *lab.Lab, ns, link string, only ...netip.Addr) {
	tb.Helper()
	inside(tb, l, ns, func() error {
		dev, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			list, err := netlink.NeighList(dev.Attrs().Index, family)
			if err != nil {
				return err
			}
			for i := range list {
				if addr, _ := netip.AddrFromSlice(list[i].IP); len(only) == 0 || slices.Contains(only, addr.Unmap()) {
					_ = netlink.NeighDel(&list[i]) // some are the kernel's own, and some just went
				}
			}
		}
		return nil
	})
}

// addressesOf lists all addresses of a namespace.
func addressesOf(tb testing.TB, l *lab.Lab, ns string) string {
	tb.Helper()
	var b strings.Builder
	inside(tb, l, ns, func() error {
		list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
		for i := range list {
			b.WriteString(list[i].IPNet.String() + "\n")
		}
		return err
	})
	return b.String()
}

// settledAddresses is addressesOf once the kernel has given all links of a director their own, which it does some time
// after they are up.
func settledAddresses(tb testing.TB, l *lab.Lab, ns string) (list string) {
	tb.Helper()
	testutil.Await(tb, "link-local addresses of "+ns, func() bool {
		list = addressesOf(tb, l, ns)
		return strings.Count(list, "fe80:") == len(directorLinks)
	})
	return list
}
