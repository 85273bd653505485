package lvs

import (
	"errors"
	"net/netip"
	"slices"
	"syscall"
)

// EditOp is a command of ipvsadm that changes something.
type EditOp uint8

// The commands, by ipvsadm's letter.
const (
	EditNone       EditOp = iota
	EditAddService        // -A
	EditSetService        // -E
	EditDelService        // -D
	EditAddDest           // -a
	EditSetDest           // -e
	EditDelDest           // -d
	EditFlush             // -C
	EditZero              // -Z, of one service if Key is given
	EditTimeouts          // --set
	EditStartSync         // --start-daemon
	EditStopSync          // --stop-daemon
)

// Edit is one change to what runs, as ipvsadm makes them. Fields that its Op does not
// name are ignored.
type Edit struct {
	Op       EditOp      `json:"op"`
	Key      ServiceKey  `json:"key"`
	Service  Service     `json:"service"`     // EditAddService, EditSetService: all but Key, Destinations and Policy
	Dest     Destination `json:"destination"` // EditAddDest, EditSetDest: all but Inhibit; EditDelDest: Addr and Port
	Timeouts [3]int      `json:"timeouts"`    // EditTimeouts: seconds of tcp, tcpfin, udp; 0 keeps
	Sync     SyncDaemon  `json:"sync"`        // EditStartSync, EditStopSync
}

// SyncDaemon is a sync daemon as ipvsadm --start-daemon has it.
type SyncDaemon struct {
	Role      string `json:"role"` // master or backup
	Interface string `json:"interface"`
	SyncID    int    `json:"sync_id"`
	MaxLen    int    `json:"max_len_bytes"` // 0: the interface's MTU decides
	Group     string `json:"group"`
	Port      int    `json:"port"`
	TTL       int    `json:"ttl"`
}

// EditError is why an Edit was refused: the error number that a kernel answers with,
// for which ipvsadm has its words.
type EditError struct {
	Op    EditOp
	Errno syscall.Errno
}

// Error returns the kernel's words; ipvsadm's are the front end's.
func (e *EditError) Error() string { return e.Errno.Error() }

// Is makes errors.Is work with error numbers.
func (e *EditError) Is(target error) bool { return errors.Is(e.Errno, target) }

// ApplyTo returns services as the edit leaves them; the argument is not changed. Errors are
// EditErrors with the number of ip_vs_ctl.c. EditZero and the ops about timeouts and daemons
// change no service; EditZero still checks that its service exists.
func (e *Edit) ApplyTo(services []Service) ([]Service, error) {
	at := slices.IndexFunc(services, func(s Service) bool { return s.Key == e.Key })
	switch e.Op {
	case EditAddService:
		if at >= 0 {
			return nil, e.fail(syscall.EEXIST)
		}
		s := e.Service
		s.Key, s.Destinations, s.Policy = e.Key, nil, Policy{}
		return append(slices.Clip(services), s), nil
	case EditFlush:
		return nil, nil
	case EditTimeouts, EditStartSync, EditStopSync:
		return services, nil
	case EditZero:
		if at < 0 && e.Key != (ServiceKey{}) {
			return nil, e.fail(syscall.ESRCH)
		}
		return services, nil
	}
	if at < 0 {
		return nil, e.fail(syscall.ESRCH)
	}
	return e.applyAt(slices.Clone(services), at)
}

// applyAt changes the service at, in place.
func (e *Edit) applyAt(services []Service, at int) ([]Service, error) {
	s := &services[at]
	switch e.Op {
	case EditDelService:
		return slices.Delete(services, at, at+1), nil
	case EditSetService:
		next := e.Service
		next.Key, next.Destinations, next.Policy = s.Key, s.Destinations, s.Policy
		*s = next
		return services, nil
	}
	if err := e.applyDest(s); err != nil {
		return nil, err
	}
	return services, nil
}

func (e *Edit) applyDest(s *Service) error {
	if e.Op != EditDelDest {
		if err := e.checkDest(s); err != nil {
			return err // before its existence is looked at, as in the kernel
		}
	}
	d := slices.IndexFunc(s.Destinations, func(d Destination) bool { return d.AddrPort() == e.Dest.AddrPort() })
	if e.Op == EditAddDest && d >= 0 {
		return e.fail(syscall.EEXIST)
	}
	if e.Op != EditAddDest && d < 0 {
		return e.fail(syscall.ENOENT)
	}
	if e.Op == EditAddDest && !unicast(e.Dest.Addr) {
		return e.fail(syscall.EINVAL) // ip_vs_new_dest
	}
	if e.Op == EditDelDest {
		s.Destinations = slices.Delete(slices.Clone(s.Destinations), d, d+1)
		return nil
	}
	if e.Op == EditSetDest {
		next := e.Dest
		next.Inhibit, next.Edits = s.Destinations[d].Inhibit, s.Destinations[d].Edits+1
		s.Destinations = slices.Clone(s.Destinations)
		s.Destinations[d] = next
		return nil
	}
	s.Destinations = slices.Insert(slices.Clone(s.Destinations), 0, e.Dest) // the kernel's list head
	return nil
}

// unicast reports whether the kernel takes an address for a real server's.
func unicast(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255}) &&
		(a.Is4() || !a.IsLinkLocalUnicast())
}

// checkDest is ip_vs_add_dest's and the netlink layer's judgement of a destination.
func (e *Edit) checkDest(s *Service) error {
	d := &e.Dest
	if d.Weight < 0 || d.Lower > d.Upper {
		return e.fail(syscall.ERANGE)
	}
	if d.Addr.Is4() != s.Key.Addr.Is4() && d.Method != MethodTUN {
		return e.fail(syscall.EINVAL)
	}
	return nil
}

func (e *Edit) fail(errno syscall.Errno) error { return &EditError{e.Op, errno} }
