package differential

import "slices"

// faults are what somebody may get wrong.
var faults = []fault{
	{name: "a session lives a second longer in FIN_WAIT", spoil: func(m *model) { m.timeouts["FIN_WAIT"]++ }},
	{name: "CLOSE lasts as long as TIME_WAIT", spoil: func(m *model) { m.timeouts["CLOSE"] = 120 }},
	{name: "rr takes the second one", picks: second("rr")},
	{name: "wrr takes the second one", picks: second("wrr")},
	{name: "lc takes the second one", picks: second("lc")},
	{name: "wlc takes the second one", picks: second("wlc")},
	{name: "sed takes the second one", picks: second("sed")},
	{name: "nq takes the second one", picks: second("nq")},
	{name: "fo takes the second one", picks: second("fo")},
	{name: "ovf takes the second one", picks: second("ovf")},
	{name: "dh takes the second one", picks: second("dh")},
	{name: "sh takes the second one", picks: second("sh")},
	{name: "mh takes the second one", picks: second("mh")},
	{name: "lblc takes the second one", picks: second("lblc")},
	{name: "lblcr takes the second one", picks: second("lblcr")},
	{name: "a quiesced server gets sessions", picks: func(s *service, d *dest) *dest {
		if at := slices.IndexFunc(s.list, func(o *dest) bool { return o.weight == 0 }); at >= 0 && d != nil {
			return s.list[at]
		}
		return d
	}},
	{name: "the threshold lets one more in", edited: func(d *dest) {
		if d.upper != 0 {
			d.upper++
		}
	}},
	{name: "an edit lifts the overload flag", edited: func(d *dest) { d.overload = false }},
	{name: "mh forgets the weight before it was 0", edited: func(d *dest) { d.lastWeight = d.weight }},
	{name: "the TTL stays", sends: func(_ *session, p *ip) { p.ttl++ }},
	{name: "NAT leaves the checksum", sends: func(s *session, p *ip) {
		if s.method == "-m" && p.proto == protoTCP {
			p.body[16] ^= 1
		}
	}},
	{name: "a tunnel copies congestion to the outside", sends: func(s *session, p *ip) {
		if s.method == "-i" && p.tos&3 == 2 {
			p.tos++
		}
	}},
	{name: "a tunnel sets DF whatever pmtu_disc says", sends: func(s *session, p *ip) {
		if s.method == "-i" && !p.v6() {
			p.df = true
		}
	}},
	{name: "DR sees replies", starts: func(s *session) { s.noOutput = false }},
	{name: "a FIN of a DR client leads to CLOSE_WAIT", state: func(dir int, was, is string) string {
		if dir == inputOnly && was == "ESTABLISHED" && is == "FIN_WAIT" {
			return "CLOSE_WAIT"
		}
		return is
	}},
	{name: "an ACK does not finish the handshake", state: func(dir int, was, is string) string {
		if was == "SYN_RECV" && is == "ESTABLISHED" {
			return was
		}
		return is
	}},
	{name: "a renewed template keeps its own timeout", renewed: func(t *template) { t.timeout = 90 * ticks }},
	{name: "a template dies with its time", renewed: func(t *template) { t.timeout = 1 }},
	{name: "sessions do not hang on templates", starts: func(s *session) {
		if s.control != nil {
			s.control.n--
			s.control = nil
		}
	}},
	{name: "templates are for whole addresses", set: func(m *model) {
		for _, s := range m.services {
			if s.persist != 0 && s.bits < 32 {
				s.bits = s.addr.BitLen() - 1
			}
		}
	}},
	setting("expire_nodest_conn"), setting("expire_quiescent_template"), setting("sloppy_tcp"),
	setting("nat_icmp_send"), setting("drop_packet"), setting("secure_tcp"),
	{name: "conn_reuse_mode is always on", set: func(m *model) { m.settings["conn_reuse_mode"] = 1 }},
	{name: "pmtu_disc is always on", set: func(m *model) { m.settings["pmtu_disc"] = 1 }},
	{name: "removed servers lose their counters", set: func(m *model) { m.trash = nil }},
	{name: "wrr begins one level lower", set: func(m *model) {
		for _, s := range m.services {
			if w, ok := s.scheduler.(*weightedRobin); ok && w.at == 0 && w.level > 1 {
				w.level--
			}
		}
	}},
}

// second is a scheduler that takes the server behind the right one.
func second(sched string) func(s *service, d *dest) *dest {
	return func(s *service, d *dest) *dest {
		if s.sched != sched || d == nil {
			return d
		}
		return s.list[(slices.Index(s.list, d)+1)%len(s.list)]
	}
}

// setting is a setting that does nothing.
func setting(name string) fault {
	return fault{name: name + " does nothing", set: func(m *model) { m.settings[name] = 0 }}
}
