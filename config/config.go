// Package config turns a TOML file into validated settings of a director: its
// node, its timeouts and other behaviour, its services and their real servers, and its marks.
//
// It owns the file format: every key, its default, its limits, and the words of
// every complaint, each with file and line and all of them at once. It does not
// touch the machine (whether an interface exists is asked through Options),
// start anything, or keep state; package lvs freezes what it returns.
package config

import (
	"fmt"
	"io"
	"os"
	"time"

	"ulvs/lvs"
)

// DefaultControlSocket is where ulvs listens for its own commands.
const DefaultControlSocket = "/run/ulvs/control.sock"

// DefaultStateDir is systemd's StateDirectory=ulvs.
const DefaultStateDir = "/var/lib/ulvs"

// MaxFileBytes bounds a file: a million real servers fit with room to spare.
const MaxFileBytes = 256 << 20

// IO is the packet I/O backend.
type IO string

// The backends.
const (
	IOAFXDP  IO = "afxdp"  // our own AF_XDP sockets
	IOAsavie IO = "asavie" // AF_XDP through github.com/asavie/xdp
)

// XDPMode is how frames reach the AF_XDP sockets.
type XDPMode string

// The modes: auto takes zero-copy where the driver has it and copies otherwise.
const (
	XDPAuto     XDPMode = "auto"
	XDPZeroCopy XDPMode = "zerocopy" // fail when the driver has no zero-copy
	XDPCopy     XDPMode = "copy"
	XDPGeneric  XDPMode = "generic" // the program runs after the driver: slow, works everywhere
)

// VIPMode is who holds the VIPs.
type VIPMode string

// The VIP modes.
const (
	VIPUser    VIPMode = "user"    // on no interface; ulvs answers ARP, NS and echo itself
	VIPNetlink VIPMode = "netlink" // on the interface, as keepalived does
)

// Idle is what a worker does while there are no frames.
type Idle string

// The idle policies: auto spins shortly, then polls.
const (
	IdleAuto Idle = "auto"
	IdleSpin Idle = "spin" // never sleeps; lowest latency, one core at 100 %
	IdlePoll Idle = "poll" // sleeps at once; lowest CPU
)

// Node is the [node] section: this machine.
type Node struct {
	Name          string   `json:"name"` // shown in status and logs
	Interfaces    []string `json:"interfaces"`
	ConnTabBits   int      `json:"conn_tab_bits"` // log2 of the sessions the table is sized for
	MaxConns      int      `json:"max_conns"`     // 0: no limit
	Workers       int      `json:"workers"`       // 0: auto, one per queue
	CPUs          []int    `json:"cpus"`          // nil: auto; else the core of each worker
	IO            IO       `json:"io"`
	XDPMode       XDPMode  `json:"xdp_mode"`
	VIPMode       VIPMode  `json:"vip_mode"`
	ControlSocket string   `json:"control_socket"`
	StateDir      string   `json:"state_directory"` // what must outlive the process is kept there
	Frames        int      `json:"frames"`          // per worker; a power of two
	Idle          Idle     `json:"idle"`
	// ProbePorts are the first and last source port of checks down the real path.
	ProbePorts [2]uint16 `json:"probe_ports"`
}

// Timeouts is the [timeouts] section, ipvsadm --set: whole seconds.
type Timeouts struct {
	TCP    time.Duration `json:"tcp_ns"`
	TCPFin time.Duration `json:"tcpfin_ns"`
	UDP    time.Duration `json:"udp_ns"`
}

// Config is a file that has passed every check.
type Config struct {
	Node     Node
	Timeouts Timeouts
	Settings lvs.Settings // the [settings] section, a kernel's where it says nothing
	Takeover Takeover     // [[vrrp]] and what belongs to it
	Sync     Sync         // the other directors
	IPVSSync IPVSSync     // kernels that speak IPVS's sync protocol
	Tuning   Tuning       // what may be changed on the machine
	Restart  Restart      // what outlives the process
	services []lvs.Service
	marks    []Mark
	inherits []inherit // of the service with the same index
	care     []Care    // of services in their order

	texts     map[string]*parsed // services by their text; nil if the file is not in plain tables
	metrics   Metrics
	dashboard Dashboard
	notifies  []Notify
}

// Services returns the services in the order of the file, ready for lvs.Build. Destinations are
// in the kernel's order: the last real server of the file, added last, is first.
// The caller owns the result.
func (c *Config) Services() []lvs.Service {
	out := make([]lvs.Service, len(c.services))
	for i, s := range c.services {
		out[i] = s
		out[i].Destinations = append([]lvs.Destination(nil), s.Destinations...)
	}
	return out
}

// Care returns what the file says of its services' health, in their order. It is not to be changed.
func (c *Config) Care() []Care { return c.care }

// Marks returns the rules that give packets a mark, in the order of the file: the first that
// matches holds. The caller owns the result.
func (c *Config) Marks() []Mark { return append([]Mark(nil), c.marks...) }

// Options is what Parse cannot know from the text. The zero value checks the text alone.
type Options struct {
	// Interfaces tells why the named interface cannot be used, nil if it can. A nil
	// func skips the check (a file for another machine).
	Interfaces func(name string) error
	// CPUs is how many cores the machine has, numbered from 0. 0 skips the check.
	CPUs int
	// Previous is what the file said before: services whose text is the same are not read again. The result does
	// not depend on it. May be nil.
	Previous *Config
	// Hostname is the default of node.name. Empty: "ulvs".
	Hostname string
}

// Parse reads a configuration. name is used in complaints only. The error is an ErrorList with
// everything that is wrong, in the order of the lines; only a TOML syntax error
// stands alone, because the text behind it means nothing yet.
func Parse(name string, text []byte, opt Options) (*Config, error) {
	if opt.Previous != nil {
		p := &parser{file: name, opt: opt}
		if c := p.again(string(text), opt.Previous); c != nil {
			return c, nil
		}
	}
	p := &parser{file: name, opt: opt}
	var c *Config
	if root := p.decode(text); root != nil {
		c = p.config(root)
	}
	if len(p.problems) > 0 {
		return nil, p.errors(text)
	}
	c.remember(string(text))
	return c, nil
}

// Load reads and parses the file at path.
func Load(path string, opt Options) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, text, opt)
}
