package director

import (
	"errors"
	"strconv"
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
