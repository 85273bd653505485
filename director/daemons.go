package director

import (
	"errors"
	"slices"
	"strings"
	"syscall"

	"ulvs/conntrack"
	"ulvs/lvs"
)

// Daemons are the sync daemons behind the list that a Node keeps. They are called with the Node locked, and must not
// call it.
type Daemons interface {
	// MTU returns an interface's, in bytes; false if there is no such interface.
	MTU(name string) (int, bool)
	// Start starts a daemon, of which there is none with its role yet. Errors wrap a syscall.Errno.
	Start(d lvs.SyncDaemon) error
	// Stop stops the daemon of a role.
	Stop(role string)
	// Logs returns what workers write to while a daemon runs, by their ids; none where they have logs of their own.
	Logs() []*conntrack.Log
}

// editSync starts and stops sync daemons.
func (n *Node) editSync(e *lvs.Edit) error {
	at := slices.IndexFunc(n.daemons, func(d lvs.SyncDaemon) bool { return d.Role == e.Sync.Role })
	if e.Op == lvs.EditStopSync {
		if at < 0 {
			return &lvs.EditError{Op: e.Op, Errno: syscall.ESRCH}
		}
		n.daemons = slices.Delete(n.daemons, at, at+1)
		n.publishLogs() // workers cease to write before the reader goes
		if n.opt.Daemons != nil {
			n.opt.Daemons.Stop(e.Sync.Role)
		}
		return nil
	}
	mtu, ok := n.mtu(e.Sync.Interface)
	if !ok {
		return &lvs.EditError{Op: e.Op, Errno: syscall.ENODEV}
	}
	if at >= 0 {
		return &lvs.EditError{Op: e.Op, Errno: syscall.EEXIST}
	}
	if e.Sync.Interface == "lo" && strings.Contains(e.Sync.Group, ":") {
		return &lvs.EditError{Op: e.Op, Errno: syscall.ENETUNREACH} // it has no route for groups
	}
	return n.startDaemon(withSyncDefaults(e.Sync, mtu))
}

func (n *Node) startDaemon(daemon lvs.SyncDaemon) error {
	if n.opt.Daemons != nil {
		if err := n.opt.Daemons.Start(daemon); err != nil {
			errno, ok := errors.AsType[syscall.Errno](err)
			if !ok {
				errno = syscall.EINVAL
			}
			return errors.Join(&lvs.EditError{Op: lvs.EditStartSync, Errno: errno}, err)
		}
	}
	n.daemons = append(n.daemons, daemon)
	slices.SortFunc(n.daemons, func(a, b lvs.SyncDaemon) int { return -compareRole(a, b) })
	n.publishLogs()
	return nil
}

func (n *Node) mtu(name string) (bytes int, ok bool) {
	if n.opt.Daemons != nil {
		return n.opt.Daemons.MTU(name)
	}
	for _, p := range n.network.Ports() {
		if p.Name == name {
			return int(p.MTU), true
		}
	}
	return loopbackMTU, name == "lo"
}

// logs is what workers write to, and whether they are to tell what peers could derive, too: to a kernel.
func (n *Node) logs() ([]*conntrack.Log, bool) {
	if n.opt.Daemons == nil || len(n.daemons) == 0 {
		return nil, false
	}
	return n.opt.Daemons.Logs(), n.daemons[0].Role == roleMaster // which is the first
}

// publishLogs publishes the snapshot with other logs and nothing else changed.
func (n *Node) publishLogs() {
	s := *n.snapshots.Load()
	s.Logs, s.TellAll = n.logs()
	n.store(&s, false)
}

// The roles of sync daemons.
const (
	roleMaster = "master"
	roleBackup = "backup"
)

// loopbackMTU is lo's, which is no port of ours.
const loopbackMTU = 65536

// withSyncDefaults fills in what start_sync_thread does: a message with its IP and UDP headers fits Ethernet's
// MTU, a backup's buffer the interface's; a given size has limits (ip_vs_sync.c).
func withSyncDefaults(d lvs.SyncDaemon, mtu int) lvs.SyncDaemon {
	headers, least := 28, 1
	if strings.Contains(d.Group, ":") {
		headers = 48
	}
	if d.Role == roleBackup {
		mtu, least = min(max(mtu, 1500), 65535), 1024
	} else {
		mtu = 1500
	}
	if d.MaxLen == 0 {
		d.MaxLen = mtu - headers
	} else {
		d.MaxLen = min(max(d.MaxLen, least), 65535-headers)
	}
	if d.Group == "" {
		d.Group = "224.0.0.81"
	}
	if d.Port == 0 {
		d.Port = 8848
	}
	if d.TTL == 0 {
		d.TTL = 1
	}
	return d
}

// compareRole orders backup before master.
func compareRole(a, b lvs.SyncDaemon) int {
	switch {
	case a.Role == b.Role:
		return 0
	case a.Role == roleMaster:
		return 1
	}
	return -1
}
