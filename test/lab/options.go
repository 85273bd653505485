package lab

import (
	"errors"
	"fmt"
	"regexp"
)

// Defaults and limits of Options.
const (
	DefaultPrefix      = "ulvs"
	DefaultRealServers = 3
	DefaultMTU         = 1500 // bytes, as on an ordinary Ethernet
	MaxRealServers     = 80   // the addresses .11 to .90, direct .111 to .190
	MaxDirectors       = 8    // the addresses .2 to .9
	MaxQueues          = 16
	// MaxMTU is what an XDP program without multi-buffer support takes on a veth
	// with 4 KiB pages (afxdp: 3506 attaches, 3520 is refused).
	MaxMTU = 3506
	minMTU = 1280 // IPv6's
)

// Options says what to build. The zero value is one director and three real servers
// under the prefix "ulvs", one queue, MTU 1500, no VLANs.
type Options struct {
	Prefix      string `json:"prefix"`       // begins every namespace's name: letters, digits, dashes
	RealServers int    `json:"real_servers"` // r1 ..
	Directors   int    `json:"directors"`    // d1 ..; the real servers' gateway for NAT is d1
	Queues      int    `json:"queues"`       // of each director port
	MTU         int    `json:"mtu"`          // bytes, every link
	// ServerMTU is the MTU of the server side, in bytes; 0: as MTU. 1540 and above
	// takes a full packet in a tunnel.
	ServerMTU int `json:"server_mtu"`
	// VLAN makes the directors' ports carry tagged frames (802.1Q ids ClientVLAN
	// and ServerVLAN); their interfaces are then c0.100 and s0.200. It needs a kernel with 8021q.
	VLAN bool `json:"vlan"`
	// Bare leaves the real servers as a rack has them: an address, the gateway as their default route, nothing
	// of ulvs. "ulvs realserver setup" does the rest.
	Bare bool `json:"bare,omitempty"`
}

// The VLANs of Options.VLAN.
const (
	ClientVLAN = 100
	ServerVLAN = 200
)

var prefixSyntax = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// withDefaults fills what is zero.
func (o Options) withDefaults() Options {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	setDefault(&o.RealServers, DefaultRealServers)
	setDefault(&o.Directors, 1)
	setDefault(&o.Queues, 1)
	setDefault(&o.MTU, DefaultMTU)
	setDefault(&o.ServerMTU, o.MTU)
	return o
}

func setDefault(v *int, def int) {
	if *v == 0 {
		*v = def
	}
}

// validate returns everything that is wrong with o, joined.
func (o Options) validate() error {
	var errs []error
	if !prefixSyntax.MatchString(o.Prefix) {
		errs = append(errs, fmt.Errorf(
			"prefix %q: want a lower-case letter, then letters, digits and dashes, 32 at most", o.Prefix))
	}
	inRange := func(name string, v, low, high int) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("%s %d: want %d to %d", name, v, low, high))
		}
	}
	inRange("real servers", o.RealServers, 1, MaxRealServers)
	inRange("directors", o.Directors, 1, MaxDirectors)
	inRange("queues", o.Queues, 1, MaxQueues)
	inRange("mtu", o.MTU, minMTU, MaxMTU)
	inRange("server mtu", o.ServerMTU, minMTU, MaxMTU)
	return errors.Join(errs...)
}
