package route

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// dumpTries is how often an interrupted dump is repeated. The events that interrupted it are
// waiting in the event socket, so what even the last try missed is still seen.
const dumpTries = 3

// requester is a netlink socket for requests and their answers.
type requester map[int]*nl.SocketHandle

func newRequester(ns netns.NsHandle) (requester, error) {
	s, err := nl.GetNetlinkSocketAt(ns, netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	tv := unix.NsecToTimeval(int64(10 * time.Second)) // for the answer to one request
	_ = s.SetReceiveTimeout(&tv)
	_ = s.SetSendTimeout(&tv)
	return requester{unix.NETLINK_ROUTE: {Socket: s}}, nil
}

func (r requester) close() {
	for _, h := range r {
		h.Close()
	}
}

// header is a message's fixed part, already in bytes.
type header []byte

// Len and Serialize make header an nl.NetlinkRequestData.
func (h header) Len() int          { return len(h) }
func (h header) Serialize() []byte { return h }

// do sends a request and waits for the kernel's acknowledgement.
func (r requester) do(typ, flags int, parts ...nl.NetlinkRequestData) error {
	req := nl.NewNetlinkRequest(typ, flags|unix.NLM_F_ACK)
	req.Sockets = r
	req.Data = parts
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// dump asks for all of a kind and calls fn with every answer's payload.
func (r requester) dump(typ int, fixed header, fn func([]byte)) error {
	req := nl.NewNetlinkRequest(typ, unix.NLM_F_DUMP)
	req.Sockets = r
	req.Data = []nl.NetlinkRequestData{fixed}
	return req.ExecuteIter(unix.NETLINK_ROUTE, 0, func(b []byte) bool {
		fn(b)
		return true
	})
}

// dumped are the kinds of objects a State holds, each with the message that announces
// one and the size of its fixed part. Links come first, then what refers to them.
var dumped = []struct {
	what      string
	get, made uint16
	size      int
	families  []byte
}{
	{"links", unix.RTM_GETLINK, unix.RTM_NEWLINK, unix.SizeofIfInfomsg, []byte{unix.AF_UNSPEC}},
	{"addresses", unix.RTM_GETADDR, unix.RTM_NEWADDR, unix.SizeofIfAddrmsg, []byte{unix.AF_INET, unix.AF_INET6}},
	{"routes", unix.RTM_GETROUTE, unix.RTM_NEWROUTE, unix.SizeofRtMsg, []byte{unix.AF_INET, unix.AF_INET6}},
	{"neighbours", unix.RTM_GETNEIGH, unix.RTM_NEWNEIGH, 12, []byte{unix.AF_INET, unix.AF_INET6}},
}

// resync fills the empty draft d with everything the kernel has, and publishes it.
func (w *Watcher) resync(d *draft) error {
	for _, k := range dumped {
		for _, family := range k.families {
			fixed := make(header, k.size)
			fixed[0] = family
			err := w.dumpRetry(int(k.get), fixed, func(b []byte) { d.apply(message{typ: k.made, data: b}) })
			if err != nil {
				return fmt.Errorf("dump %s: %w", k.what, err)
			}
		}
	}
	w.readRules()
	d.change, d.touched = Change{true, true, true}, true
	d.unsure = false
	w.synced = time.Now()
	w.resyncs.Add(1) // who sees the new State sees that it is counted
	w.publish(d)
	return nil
}

// dumpRetry repeats a dump that changes interrupted. Applying an object twice is harmless.
func (w *Watcher) dumpRetry(get int, fixed header, fn func([]byte)) (err error) {
	for range dumpTries {
		if err = w.dumps.dump(get, fixed, fn); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return err
		}
	}
	return nil
}

// readRules looks for policy rules, which Lookup does not know. A kernel without them
// refuses the request.
func (w *Watcher) readRules() {
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		fixed := make(header, unix.SizeofRtMsg)
		fixed[0] = family
		if err := w.dumps.dump(unix.RTM_GETRULE, fixed, w.checkRule); err != nil {
			w.opt.Log.Debug("cannot read policy rules", "err", err)
		}
	}
}

// checkRule warns, once, of a rule other than the kernel's own three.
func (w *Watcher) checkRule(b []byte) {
	if w.warned || isDefaultRule(b) {
		return
	}
	w.warned = true
	w.opt.Log.Warn("policy routing rules are set; next hops are taken from the tables local and main only")
}

// isDefaultRule reads fib_rule_hdr, laid out as rtmsg: 0 local, 32766 main, 32767 default, from
// all to all.
func isDefaultRule(b []byte) bool {
	if len(b) < unix.SizeofRtMsg {
		return true
	}
	table, priority := int(b[4]), 0
	for typ, v := range attrs(b[unix.SizeofRtMsg:]) {
		switch typ {
		case unix.FRA_TABLE:
			table = u32(v)
		case unix.FRA_PRIORITY:
			priority = u32(v)
		}
	}
	switch table {
	case unix.RT_TABLE_LOCAL:
		return priority == 0
	case unix.RT_TABLE_MAIN:
		return priority == 32766
	case unix.RT_TABLE_DEFAULT:
		return priority == 32767
	}
	return false
}

// apply takes one rtnetlink message, from a dump or an event, into the draft.
func (d *draft) apply(m message) {
	switch m.typ {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		d.applyLink(m)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		d.applyAddr(m)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		d.applyRoute(m)
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		d.applyNeigh(m)
	}
}

func (d *draft) applyLink(m message) {
	l, ok := parseLink(m.data)
	switch {
	case !ok:
	case m.typ == unix.RTM_NEWLINK:
		d.setLink(l)
	default:
		d.delLink(l.Index)
	}
}

func (d *draft) applyAddr(m message) {
	link, a, ok := parseAddr(m.data)
	switch {
	case !ok:
	case m.typ == unix.RTM_NEWADDR:
		d.setAddr(link, a)
	default:
		d.delAddr(link, a)
	}
}

func (d *draft) applyRoute(m message) {
	p, ok := parseRoute(m.data)
	switch {
	case !ok:
	case m.typ == unix.RTM_NEWROUTE:
		d.addRoute(p, m.flags&unix.NLM_F_REPLACE != 0)
	default:
		d.delRoute(p)
	}
}

func (d *draft) applyNeigh(m message) {
	n, ok := parseNeigh(m.data)
	switch {
	case !ok:
	case m.typ == unix.RTM_NEWNEIGH:
		d.setNeigh(n)
	default:
		d.delNeigh(n)
	}
}

// ndmsg is the fixed part of a neighbour message: family 8, 24 of padding, ifindex
// 32, state 16, flags 8, type 8.
func ndmsg(family byte, link int, state NeighState, flags byte) header {
	b := make(header, 12)
	b[0] = family
	binary.LittleEndian.PutUint32(b[4:], uint32(link))
	binary.LittleEndian.PutUint16(b[8:], uint16(state))
	b[10] = flags
	return b
}
