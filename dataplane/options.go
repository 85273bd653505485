package dataplane

import (
	"encoding/binary"
	"net/netip"

	"ulvs/packet"
)

// IPv4 options that a router acts on (RFC 791 section 3.1), and CIPSO, which nobody here has a domain for.
const (
	optEnd         = 0
	optNop         = 1
	optRecordRoute = 7
	optTimestamp   = 68
	optLooseRoute  = 131
	optCIPSO       = 134
	optStrictRoute = 137
)

// What a timestamp option holds, by the low half of its fourth byte; the high half counts the hosts that found no
// room.
const (
	stampsOnly       = 0
	stampsWithHosts  = 1
	stampsPrescribed = 3
)

const (
	optPointer   = 2 // the byte of an option that says where its next entry goes, counted from 1
	optStampKind = 3
	maxOptions   = 40
)

// optionPlan is what reading a packet's options came to.
type optionPlan struct {
	routed    bool // a source route: refused, as with accept_source_route 0
	route     int  // where the option is, 0: none
	stamps    int
	source    int
	cipso     int
	bad, upTo int // the byte of the header that makes no sense, 0: none; where reading ended
}

// optionReader reads options as ip_options_compile does, and acts on them.
type optionReader struct {
	h     packet.IPv4
	spec  uint32 // our address to be recorded: the one that the packet is for, else the port's
	stamp uint32
	ours  func(addr uint32) bool
}

// takeOptions reads the options of a packet that came in. The verdict is 0 if it goes on.
func (w *Worker) takeOptions(f *packet.Frame, p *packet.Parsed) Verdict {
	r := optionReader{h: packet.IPv4(f.Bytes()[p.L3Off:p.L4Off]), stamp: w.stamp(), ours: w.oursWire}
	local := w.snap.VIPs[p.Dst()] || w.ours4(p.Addr[0]>>32) || p.Kind == packet.KindFlow && w.service(f, p) != 0
	if port := &w.snap.Ports[f.Port]; local {
		r.spec = uint32(p.Addr[0] >> 32)
	} else if port.IPv4.IsValid() {
		r.spec = packet.WireV4(port.IPv4)
	}
	plan := r.read()
	r.h.UpdateChecksum()
	switch {
	case plan.bad != 0:
		v4 := typeCode{packet.ICMPParamProblem, 0}
		w.optionsEnd = plan.upTo
		defer func() { w.optionsEnd = 0 }()
		return w.icmpError(f, p, ownError{v4: v4, rest: uint32(plan.bad) << 24, otherwise: DropOptions, fromPort: !local})
	case plan.routed:
		return DropOptions
	}
	return 0
}

// stamp is a time for timestamp options: a worker does not know the hour, which the high bit says.
func (w *Worker) stamp() uint32 { return uint32(w.clock.Milliseconds()) | 1<<31 }

func (w *Worker) oursWire(addr uint32) bool { return w.ours4(uint64(addr)) }

// read reads the options up to the first that makes no sense.
func (r *optionReader) read() (plan optionPlan) {
	h := r.h
	for i := packet.IPv4Len; i < len(h); {
		plan.upTo = i
		switch h[i] {
		case optEnd:
			clear(h[i:])
			return plan
		case optNop:
			i++
			continue
		}
		if i+1 >= len(h) || h[i+1] < 2 || i+int(h[i+1]) > len(h) {
			plan.bad = i
			return plan
		}
		n := int(h[i+1])
		if wrong := r.act(i, n, &plan); wrong >= 0 {
			plan.bad = i + wrong
			return plan
		}
		i += n
	}
	plan.upTo = len(h)
	return plan
}

// act does what the option of n bytes at i asks for. It returns the byte of it that makes no sense, or -1.
func (r *optionReader) act(i, n int, plan *optionPlan) (wrong int) {
	o := r.h[i : i+n]
	switch o[0] {
	case optLooseRoute, optStrictRoute:
		plan.routed = true
		return r.once(o, i, &plan.source, 3)
	case optRecordRoute:
		if wrong = r.once(o, i, &plan.route, 3); wrong < 0 {
			wrong = r.record(o)
		}
		return wrong
	case optTimestamp:
		if wrong = r.once(o, i, &plan.stamps, 4); wrong < 0 {
			wrong = r.stampIt(o)
		}
		return wrong
	case optCIPSO:
		if plan.cipso != 0 {
			return 0
		}
		plan.cipso, plan.upTo = i, i+n
		if n < 8 {
			return 1
		}
		return 2
	}
	return -1
}

// once notes where an option is that may be there once, and looks at its length and pointer.
func (r *optionReader) once(o []byte, i int, at *int, head int) (wrong int) {
	switch {
	case *at != 0:
		return 0
	case len(o) < head:
		return 1
	case int(o[optPointer]) <= head:
		return optPointer
	}
	*at = i
	return -1
}

// record writes our address into a record route option.
func (r *optionReader) record(o []byte) (wrong int) {
	at := int(o[optPointer])
	switch {
	case at > len(o):
	case at+3 > len(o):
		return optPointer
	default:
		binary.LittleEndian.PutUint32(o[at-1:], r.spec)
		o[optPointer] += 4
	}
	return -1
}

// stampIt writes a time into a timestamp option, or counts us among those that found no room.
func (r *optionReader) stampIt(o []byte) (wrong int) {
	at, kind := int(o[optPointer]), o[optStampKind]&15
	switch {
	case at > len(o) && kind == stampsPrescribed:
		return -1
	case at > len(o) && o[optStampKind]>>4 == 15:
		return optStampKind
	case at > len(o):
		o[optStampKind] += 1 << 4
		return -1
	case at+3 > len(o), kind != stampsOnly && kind <= stampsPrescribed && kind != 2 && at+7 > len(o):
		return optPointer
	}
	r.add(o, kind, at)
	return -1
}

// add adds an entry to a timestamp option that has room for it.
func (r *optionReader) add(o []byte, kind byte, at int) {
	switch {
	case kind == stampsOnly:
		binary.BigEndian.PutUint32(o[at-1:], r.stamp)
		o[optPointer] += 4
		return
	case kind == stampsWithHosts:
		binary.LittleEndian.PutUint32(o[at-1:], r.spec)
	case kind != stampsPrescribed || !r.ours(binary.LittleEndian.Uint32(o[at-1:])):
		return
	}
	binary.BigEndian.PutUint32(o[at+3:], r.stamp)
	o[optPointer] += 8
}

// echoOptions writes to dst the options of an answer to the packet with header h, which takeOptions has read:
// recorded routes and times with an entry of the answer's own (ip_options_echo, ip_options_build). false: they
// have room for half an entry, and there is no answer.
func (w *Worker) echoOptions(h packet.IPv4, source uint32, dst *[maxOptions]byte) (n int, ok bool) {
	if len(h) == packet.IPv4Len {
		return 0, true
	}
	r := optionReader{spec: source, stamp: w.stamp(), ours: w.oursWire}
	for _, kind := range [...]byte{optRecordRoute, optTimestamp, optCIPSO} {
		o := w.option(h, kind)
		if len(o) == 0 {
			continue
		}
		o = dst[n : n+copy(dst[n:], o)]
		n += len(o)
		if !pointsBehindItself(o) {
			return 0, false
		}
		wrong := -1
		switch {
		case o[0] == optRecordRoute:
			wrong = r.record(o)
		case o[0] == optTimestamp && int(o[optPointer]) <= len(o):
			wrong = r.again(o)
		}
		if wrong >= 0 {
			return 0, false
		}
	}
	for n%4 != 0 {
		dst[n] = optEnd
		n++
	}
	return n, true
}

// pointsBehindItself reports whether an option's entries begin behind its head. takeOptions refuses others; that they
// never get here is not for a panic to find out.
func pointsBehindItself(o []byte) bool {
	switch o[0] {
	case optRecordRoute:
		return len(o) >= 3 && int(o[optPointer]) > 3
	case optTimestamp:
		return len(o) >= 4 && int(o[optPointer]) > 4
	}
	return true
}

// option returns the first option of a kind among those that made sense.
func (w *Worker) option(h packet.IPv4, kind byte) []byte {
	end := len(h)
	if w.optionsEnd != 0 {
		end = w.optionsEnd
	}
	for i := packet.IPv4Len; i+1 < end && h[i] != optEnd; {
		n := int(h[i+1])
		switch {
		case h[i] == optNop:
			n = 1
		case n < 2 || i+n > end:
			return nil
		case h[i] == kind:
			return h[i : i+n]
		}
		i += n
	}
	return nil
}

// again adds an entry to an echoed timestamp option. One of prescribed hosts may have no room.
func (r *optionReader) again(o []byte) (wrong int) {
	at, kind := int(o[optPointer]), o[optStampKind]&15
	if kind == stampsPrescribed && at+7 > len(o) {
		return -1
	}
	return r.stampIt(o)
}

// rerecord puts the address that a packet leaves with in place of the one that takeOptions recorded: where it is
// routed the kernel records the way out (ip_forward_options).
func (w *Worker) rerecord(f *packet.Frame, p *packet.Parsed, out netip.Addr) {
	h := packet.IPv4(l3(f, p)[:p.L4Off-p.L3Off])
	o := w.option(h, optRecordRoute)
	if len(o) < 3 || !out.Is4() {
		return
	}
	at := int(o[optPointer]) - 5
	if at >= 3 && at+4 <= len(o) && w.oursWire(binary.LittleEndian.Uint32(o[at:])) {
		binary.LittleEndian.PutUint32(o[at:], packet.WireV4(out))
		h.UpdateChecksum()
	}
}
