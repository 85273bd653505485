package lab

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"ulvs/lvs"
)

// The ports of the services that Config makes, on every VIP.
const (
	PortEcho   = 7    // TCP and UDP
	PortHTTP   = 80   // TCP
	PortMapped = 8080 // TCP, NAT only: to PortHTTP of the real servers
	PortIperf  = 5201 // TCP; scheduler sh: one client's connections stay together
)

// ConfigOptions says what a director is to do. The zero value makes the services of
// all three methods, both families, on d1.
type ConfigOptions struct {
	Director string       // d1 ..; empty: d1
	Methods  []lvs.Method // empty: all three
	Family   int          // 4 or 6; 0: both
	// CrossFamily reaches TUN's real servers by their other family's address.
	CrossFamily bool
	Scheduler   string // empty: rr
	IO          string // afxdp or asavie; empty leaves the key out
	XDPMode     string // empty leaves the key out
	Workers     int    // 0: one for each queue of the lab
	Extra       string // lines that go into [node], TOML
}

// KeepsNothing is the [restart] of Config.
const KeepsNothing = "[restart]\nkeep = \"off\""

// Interfaces returns the director's ports, whose frames it takes.
func (l *Lab) Interfaces() []string { return []string{clientLink, serverLink} }

// ControlSocket returns the path that Config gives a director's control socket.
func (l *Lab) ControlSocket(director string) string {
	return filepath.Join(StateDir, l.opts.Prefix+"-"+director+".sock")
}

// Config returns a configuration file for a director of the lab.
func (l *Lab) Config(c ConfigOptions) string {
	if c.Director == "" {
		c.Director = "d1"
	}
	if len(c.Methods) == 0 {
		c.Methods = []lvs.Method{lvs.MethodDR, lvs.MethodNAT, lvs.MethodTUN}
	}
	if c.Scheduler == "" {
		c.Scheduler = "rr"
	}
	if c.Workers == 0 {
		c.Workers = l.opts.Queues
	}
	var b strings.Builder
	l.configNode(&b, c)
	for _, m := range c.Methods {
		for _, v6 := range []bool{false, true} {
			if c.Family == 0 || (c.Family == 6) == v6 {
				l.configServices(&b, c, m, v6)
			}
		}
	}
	return b.String()
}

func (l *Lab) configNode(b *strings.Builder, c ConfigOptions) {
	fmt.Fprintf(b, "[node]\nname = %q\ninterfaces = [%q, %q]\nworkers = %d\ncontrol_socket = %q\n",
		c.Director, clientLink, serverLink, c.Workers, l.ControlSocket(c.Director))
	if c.IO != "" {
		fmt.Fprintf(b, "io = %q\n", c.IO)
	}
	if c.XDPMode != "" {
		fmt.Fprintf(b, "xdp_mode = %q\n", c.XDPMode)
	}
	if c.Extra != "" {
		fmt.Fprintln(b, strings.TrimSpace(c.Extra))
	}
	fmt.Fprintf(b, "\n%s\n", KeepsNothing) // a lab's director that is killed leaves no process behind
}

// configService is one [[service]] of a lab.
type configService struct {
	method    lvs.Method
	protocol  string
	scheduler string
	vip       netip.AddrPort
	realPort  uint16
}

func (l *Lab) configServices(b *strings.Builder, c ConfigOptions, m lvs.Method, v6 bool) {
	vip := l.addrs.VIP(m)
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(vip.Family(v6), port) }
	list := []configService{
		{m, "tcp", c.Scheduler, at(PortHTTP), PortHTTP},
		{m, "tcp", c.Scheduler, at(PortEcho), PortEcho},
		{m, "udp", c.Scheduler, at(PortEcho), PortEcho},
		{m, "tcp", "sh", at(PortIperf), PortIperf},
	}
	if m == lvs.MethodNAT {
		list = append(list, configService{m, "tcp", c.Scheduler, at(PortMapped), PortHTTP})
	}
	realV6 := v6 != (c.CrossFamily && m == lvs.MethodTUN)
	for _, s := range list {
		fmt.Fprintf(b, "\n[[service]]\nvip = %q\nprotocol = %q\nscheduler = %q\nmethod = %q\n",
			s.vip, s.protocol, s.scheduler, s.method)
		for _, r := range l.addrs.Reals {
			fmt.Fprintf(b, "\n  [[service.real_server]]\n  address = %q\n  weight = 1\n",
				netip.AddrPortFrom(r.Addr.Family(realV6), s.realPort))
		}
	}
}
