package differential

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// key is a service's identity. mark is 0 or the address only tells the family.
type key struct {
	proto byte
	addr  netip.Addr
	port  uint16
	mark  int
}

func (k key) v6() bool { return k.addr.Is6() }

type service struct {
	key
	sched     string
	flags     []string
	persist   int64 // seconds
	bits      int   // of the persistence mask
	ops       bool
	list      []*dest // newest first
	scheduler scheduler
	counts    counts
}

// dest is a real server. It outlives its removal: see trash.
type dest struct {
	svc                *service // that it was in last
	key                key      // of that service
	addr               netip.Addr
	port               uint16
	method             string // -g, -m or -i
	tunnel             tunnel
	weight, lastWeight int
	upper, lower       int

	available, overload       bool
	active, inactive, persist int
	counts                    counts
	idle                      int64 // since when nothing refers to the removed one; -1: not seen so yet
}

type tunnel struct {
	kind string // ipip, gue, gre
	port uint16
	csum string // nocsum, csum, remcsum
}

func (d *dest) addrPort() netip.AddrPort { return netip.AddrPortFrom(d.addr, d.port) }

func (d *dest) sessions() int { return d.active + d.inactive }

// bound and unbound are ip_vs_bind_dest's and ip_vs_unbind_dest's look at the thresholds, whether a session or a
// template was counted.
func (d *dest) bound() {
	if d.upper != 0 && d.sessions() >= d.upper {
		d.overload = true
	}
}

func (d *dest) unbound() {
	switch {
	case d.lower != 0:
		if d.sessions() < d.lower {
			d.overload = false
		}
	case d.upper != 0:
		if d.sessions()*4 < d.upper*3 {
			d.overload = false
		}
	default:
		d.overload = false
	}
}

// counts are the counters of a service or real server, and their rates: of connections, packets in and out, bytes in
// and out. What is shown is what the estimator saw last, since -Z.
type counts struct{ now, last, base, rate [5]int64 }

// zero is -Z.
func (c *counts) zero() { c.base, c.rate = c.last, [5]int64{} }

func (c *counts) shown() (n [5]int64) {
	for i := range n {
		n[i] = c.last[i] - c.base[i]
	}
	return n
}

func (c *counts) add(o [5]int64) {
	for i := range o {
		c.now[i] += o[i]
	}
}

// tick is the estimator, every two seconds.
func (c *counts) tick() {
	for i := range c.now {
		scale := int64(1 << 9)
		if i > 2 {
			scale = 1 << 4
		}
		c.rate[i] += ((c.now[i]-c.last[i])*scale - c.rate[i]) >> 2
	}
	c.last = c.now
}

func (c *counts) rates() (r [5]int64) {
	for i := range r {
		if i > 2 {
			r[i] = (c.rate[i] + 0xf) >> 5
		} else {
			r[i] = (c.rate[i] + 0x1ff) >> 10
		}
	}
	return r
}

// Exit codes of ipvsadm.
const (
	exitUsage   = 2
	exitRefused = 255
)

// result is what a command prints and its exit code.
type result struct {
	text string
	code int
}

func refused(format string, args ...any) result {
	return result{fmt.Sprintf(format, args...) + "\n", exitRefused}
}

func usage(format string, args ...any) result {
	return result{fmt.Sprintf(format, args...) + "\n", exitUsage}
}

func (m *model) service(k key) *service {
	for _, s := range m.services {
		if s.key == k {
			return s
		}
	}
	return nil
}

func (s *service) server(a netip.AddrPort) *dest {
	for _, d := range s.list {
		if d.addrPort() == a {
			return d
		}
	}
	return nil
}

// setService is -A and -E.
func (m *model) setService(add bool, want service) result {
	if want.mark == 0 && want.port == 0 && want.persist == 0 {
		return usage("Zero port specified for non-persistent service")
	}
	if want.ops && want.mark == 0 && want.proto != protoUDP {
		return usage("One-Packet Scheduling is only for UDP virtual services")
	}
	s := m.service(want.key)
	switch {
	case add && s != nil:
		return refused("Service already exists")
	case !add && s == nil:
		return refused("No such service")
	case newScheduler(want.sched) == nil:
		return refused("Scheduler or persistence engine not found")
	}
	if add {
		s = &service{key: want.key}
		m.services = append(m.services, s)
	}
	s.flags, s.persist, s.bits, s.ops = want.flags, want.persist, want.bits, want.ops
	if s.sched != want.sched {
		s.sched, s.scheduler = want.sched, newScheduler(want.sched)
		s.scheduler.changed(s.list, nil, nil)
	}
	return result{}
}

// setServer is -a and -e.
func (m *model) setServer(add bool, k key, want dest) result {
	if k.mark == 0 && want.method != "-m" {
		want.port = k.port
	}
	if want.method != "-i" && want.addr.Is6() != k.v6() {
		return usage("Different address family is allowed only for tunneling servers")
	}
	s := m.service(k)
	if s == nil {
		return refused("Service not defined")
	}
	if want.lower > want.upper {
		return refused("Numerical result out of range")
	}
	d := s.server(want.addrPort())
	switch {
	case add && d != nil:
		return refused("Destination already exists")
	case !add && d == nil:
		return refused("No such destination")
	}
	if add {
		d = m.revived(s, want)
		d.available = true
		s.list = slices.Insert(s.list, 0, d)
	}
	d.method, d.tunnel = want.method, want.tunnel
	if d.weight = want.weight; add || d.weight != 0 {
		d.lastWeight = d.weight
	}
	if want.upper == 0 || want.upper > d.upper {
		d.overload = false
	}
	d.upper, d.lower = want.upper, want.lower
	m.fault.edit(d)
	if _, isDH := s.scheduler.(*destinationHash); add || !isDH {
		s.scheduler.changed(s.list, nil, nil)
	}
	return result{}
}

// revived takes a real server out of the trash, or makes one. It keeps its counters if the service is the one it
// was in.
func (m *model) revived(s *service, want dest) *dest {
	at := slices.IndexFunc(m.trash, func(d *dest) bool { return d.key == s.key && d.addrPort() == want.addrPort() })
	if at < 0 {
		return &dest{svc: s, key: s.key, addr: want.addr, port: want.port}
	}
	d := m.trash[at]
	m.trash = slices.Delete(m.trash, at, at+1)
	if d.svc != s {
		d.svc = s
		d.counts = counts{}
	}
	return d
}

// removeServer is -d.
func (m *model) removeServer(k key, a netip.AddrPort) result {
	s := m.service(k)
	if s == nil {
		return refused("Service not defined")
	}
	d := s.server(a)
	if d == nil {
		return refused("No such destination")
	}
	m.unlink(s, d)
	m.flushOrphans()
	return result{}
}

func (m *model) unlink(s *service, d *dest) {
	at := slices.Index(s.list, d)
	var before *dest
	if at > 0 {
		before = s.list[at-1]
	}
	s.list = slices.Delete(s.list, at, at+1)
	d.available, d.idle = false, -1
	s.scheduler.changed(s.list, d, before)
	m.trash = append(m.trash, d)
}

// trashPeriod is how long a removed real server is kept that nothing refers to, in seconds.
const trashPeriod = 120

// lookAtTrash throws away what was idle two minutes ago already.
func (m *model) lookAtTrash(now int64) {
	m.trash = slices.DeleteFunc(m.trash, func(d *dest) bool {
		switch {
		case d.sessions()+d.persist > 0 || m.remembered(d):
			d.idle = -1
		case d.idle < 0:
			d.idle = now
		default:
			return now >= d.idle+trashPeriod
		}
		return false
	})
}

// remembered reports whether a scheduler holds on to a real server.
func (m *model) remembered(d *dest) bool {
	for _, s := range m.services {
		l, ok := s.scheduler.(*locality)
		if !ok {
			continue
		}
		for _, e := range l.cached {
			if slices.Contains(e.servers, d) {
				return true
			}
		}
	}
	return false
}

// removeService is -D.
func (m *model) removeService(k key) result {
	s := m.service(k)
	if s == nil {
		return refused("No such service")
	}
	if len(s.list) > 0 {
		defer m.flushOrphans()
	}
	for len(s.list) > 0 {
		m.unlink(s, s.list[0])
	}
	m.services = slices.DeleteFunc(m.services, func(o *service) bool { return o == s })
	return result{}
}

func (m *model) clear() result {
	for len(m.services) > 0 {
		m.removeService(m.services[0].key)
	}
	return result{}
}

func (m *model) zero(k *key) result {
	if k != nil && m.service(*k) == nil {
		return refused("No such service")
	}
	for _, s := range m.services {
		if k != nil && s.key != *k {
			continue
		}
		s.counts.zero()
		for _, d := range s.list {
			d.counts.zero()
		}
	}
	return result{}
}

func (m *model) setTimeouts(seconds [3]int) result {
	for i, state := range []string{"ESTABLISHED", "FIN_WAIT", "UDP"} {
		if seconds[i] != 0 {
			m.timeouts[state] = int64(seconds[i])
		}
	}
	return result{}
}

// command does what an ipvsadm command line asks for: the shapes that the driver makes, and no others.
func (m *model) command(args []string) result {
	a := parsed(args)
	switch args[0] {
	case "-A", "-E":
		return m.setService(args[0] == "-A", a.service)
	case "-D":
		return m.removeService(a.service.key)
	case "-a", "-e":
		return m.setServer(args[0] == "-a", a.service.key, a.dest)
	case "-d":
		return m.removeServer(a.service.key, a.dest.addrPort())
	case "-C":
		return m.clear()
	case "-Z":
		if a.service.key == (key{}) {
			return m.zero(nil)
		}
		return m.zero(&a.service.key)
	case "--set":
		n := [3]int{number(args[1]), number(args[2]), number(args[3])}
		return m.setTimeouts(n)
	case "-Ln", "-Lcn", "-Sn", "-L":
		return m.list(args)
	}
	panic("the model does not know " + strings.Join(args, " "))
}

// arguments are those of one line.
type arguments struct {
	service service
	dest    dest
}

func parsed(args []string) (a arguments) {
	a.service.sched, a.dest.weight, a.dest.method = "wlc", 1, "-g"
	a.dest.tunnel = tunnel{kind: "ipip", csum: "nocsum"}
	for i := 1; i < len(args); i++ {
		value := ""
		if i+1 < len(args) {
			value = args[i+1]
		}
		if a.serviceOption(args[i], value) || a.serverOption(args[i], value) {
			i++
		}
	}
	return a
}

// serviceOption takes an option and reports whether it has a value.
func (a *arguments) serviceOption(option, value string) bool {
	s := &a.service
	switch option {
	case "-t", "-u":
		to := netip.MustParseAddrPort(value)
		s.key = key{proto: protoTCP, addr: to.Addr(), port: to.Port()}
		if option == "-u" {
			s.proto = protoUDP
		}
		s.bits = to.Addr().BitLen()
	case "-f":
		s.key = key{mark: number(value), addr: netip.IPv4Unspecified()}
		s.bits = 32
	case "-s":
		s.sched = value
	case "-p":
		s.persist = int64(number(value))
	case "-M":
		s.bits = maskBits(value)
	case "-b":
		s.flags = strings.Split(value, ",")
	case "-o":
		s.ops = true
		return false
	default:
		return false
	}
	return true
}

func (a *arguments) serverOption(option, value string) bool {
	d := &a.dest
	switch option {
	case "-r":
		to := netip.MustParseAddrPort(value)
		d.addr, d.port = to.Addr(), to.Port()
	case "-w":
		d.weight = number(value)
	case "-x":
		d.upper = number(value)
	case "-y":
		d.lower = number(value)
	case "--tun-type":
		d.tunnel.kind = value
	case "--tun-port":
		d.tunnel.port = uint16(number(value))
	case "--tun-csum", "--tun-nocsum", "--tun-remcsum":
		d.tunnel.csum = option[len("--tun-"):]
		return false
	case "-g", "-m", "-i":
		d.method = option
		return false
	default:
		return false
	}
	return true
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}

// maskBits reads a dotted mask or a prefix length.
func maskBits(text string) (n int) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return number(text)
	}
	for _, b := range a.As4() {
		for ; b&0x80 != 0; b <<= 1 {
			n++
		}
	}
	return n
}
