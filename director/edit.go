package director

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ulvs/events"
	"ulvs/lvs"
	"ulvs/sched"
)

// Edit does what an ipvsadm command asks for. Refusals are *lvs.EditError with the number that
// a kernel answers with.
func (n *Node) Edit(e *lvs.Edit) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.edit(e)
	if err == nil {
		n.journalEdit(e)
	}
	return err
}

func (n *Node) edit(e *lvs.Edit) error {
	next, err := e.ApplyTo(n.services)
	if err != nil {
		return err
	}
	switch e.Op {
	case lvs.EditAddService, lvs.EditSetService:
		if !sched.Known(e.Service.Scheduler) {
			return &lvs.EditError{Op: e.Op, Errno: syscall.ENOENT}
		}
	case lvs.EditTimeouts:
		n.setTimeouts(e.Timeouts)
		n.publishSettings()
		return nil
	case lvs.EditZero:
		n.counters.zero(n.built, e.Key)
		return nil
	case lvs.EditStartSync, lvs.EditStopSync:
		return n.editSync(e)
	}
	n.byHand = true
	defer func() { n.byHand = false }()
	if err := n.replace(next); err != nil {
		return errors.Join(&lvs.EditError{Op: e.Op, Errno: syscall.EINVAL}, err)
	}
	return nil
}

func (n *Node) setTimeouts(seconds [3]int) {
	var d [3]time.Duration
	for i, s := range seconds {
		d[i] = time.Duration(s) * time.Second
		if s != 0 {
			n.setSeconds[i] = s
		}
	}
	n.timeouts = n.timeouts.With(d[0], d[1], d[2])
}

// editSync keeps the list of sync daemons. What they do is replication's business.
func (n *Node) editSync(e *lvs.Edit) error {
	at := slices.IndexFunc(n.daemons, func(d lvs.SyncDaemon) bool { return d.Role == e.Sync.Role })
	if e.Op == lvs.EditStopSync {
		if at < 0 {
			return &lvs.EditError{Op: e.Op, Errno: syscall.ESRCH}
		}
		n.daemons = slices.Delete(n.daemons, at, at+1)
		return nil
	}
	mtu, ok := loopbackMTU, e.Sync.Interface == "lo"
	for _, p := range n.network.Ports() {
		if p.Name == e.Sync.Interface {
			mtu, ok = int(p.MTU), true
		}
	}
	if !ok {
		return &lvs.EditError{Op: e.Op, Errno: syscall.ENODEV}
	}
	if at >= 0 {
		return &lvs.EditError{Op: e.Op, Errno: syscall.EEXIST}
	}
	if e.Sync.Interface == "lo" && strings.Contains(e.Sync.Group, ":") {
		return &lvs.EditError{Op: e.Op, Errno: syscall.ENETUNREACH} // it has no route for groups
	}
	n.daemons = append(n.daemons, withSyncDefaults(e.Sync, mtu))
	slices.SortFunc(n.daemons, func(a, b lvs.SyncDaemon) int { return -compareRole(a, b) })
	return nil
}

// loopbackMTU is lo's, which is no port of ours.
const loopbackMTU = 65536

// withSyncDefaults fills in what start_sync_thread does: a message with its IP and UDP headers fits Ethernet's
// MTU, a backup's buffer the interface's; a given size has limits (ip_vs_sync.c).
func withSyncDefaults(d lvs.SyncDaemon, mtu int) lvs.SyncDaemon {
	headers, least := 28, 1
	if strings.Contains(d.Group, ":") {
		headers = 48
	}
	if d.Role == "backup" {
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
	case a.Role == "master":
		return 1
	}
	return -1
}

// SetSetting changes a sysctl of net.ipv4.vs by its name.
func (n *Node) SetSetting(name string, value int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.settings.Set(name, value); err != nil {
		return err
	}
	n.publish()
	n.journal.Add(events.Event{Kind: events.ConfigEdited, Instance: name, To: strconv.Itoa(value),
		Reason: "setting edited by hand"})
	return nil
}
