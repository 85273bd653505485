package realserver

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ulvs/lvs"
)

// How tunnels are unpacked: Config.Decap.
const (
	DecapAuto   = "auto"   // by the kernel if it can, else by the program
	DecapKernel = "kernel" // tunl0 and ip6tnl0
	DecapXDP    = "xdp"    // package decap's program on the interface
)

// DefaultTable is the routing table of replies that leave by a gateway of their own.
const DefaultTable = 7300

// maxVIPs bounds one host's VIPs: far more than anybody has, few enough to look at in a second.
const maxVIPs = 1024

// Config is one way in which a host serves. Addresses may be of both families.
type Config struct {
	Method string       `json:"method"` // dr, nat or tun
	VIPs   []netip.Addr `json:"vips"`
	// Gateways has one address for each family at most. For nat it is the director, the host's default
	// gateway. For dr and tun: where replies leave, if not where everything else does.
	Gateways  []netip.Addr `json:"gateways,omitempty"`
	Interface string       `json:"interface,omitempty"` // where the director's packets arrive; "": the default route's
	Decap     string       `json:"decap,omitempty"`     // of tun; "": auto
	Table     int          `json:"table,omitempty"`     // of dr and tun with Gateways; 0: DefaultTable
}

// method is Method, after Validate.
func (c *Config) method() lvs.Method {
	m, _ := lvs.ParseMethod(c.Method)
	return m
}

// Validate returns every mistake in c, joined.
func (c *Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	m, ok := lvs.ParseMethod(c.Method)
	if !ok {
		wrong("method %.40q: want dr, nat or tun", c.Method)
	}
	if len(c.VIPs) == 0 && m != lvs.MethodNAT {
		wrong("no VIP: %s needs one, such as 192.168.1.8", c.Method)
	}
	if len(c.VIPs) > maxVIPs {
		wrong("%d VIPs: at most %d", len(c.VIPs), maxVIPs)
	}
	for _, vip := range c.VIPs {
		if !usable(vip) {
			wrong("VIP %v: want the address of one host", vip)
		}
	}
	if m == lvs.MethodNAT && ok && len(c.Gateways) == 0 {
		wrong("no gateway: with nat, replies have to come back through the director; give its address on this network")
	}
	errs = append(errs, c.validateGateways()...)
	if !slices.Contains([]string{"", DecapAuto, DecapKernel, DecapXDP}, c.Decap) {
		wrong("decap %.40q: want auto, kernel or xdp", c.Decap)
	}
	if c.Table < 0 || c.Table > 1<<31-1 || c.Table >= unix.RT_TABLE_COMPAT && c.Table <= unix.RT_TABLE_LOCAL {
		wrong("table %d: want a routing table's number, none of the kernel's own (252 to 255)", c.Table)
	}
	return errors.Join(errs...)
}

func (c *Config) validateGateways() (errs []error) {
	seen := map[int]bool{}
	for _, gw := range c.Gateways {
		if !usable(gw) {
			errs = append(errs, fmt.Errorf("gateway %v: want the address of one host", gw))
		}
		if seen[family(gw)] {
			errs = append(errs, fmt.Errorf("gateway %v: the second of its family", gw))
		}
		seen[family(gw)] = true
		if slices.Contains(c.VIPs, gw) {
			errs = append(errs, fmt.Errorf("gateway %v is a VIP: give the director's own address, or its floating one", gw))
		}
	}
	return errs
}

// usable tells whether a is one host's plain address.
func usable(a netip.Addr) bool {
	return a.IsValid() && !a.Is4In6() && a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() &&
		a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// merge returns c with what add asks for besides: VIPs are joined, everything else add gives holds.
func (c Config) merge(add Config) Config {
	c.VIPs = slices.Clone(c.VIPs)
	for _, vip := range add.VIPs {
		if !slices.Contains(c.VIPs, vip) {
			c.VIPs = append(c.VIPs, vip)
		}
	}
	if len(add.Gateways) > 0 {
		c.Gateways = add.Gateways
	}
	if add.Interface != "" {
		c.Interface = add.Interface
	}
	if add.Decap != "" {
		c.Decap = add.Decap
	}
	if add.Table != 0 {
		c.Table = add.Table
	}
	return c
}

// mergeInto replaces the Config of add's method in list by both together.
func mergeInto(list []Config, add Config) []Config {
	list = slices.Clone(list)
	for i := range list {
		if list[i].Method == add.Method {
			list[i] = list[i].merge(add)
			return list
		}
	}
	return append(list, add)
}

// without returns list with less: the VIPs named, or the whole method when none is.
func without(list []Config, method string, vips []netip.Addr) (rest []Config) {
	for _, c := range list {
		if method != "" && c.Method != method {
			rest = append(rest, c)
			continue
		}
		had := len(c.VIPs)
		c.VIPs = slices.DeleteFunc(slices.Clone(c.VIPs), func(a netip.Addr) bool { return slices.Contains(vips, a) })
		if len(vips) > 0 && (len(c.VIPs) > 0 || had == 0) {
			rest = append(rest, c)
		}
	}
	return rest
}

// resolve fills in what depends on the host: the interface, and how tunnels are unpacked.
func (c Config) resolve() (Config, error) {
	if c.Interface == "" {
		c.Interface = defaultInterface()
	} else if _, err := netlink.LinkByName(c.Interface); err != nil {
		return c, fmt.Errorf("no interface %q here: %w", c.Interface, err)
	}
	if c.Table == 0 {
		c.Table = DefaultTable
	}
	if c.method() != lvs.MethodTUN {
		return c, nil
	}
	if c.Decap == "" || c.Decap == DecapAuto {
		c.Decap = pickDecap(c.VIPs)
	}
	if c.Decap == DecapXDP && c.Interface == "" {
		return c, errors.New("this kernel cannot unpack tunnels and there is no default route to tell the interface by: " +
			"say with --interface where the director's packets arrive")
	}
	return c, nil
}

// defaultInterface is that of the default route, or the only one there is, or "".
func defaultInterface() string {
	for _, fam := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		if best, _ := defaultRoute(fam); best != nil {
			if link, err := netlink.LinkByIndex(best.LinkIndex); err == nil {
				return link.Attrs().Name
			}
		}
	}
	links, err := netlink.LinkList()
	if err != nil {
		return ""
	}
	links = slices.DeleteFunc(links, func(l netlink.Link) bool { return !isWire(l) })
	if len(links) != 1 {
		return ""
	}
	return links[0].Attrs().Name
}

// isWire tells links on which packets of a network arrive from those inside of the host.
func isWire(l netlink.Link) bool {
	switch l.Type() {
	case "dummy", "ifb", "ipip", "sit", "ip6tnl", "gre", "ip6gre", "gretap", "erspan", "vti", "vti6":
		return false
	}
	return l.Attrs().Name != loopback
}

func family(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}
