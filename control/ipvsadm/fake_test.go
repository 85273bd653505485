package ipvsadm

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ulvs/control"
	"ulvs/lvs"
)

// fake is a director without packets. It knows the kernel's schedulers, and two interfaces.
type fake struct {
	services []lvs.Service
	timeouts [3]int
	daemons  []lvs.SyncDaemon
	conns    []control.ListedConn
	counts   map[string]counts // by "TCP 192.0.2.1:80" or that and " 10.0.0.1:80"
	down     error             // every call's answer, if not nil
}

// counts are what a listing shows of a service or a real server.
type counts struct {
	active, inactive, persistent int
	control.Counters
}

func newFake() *fake { return &fake{timeouts: [3]int{900, 120, 300}} }

var schedulers = strings.Fields("rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh")

func (f *fake) Edit(e *lvs.Edit) error {
	if f.down != nil {
		return f.down
	}
	next, err := e.ApplyTo(f.services)
	if err != nil {
		return err
	}
	switch e.Op {
	case lvs.EditAddService, lvs.EditSetService:
		if !slices.Contains(schedulers, e.Service.Scheduler) {
			return &lvs.EditError{Op: e.Op, Errno: syscall.ENOENT}
		}
	case lvs.EditAddDest, lvs.EditSetDest:
		if a := e.Dest.Addr; a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() || a == broadcast {
			return &lvs.EditError{Op: e.Op, Errno: syscall.EINVAL}
		}
	case lvs.EditTimeouts:
		for i, t := range e.Timeouts {
			if t != 0 {
				f.timeouts[i] = t
			}
		}
	case lvs.EditStartSync:
		return f.start(e)
	case lvs.EditStopSync:
		return f.stop(e)
	}
	f.services = next
	return nil
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func (f *fake) role(role string) int {
	return slices.IndexFunc(f.daemons, func(d lvs.SyncDaemon) bool { return d.Role == role })
}

func (f *fake) start(e *lvs.Edit) error {
	d := e.Sync
	if d.Interface != "s0" && d.Interface != "c0" && d.Interface != "lo" {
		return &lvs.EditError{Op: e.Op, Errno: syscall.ENODEV}
	}
	if f.role(d.Role) >= 0 {
		return &lvs.EditError{Op: e.Op, Errno: syscall.EEXIST}
	}
	if d.Group == "" {
		d.Group = "224.0.0.81"
	}
	headers := 28
	if strings.Contains(d.Group, ":") {
		headers = 48
	}
	if d.MaxLen == 0 {
		d.MaxLen = 1500 - headers
	}
	d.MaxLen = max(d.MaxLen, 1024)
	d.Port = cmpOr(d.Port, 8848)
	d.TTL = cmpOr(d.TTL, 1)
	f.daemons = append(f.daemons, d)
	slices.SortFunc(f.daemons, func(a, b lvs.SyncDaemon) int { return -strings.Compare(a.Role, b.Role) })
	return nil
}

func cmpOr(a, b int) int {
	if a != 0 {
		return a
	}
	return b
}

func (f *fake) stop(e *lvs.Edit) error {
	i := f.role(e.Sync.Role)
	if i < 0 {
		return &lvs.EditError{Op: e.Op, Errno: syscall.ESRCH}
	}
	f.daemons = slices.Delete(f.daemons, i, i+1)
	return nil
}

func (f *fake) Listing() (control.Listing, error) {
	l := control.Listing{Size: 4096, Timeouts: f.timeouts, Daemons: f.daemons, Settings: lvs.DefaultSettings()}
	for _, s := range f.services {
		name := nameOf(&s.Key)
		ls := control.ListedService{Service: s, Counters: f.counts[name].Counters}
		for _, d := range s.Destinations {
			c := f.counts[name+" "+d.AddrPort().String()]
			ls.Destinations = append(ls.Destinations, control.ListedDestination{Destination: d, Active: c.active,
				Inactive: c.inactive, Persistent: c.persistent, Counters: c.Counters})
		}
		ls.Service.Destinations = nil
		l.Services = append(l.Services, ls)
	}
	return l, f.down
}

func nameOf(k *lvs.ServiceKey) string {
	r := runner{names: recordedNames}
	return strings.Join(strings.Fields(r.serviceName(k, style{given: setOf(tagNumeric)})), " ")
}

func (f *fake) Conns(fn func(control.ListedConn) bool) error {
	for _, c := range f.conns {
		if !fn(c) {
			break
		}
	}
	return f.down
}

// fileNames are the /etc/hosts and /etc/services of the recordings.
type fileNames struct{ hosts map[string]string }

var ports = map[string]uint16{"http/tcp": 80, "https/tcp": 443, "domain/tcp": 53, "domain/udp": 53, "tftp/udp": 69,
	"smtp/tcp": 25}

func (n fileNames) Address(host string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(n.hosts[host])
	return a, err == nil
}

func (n fileNames) Host(addr netip.Addr) (string, bool) {
	best := ""
	for name, a := range n.hosts {
		if a == addr.String() && len(name) > len(best) {
			best = name
		}
	}
	return best, best != ""
}

func (n fileNames) Port(service string, proto uint8) (uint16, bool) {
	p, ok := ports[service+"/"+lvs.ProtoName(proto)]
	return p, ok
}

func (n fileNames) Service(port uint16, proto uint8) (string, bool) {
	for key, p := range ports {
		if name, of, _ := strings.Cut(key, "/"); p == port && of == lvs.ProtoName(proto) {
			return name, true
		}
	}
	return "", false
}

// call is what one command printed.
type call struct {
	out, err string
	rc       int
}

func run(t testing.TB, b Backend, in string, args ...string) call {
	t.Helper()
	var out, errOut bytes.Buffer
	rc := Run(args, IO{In: strings.NewReader(in), Out: &out, Err: &errOut, Names: recordedNames}, b)
	return call{out.String(), errOut.String(), rc}
}

var recordedNames = fileNames{map[string]string{
	"localhost": "127.0.0.1", "vip": "198.18.0.100", "vip.example.org": "198.18.0.100", "rs21": "10.0.0.21",
	"a-very-long-host-name-indeed.with.a.very.long.domain.name.example.org": "10.0.0.22",
	"vip6": "2001:db8:c::100", "client": "198.18.0.1", "rs6": "fd00::21",
	"a-very-long-virtual-host-name.with.a.long.domain.example.org":       "198.18.0.101",
	"another-very-long-virtual-host-name.with.a.long.domain.example.org": "2001:db8:c::101",
}}
