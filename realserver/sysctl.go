package realserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
)

// confDir has a folder for each interface, and "all" and "default".
const confDir = "/proc/sys/net/ipv4/conf"

// setting is a value of net.ipv4.conf that the kernel takes as the larger of all's and the interface's own
// (IN_DEV_MAXCONF in include/linux/inetdevice.h).
type setting struct {
	name     string
	code     string
	want     int
	good     func(effective int) bool
	problem  string
	existing string // what the setting is for, for people
}

var (
	arpIgnore = setting{
		name: "arp_ignore", code: CodeARPIgnore, want: 1, good: func(v int) bool { return v == 1 || v == 2 },
		problem:  "this host answers ARP for the VIP, and clients send to it past the director",
		existing: "silent about VIPs when asked by ARP",
	}
	arpAnnounce = setting{
		name: "arp_announce", code: CodeARPAnnounce, want: 2, good: func(v int) bool { return v == 2 },
		problem:  "this host asks by ARP with the VIP as its address, and neighbours learn the VIP as its",
		existing: "never tells VIPs when it asks by ARP",
	}
	rpFilter = setting{
		name: "rp_filter", code: CodeRPFilter, want: 2, good: func(v int) bool { return v == 0 || v == 2 },
		problem:  "packets from clients are dropped here: the way back to them is another interface",
		existing: "takes packets whose way back is another interface",
	}
)

// key is the setting of an interface as sysctl names it.
func (s *setting) key(link string) string {
	return "net.ipv4.conf." + strings.ReplaceAll(link, ".", "/") + "." + s.name
}

func (s *setting) path(link string) string { return filepath.Join(confDir, link, s.name) }

func (s *setting) read(link string) (int, error) {
	text, err := os.ReadFile(s.path(link))
	if err != nil {
		return 0, err
	}
	v, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", s.path(link), err)
	}
	return v, nil
}

// set writes the interface's value, journalled.
func (s *setting) set(j *journal, id, link string, v int) error {
	old, err := s.read(link)
	if err != nil {
		return err
	}
	if old == v {
		return nil
	}
	if err := j.note(change{ID: id, Kind: kindSysctl, Key: s.path(link), Old: strconv.Itoa(old),
		New: strconv.Itoa(v)}); err != nil {
		return err
	}
	return os.WriteFile(s.path(link), []byte(strconv.Itoa(v)), 0)
}

// look judges one interface. One that went away meanwhile has nothing wrong.
func (s *setting) look(link string) ([]Finding, error) {
	all, err := s.read("all")
	if err != nil {
		return nil, err
	}
	own, err := s.read(link)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if s.good(max(all, own)) {
		return nil, nil
	}
	return []Finding{{
		Code: s.code, Subject: link,
		Problem: fmt.Sprintf("%s is %d (all: %d): %s", s.key(link), own, all, s.problem),
		Remedy:  fmt.Sprintf("sysctl -w %s=%d", s.key(s.where(link, all, own)), s.want),
	}}, nil
}

// where is the interface, or all, whose value makes the effective one good.
func (s *setting) where(link string, all, own int) string {
	if s.name == rpFilter.name || own > s.want {
		return link
	}
	return "all"
}

// arpPart keeps every interface that faces a network from telling the VIP.
func arpPart(s setting) part {
	id := "sysctl:" + s.name
	return part{
		id: id, what: fmt.Sprintf("%s = %d", s.key("all"), s.want),
		look: func() (found []Finding, err error) {
			found, err = eachWire(func(link string) ([]Finding, error) { return s.look(link) })
			return joined(found), err
		},
		mend: func(j *journal) error {
			if err := s.set(j, id, "all", s.want); err != nil {
				return err
			}
			_, err := eachWire(func(link string) ([]Finding, error) {
				if own, err := s.read(link); err != nil || own <= s.want || s.good(own) {
					return nil, err
				}
				return nil, s.set(j, id, link, s.want)
			})
			return err
		},
	}
}

// joined makes one finding of those with one remedy.
func joined(found []Finding) (out []Finding) {
	for _, f := range found {
		if i := slices.IndexFunc(out, func(o Finding) bool { return o.Remedy == f.Remedy }); i >= 0 {
			out[i].Subject += ", " + f.Subject
		} else {
			out = append(out, f)
		}
	}
	return out
}

// eachWire collects what fn finds about every interface that faces a network.
func eachWire(fn func(link string) ([]Finding, error)) (found []Finding, err error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		if !isWire(l) {
			continue
		}
		more, err := fn(l.Attrs().Name)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // it went away meanwhile
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

// filterPart lets the interface take packets from anywhere: 2 wins over all = 1 and asks only that there is a way back.
func filterPart(link string, needed func() bool) part {
	id := "rp_filter:" + link
	return part{
		id: id, what: fmt.Sprintf("%s = %d", rpFilter.key(link), rpFilter.want),
		look: func() ([]Finding, error) {
			if !needed() {
				return nil, nil
			}
			return rpFilter.look(link)
		},
		mend: func(j *journal) error { return rpFilter.set(j, id, link, rpFilter.want) },
	}
}

// arrivalFilterPart is needed where the default route, the way back to clients, is another interface's.
func arrivalFilterPart(link string) part {
	return filterPart(link, func() bool {
		best, err := defaultRoute(netlink.FAMILY_V4)
		if err != nil || best == nil {
			return true
		}
		dev, err := netlink.LinkByName(link)
		return err != nil || dev.Attrs().Index != best.LinkIndex
	})
}
