package realserver

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ulvs/decap"
)

// undo takes one change back. It says what it did; "" means that there was nothing left to undo.
func (c *change) undo() (did string, err error) {
	switch c.Kind {
	case kindSysctl:
		return c.undoSysctl()
	case kindAddress:
		return c.undoAddress()
	case kindRoute, kindReplaced:
		return c.undoRoute()
	case kindRule:
		return c.undoRule()
	case kindUp, kindMade:
		return c.undoLink()
	case kindDecap:
		if err := decap.Detach(c.Key); err != nil && !isGone(err) {
			return "", err
		}
		return "program off " + c.Key, nil
	}
	return "", fmt.Errorf("the journal has a change of kind %.40q, which this ulvs does not know", c.Kind)
}

// isGone tells whether err says that the interface went away, and what was on it with it.
func isGone(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing) || errors.Is(err, os.ErrNotExist)
}

// undoSysctl puts the old value back, unless somebody else changed it since.
func (c *change) undoSysctl() (string, error) {
	now, err := os.ReadFile(c.Key)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	name := strings.TrimPrefix(c.Key, "/proc/sys/")
	if strings.TrimSpace(string(now)) != c.New {
		return fmt.Sprintf("%s left at %s: somebody changed it since", name, strings.TrimSpace(string(now))), nil
	}
	return fmt.Sprintf("%s = %s", name, c.Old), os.WriteFile(c.Key, []byte(c.Old), 0)
}

func (c *change) undoAddress() (string, error) {
	p, err := netip.ParsePrefix(c.Key)
	if err != nil {
		return "", err
	}
	name := cmp.Or(c.Link, loopback)
	link, err := netlink.LinkByName(name)
	if isGone(err) && name != loopback {
		return "", nil
	} else if err != nil {
		return "", err
	}
	err = netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(p)})
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("take %v off %s: %w", p, name, err)
	}
	return fmt.Sprintf("%v off %s", p, name), nil
}

func (c *change) undoRoute() (string, error) {
	r, err := c.Route.route()
	if isGone(err) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	if c.Kind == kindReplaced {
		if err := netlink.RouteReplace(r); err != nil {
			return "", fmt.Errorf("put the route to %v by %v back: %w", c.Route.Dst, orNobody(c.Route.Gateway), err)
		}
		return fmt.Sprintf("route to %v by %v is back", c.Route.Dst, orNobody(c.Route.Gateway)), nil
	}
	err = netlink.RouteDel(r)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("remove the route to %v: %w", c.Route.Dst, err)
	}
	return fmt.Sprintf("route to %v removed", c.Route.Dst), nil
}

func (c *change) undoRule() (string, error) {
	vip, err := netip.ParseAddr(c.Key)
	if err != nil {
		return "", err
	}
	err = netlink.RuleDel(rule(vip, c.Table))
	if errors.Is(err, unix.ENOENT) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("remove the rule from %v: %w", vip, err)
	}
	return fmt.Sprintf("rule from %v removed", vip), nil
}

// undoLink switches a link off that was off, and removes one that was not there; the kernel keeps its own.
func (c *change) undoLink() (string, error) {
	link, err := netlink.LinkByName(c.Key)
	if isGone(err) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	if c.Kind == kindMade && netlink.LinkDel(link) == nil {
		return c.Key + " removed", nil
	}
	return c.Key + " down", netlink.LinkSetDown(link)
}
