package ipvsadm

import (
	"errors"
	"syscall"

	"ulvs/control"
	"ulvs/lvs"
)

const (
	defaultScheduler = "wlc"
	defaultInterface = "eth0" // of a sync daemon
)

// check is what ipvsadm checks after all options are known.
func (q *request) check() error {
	switch q.cmd {
	case cmdAdd, cmdEdit:
		return q.checkService()
	case cmdStartDaemon:
		if q.edit.Sync.Interface == "" {
			q.edit.Sync.Interface = defaultInterface
		}
	case cmdAddDest, cmdEditDest:
		return q.checkServer()
	case cmdList:
		return q.checkList()
	}
	return nil
}

func (q *request) checkService() error {
	k, s := &q.edit.Key, &q.edit.Service
	if k.Mark == 0 && k.Port == 0 && s.Persistence == 0 {
		return fail("Zero port specified for non-persistent service")
	}
	if s.OnePacket && k.Mark == 0 && k.Proto != lvs.ProtoUDP {
		return fail("One-Packet Scheduling is only for UDP virtual services")
	}
	if s.Scheduler == "" {
		s.Scheduler = defaultScheduler
	}
	return nil
}

func (q *request) checkServer() error {
	d := &q.edit.Dest
	if q.edit.Key.Mark == 0 && d.Method != lvs.MethodNAT {
		d.Port = q.edit.Key.Port // only NAT can change it
	}
	tunnel := setOf(tagTunType, tagTunPort, tagTunNoCsum, tagTunCsum, tagTunRemCsum)
	switch {
	case q.destFamily != q.family && d.Method != lvs.MethodTUN:
		return fail("Different address family is allowed only for tunneling servers")
	case d.Method == lvs.MethodTUN:
		return tunnelRules(d.Tunnel.Type).check(q.given&tunnel, tunnelWord(d.Tunnel.Type), "tunnel type")
	case q.given&tunnel != 0:
		return fail("Tunnel options conflict with forward method")
	}
	return nil
}

func tunnelRules(t lvs.TunnelType) rules {
	kind := setOf(tagTunType)
	switch t {
	case lvs.TunnelGUE:
		return rules{need: setOf(tagTunPort), allow: kind, one: setOf(tagTunNoCsum, tagTunCsum, tagTunRemCsum)}
	case lvs.TunnelGRE:
		return rules{allow: kind, one: setOf(tagTunNoCsum, tagTunCsum)}
	}
	return rules{allow: kind}
}

func (q *request) checkList() error {
	other := setOf(tagConnection, tagShowTimeout, tagShowDaemon)
	counts := setOf(tagStats, tagRate, tagThresholds)
	clash := q.given&other != 0 && q.given&counts != 0 ||
		q.given&setOf(tagShowTimeout, tagShowDaemon) != 0 && q.given.has(tagPersistentConn)
	if clash {
		return fail("options conflicts in the list command")
	}
	return nil
}

// execute does what a request says.
func (r *runner) execute(q *request) error {
	switch q.cmd {
	case cmdList:
		return r.list(q)
	case cmdSave:
		return r.save(q)
	case cmdRestore:
		return r.restoreAll()
	}
	q.edit.Op = editOps[q.cmd]
	if q.cmd == cmdAdd || q.cmd == cmdEdit {
		if err := r.completeService(q); err != nil {
			return r.refusal(err)
		}
	}
	return r.refusal(r.b.Edit(&q.edit))
}

var editOps = map[tag]lvs.EditOp{
	cmdAdd: lvs.EditAddService, cmdEdit: lvs.EditSetService, cmdDelete: lvs.EditDelService,
	cmdAddDest: lvs.EditAddDest, cmdEditDest: lvs.EditSetDest, cmdDeleteDest: lvs.EditDelDest,
	cmdFlush: lvs.EditFlush, cmdZero: lvs.EditZero, cmdTimeout: lvs.EditTimeouts,
	cmdStartDaemon: lvs.EditStartSync, cmdStopDaemon: lvs.EditStopSync,
}

// completeService takes the mask, and refuses persistence engines as a kernel without them does.
func (r *runner) completeService(q *request) error {
	s := &q.edit.Service
	switch {
	case s.Persistence != 0 && q.family == family6:
		s.PersistBits = uint8(q.bits6 % 128)
	case s.Persistence != 0:
		s.SetClientMask4(q.mask4)
	}
	if q.engine == "" {
		return nil
	}
	l, err := r.b.Listing()
	if err != nil {
		return err
	}
	_, exists := find(&l, q.edit.Key)
	errno := syscall.ENOENT
	switch {
	case q.cmd == cmdAdd && exists:
		errno = syscall.EEXIST
	case q.cmd == cmdEdit && !exists:
		errno = syscall.ESRCH
	}
	return &lvs.EditError{Op: q.edit.Op, Errno: errno}
}

func find(l *control.Listing, k lvs.ServiceKey) (*control.ListedService, bool) {
	for i := range l.Services {
		if l.Services[i].Service.Key == k {
			return &l.Services[i], true
		}
	}
	return nil, false
}

// refusal words an error of the Backend as ipvsadm does. It ends only its own line of -R.
func (r *runner) refusal(err error) error {
	var e *lvs.EditError
	if !errors.As(err, &e) {
		return err
	}
	return &exit{ExitRefused, refusalText(e), false}
}

// refusalText is libipvs's: some numbers mean something else for each command, the others have a
// text for all, or the C library's.
func refusalText(e *lvs.EditError) string {
	if text := opText(e); text != "" {
		return text
	}
	switch e.Errno {
	case syscall.EPERM:
		return "Permission denied (you must be root)"
	case syscall.EINVAL:
		return "Invalid operation.  Possibly wrong module version, address not unicast, ..."
	case syscall.ENOPROTOOPT:
		return "Protocol not available"
	case syscall.ENOMEM:
		return "Memory allocation problem"
	case syscall.EOPNOTSUPP:
		return "Operation not supported with IPv6"
	case syscall.EAFNOSUPPORT:
		return "Operation not supported with specified address family"
	case syscall.EMSGSIZE:
		return "Module is wrong version"
	case syscall.ERANGE:
		return "Numerical result out of range"
	case syscall.ENODEV:
		return "No such device"
	}
	return capital(e.Errno.Error())
}

func opText(e *lvs.EditError) string {
	type cause struct {
		op    lvs.EditOp
		errno syscall.Errno
	}
	switch (cause{e.Op, e.Errno}) {
	case cause{lvs.EditAddService, syscall.EEXIST}:
		return "Service already exists"
	case cause{lvs.EditAddService, syscall.ENOENT}, cause{lvs.EditSetService, syscall.ENOENT}:
		return "Scheduler or persistence engine not found"
	case cause{lvs.EditSetService, syscall.ESRCH}, cause{lvs.EditDelService, syscall.ESRCH},
		cause{lvs.EditZero, syscall.ESRCH}:
		return "No such service"
	case cause{lvs.EditAddDest, syscall.ESRCH}, cause{lvs.EditSetDest, syscall.ESRCH},
		cause{lvs.EditDelDest, syscall.ESRCH}:
		return "Service not defined"
	case cause{lvs.EditAddDest, syscall.EEXIST}:
		return "Destination already exists"
	case cause{lvs.EditSetDest, syscall.ENOENT}, cause{lvs.EditDelDest, syscall.ENOENT}:
		return "No such destination"
	case cause{lvs.EditStartSync, syscall.EEXIST}:
		return "Daemon has already run"
	case cause{lvs.EditStopSync, syscall.ESRCH}:
		return "No daemon is running"
	}
	return ""
}

// capital makes of Go's words for an error number the C library's.
func capital(s string) string {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return s
	}
	return string(s[0]-'a'+'A') + s[1:]
}
