package forward

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"ulvs/test/lab"
)

// forwardedByKernel reads the kernel's counters of forwarded packets, both families.
func forwardedByKernel(tb testing.TB, l *lab.Lab, ns string) (sum uint64) {
	tb.Helper()
	err := l.Do(ns, func() error {
		v4, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		v6, err := os.ReadFile("/proc/thread-self/net/snmp6")
		if err != nil {
			return err
		}
		sum = columnOf(string(v4), "Ip:", "ForwDatagrams") + lineOf(string(v6), "Ip6OutForwDatagrams")
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return sum
}

// columnOf reads a counter of /proc/net/snmp: a line of names, then one of values.
func columnOf(text, prefix, name string) uint64 {
	var names []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != prefix {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i := range names {
			if names[i] == name {
				n, _ := strconv.ParseUint(f[i], 10, 64)
				return n
			}
		}
	}
	return 0
}

func lineOf(text, name string) uint64 {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			n, _ := strconv.ParseUint(f[1], 10, 64)
			return n
		}
	}
	return 0
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

// forgetNeighbours empties a link's neighbour tables.
func forgetNeighbours(tb testing.TB, l *lab.Lab, ns, link string) {
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
				_ = netlink.NeighDel(&list[i]) // some are the kernel's own, and some just went
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
