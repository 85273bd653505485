package dataplane

import (
	"encoding/binary"

	"ulvs/packet"
)

// IPv4 options that a router acts on (RFC 791 section 3.1).
const (
	optEnd         = 0
	optNop         = 1
	optRecordRoute = 7
	optLooseRoute  = 131
	optStrictRoute = 137
)

// optionPlan is what a packet's options ask of us.
type optionPlan struct {
	record int  // where in the header our address goes; 0: nowhere
	at     int  // the record route option's pointer byte
	routed bool // a source route: refused, as with accept_source_route 0
	bad    int  // the byte of the header that makes no sense; 0: none
}

// readOptions looks at all options as ip_options_compile does. h is the whole header.
func readOptions(h []byte) (plan optionPlan) {
	for i := packet.IPv4Len; i < len(h) && h[i] != optEnd; {
		if h[i] == optNop {
			i++
			continue
		}
		if i+1 >= len(h) || h[i+1] < 2 || i+int(h[i+1]) > len(h) {
			return optionPlan{bad: i}
		}
		n := int(h[i+1])
		switch h[i] {
		case optLooseRoute, optStrictRoute:
			plan.routed = true
		case optRecordRoute:
			if n < 3 {
				return optionPlan{bad: i + 1}
			}
			ptr := int(h[i+2])
			if ptr < 4 || ptr <= n && ptr+3 > n {
				return optionPlan{bad: i + 2}
			}
			if ptr <= n {
				plan.record, plan.at = i+ptr-1, i+2
			}
		}
		i += n
	}
	return plan
}

// heedOptions does what the options of a packet for a VIP ask for: a route is recorded with the VIP, which
// is the address that the packet reached us by. The verdict is 0 if the packet goes on.
func (w *Worker) heedOptions(f *packet.Frame, p *packet.Parsed) Verdict {
	h := packet.IPv4(f.Bytes()[p.L3Off:p.L4Off])
	plan := readOptions(h)
	switch {
	case plan.bad != 0:
		v4 := typeCode{packet.ICMPParamProblem, 0}
		return w.icmpError(f, p, ownError{v4: v4, rest: uint32(plan.bad) << 24, otherwise: DropOptions})
	case plan.routed:
		return DropOptions
	case plan.record != 0:
		binary.LittleEndian.PutUint32(h[plan.record:], uint32(p.Addr[0]>>32))
		h[plan.at] += 4
		h.UpdateChecksum()
	}
	return 0
}
