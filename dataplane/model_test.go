package dataplane

import (
	"encoding/json"
	"maps"
	"net/netip"
	"os"
	"slices"
	"testing"

	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

// The model is the slow and obvious way: maps, and the kernel's rules one after the other
// (ipvs-spec.md sections 2.3 to 2.7). It does not schedule: it looks where a new session
// went and checks that it could go there.

type mFlow struct {
	client, vip netip.AddrPort
	proto       uint8
}

type mSession struct {
	dest          netip.AddrPort
	state         string
	seen, timeout conntrack.Tick
	template      *mTemplate
	nat           bool
}

type mTemplate struct {
	dest          netip.AddrPort
	seen, timeout conntrack.Tick
	sessions      int
}

type mDest struct {
	weight                    int32
	upper                     uint32
	active, inactive, persist int32
	overloaded, configured    bool
}

type mService struct {
	method  lvs.Method
	persist conntrack.Tick
	bits    int
	ops     bool
	dests   map[netip.AddrPort]*mDest
}

type model struct {
	tb        testing.TB
	now       conntrack.Tick
	services  map[mFlow]*mService // by VIP and protocol, no client
	sessions  map[mFlow]*mSession
	leaving   *mSession            // replaced by the packet under way
	templates map[mFlow]*mTemplate // by masked client with port 0
	discarded map[*mTemplate]mFlow // no longer followed, but sessions hang on them
	vectors   tcpVectors
	total     DestStats // without bytes
}

type tcpVectors struct {
	Timeouts    map[string]int
	Active      []string
	Transitions map[string]map[string]map[string]string
}

func newModel(tb testing.TB, now conntrack.Tick) *model {
	m := &model{
		tb: tb, now: now, services: map[mFlow]*mService{}, sessions: map[mFlow]*mSession{},
		templates: map[mFlow]*mTemplate{}, discarded: map[*mTemplate]mFlow{},
	}
	text, err := os.ReadFile("../conntrack/testdata/tcp_states.json")
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(text, &m.vectors); err != nil {
		tb.Fatal(err)
	}
	m.vectors.Timeouts["UDP"] = 300
	return m
}

// next is the state after a packet, and its timeout.
func (m *model) next(table string, flags uint8, state string) string {
	event := "none"
	for _, e := range []struct {
		bit  uint8
		name string
	}{{packet.TCPAck, "ack"}, {packet.TCPFin, "fin"}, {packet.TCPSyn, "syn"}, {packet.TCPRst, "rst"}} {
		if flags&e.bit != 0 {
			event = e.name
		}
	}
	if event == "none" {
		return "CLOSE"
	}
	s, ok := m.vectors.Transitions[table][event][state]
	if !ok {
		m.tb.Fatalf("the vectors do not know %s in %s at %s", event, state, table)
	}
	return s
}

func (m *model) timeout(state string) conntrack.Tick {
	return conntrack.Tick(m.vectors.Timeouts[state]) * conntrack.TicksPerSecond
}

func (m *model) active(state string) bool { return slices.Contains(m.vectors.Active, state) }

func (m *model) service(f mFlow) *mService { return m.services[mFlow{vip: f.vip, proto: f.proto}] }

func (m *model) destOf(f mFlow, s *mSession) *mDest { return m.service(f).dests[s.dest] }

// eligible tells whether a scheduler may pick any, or this one.
func (d *mDest) eligible() bool { return d.configured && d.weight > 0 && !d.overloaded }

// wish is what the model wants of a packet: a verdict, and the real server if it decides that.
type wish struct {
	verdict Verdict
	dest    netip.AddrPort // zero: any that is eligible
	fresh   bool           // a session starts
}

var forwards = map[lvs.Method]Verdict{lvs.MethodDR: TxDR, lvs.MethodNAT: TxNAT, lvs.MethodTUN: TxTUN}

// request says what is to come of a client's packet, before it is sent.
func (m *model) request(f mFlow, flags uint8) wish {
	svc, s := m.service(f), m.sessions[f]
	if s != nil && m.reusable(f, s, flags) {
		m.leaving, s = s, nil // counted until the new one is (left)
		delete(m.sessions, f)
	}
	if s != nil {
		if !m.destOf(f, s).configured {
			return wish{verdict: DropRemoved}
		}
		return wish{verdict: forwards[svc.method], dest: s.dest}
	}
	if f.proto == lvs.ProtoTCP && flags&(packet.TCPSyn|packet.TCPRst) != packet.TCPSyn {
		if flags&packet.TCPRst != 0 {
			return wish{verdict: DropNoService}
		}
		return wish{verdict: TxReset}
	}
	if t := m.template(f); t != nil && !svc.dests[t.dest].configured {
		m.discard(f, t)
	} else if t != nil {
		return wish{verdict: forwards[svc.method], dest: t.dest, fresh: true}
	}
	for _, d := range svc.dests {
		if d.eligible() {
			return wish{verdict: forwards[svc.method], fresh: true}
		}
	}
	return wish{verdict: TxICMPError}
}

func (m *model) reusable(f mFlow, s *mSession, flags uint8) bool {
	return f.proto == lvs.ProtoTCP && flags&packet.TCPSyn != 0 &&
		(s.state == "TIME_WAIT" || s.state == "CLOSE") && s.template == nil
}

func (m *model) templateKey(f mFlow) mFlow {
	bits := m.service(f).bits
	if bits == 0 {
		bits = f.client.Addr().BitLen()
	}
	masked, _ := f.client.Addr().Prefix(bits)
	return mFlow{netip.AddrPortFrom(masked.Addr(), 0), f.vip, f.proto}
}

func (m *model) template(f mFlow) *mTemplate {
	if m.service(f).persist == 0 {
		return nil
	}
	return m.templates[m.templateKey(f)]
}

// discard takes a template out of the way until its time is over.
func (m *model) discard(f mFlow, t *mTemplate) {
	delete(m.templates, m.templateKey(f))
	m.discarded[t] = m.templateKey(f)
}

// forwarded records that a client's packet went to dest.
func (m *model) forwarded(f mFlow, flags uint8, dest netip.AddrPort) {
	svc, s := m.service(f), m.sessions[f]
	if s == nil {
		s = m.start(f, dest)
		if f.proto == lvs.ProtoTCP {
			m.move(f, s, m.next("input", flags, "NONE"))
		}
	}
	if f.proto == lvs.ProtoTCP {
		table := "input_only"
		if svc.method == lvs.MethodNAT {
			table = "input"
		}
		m.move(f, s, m.next(table, flags, s.state))
	}
	s.seen, s.timeout = m.now, m.timeout(s.state)
	m.total.InPackets++
	if svc.ops {
		m.remove(f, s)
	}
}

func (m *model) start(f mFlow, dest netip.AddrPort) *mSession {
	svc := m.service(f)
	d := svc.dests[dest]
	s := &mSession{dest: dest, state: "NONE", nat: svc.method == lvs.MethodNAT}
	if f.proto != lvs.ProtoTCP {
		s.state = "UDP"
	}
	if svc.persist != 0 {
		t := m.template(f)
		if t == nil {
			t = &mTemplate{dest: dest, timeout: svc.persist}
			m.templates[m.templateKey(f)] = t
			d.persist++
		}
		t.seen = m.now
		t.sessions++
		s.template = t
	}
	d.inactive++
	m.total.Conns++
	if d.upper != 0 && uint32(d.active+d.inactive) >= d.upper {
		d.overloaded = true
	}
	m.sessions[f] = s
	return s
}

func (m *model) move(f mFlow, s *mSession, to string) {
	d := m.destOf(f, s)
	if m.active(s.state) != m.active(to) {
		by := int32(1)
		if m.active(s.state) {
			by = -1
		}
		d.active += by
		d.inactive -= by
	}
	s.state = to
}

func (m *model) remove(f mFlow, s *mSession) {
	m.uncount(f, s)
	delete(m.sessions, f)
}

// answered counts an error as the answer of the session that the packet would have replaced.
func (m *model) answered(f mFlow, v Verdict) {
	s := m.leaving
	if s != nil && v == TxICMPError && m.service(f).method != lvs.MethodNAT && m.destOf(f, s).configured {
		m.total.OutPackets++
	}
}

// left ends the session that the last request replaced.
func (m *model) left(f mFlow) {
	if m.leaving != nil {
		m.uncount(f, m.leaving)
		m.leaving = nil
	}
}

func (m *model) uncount(f mFlow, s *mSession) {
	d := m.destOf(f, s)
	if m.active(s.state) {
		d.active--
	} else {
		d.inactive--
	}
	if d.upper == 0 || uint32(d.active+d.inactive)*4 < d.upper*3 {
		d.overloaded = false
	}
	if s.template != nil {
		s.template.sessions--
	}
}

// replied records a real server's packet of a NAT session.
func (m *model) replied(f mFlow, flags uint8) {
	s := m.sessions[f]
	if f.proto == lvs.ProtoTCP {
		m.move(f, s, m.next("output", flags, s.state))
	}
	s.seen, s.timeout = m.now, m.timeout(s.state)
	if m.destOf(f, s).configured {
		m.total.OutPackets++
	}
}

// tick moves the clock on by one; renewed is asked where the order of the sweep within one
// tick decides.
func (m *model) tick(renewed func(mFlow, *mTemplate) bool) {
	m.now++
	held := map[*mTemplate]bool{}
	for f, s := range m.sessions {
		if s.seen+s.timeout <= m.now {
			held[s.template] = true
			m.remove(f, s)
		}
	}
	over := func(f mFlow, t *mTemplate) bool {
		if t.seen+t.timeout > m.now {
			return false
		}
		if t.sessions > 0 || held[t] && renewed(f, t) {
			t.seen, t.timeout = m.now, 60*conntrack.TicksPerSecond
			return false
		}
		m.service(f).dests[t.dest].persist--
		return true
	}
	maps.DeleteFunc(m.templates, over)
	maps.DeleteFunc(m.discarded, func(t *mTemplate, f mFlow) bool { return over(f, t) })
}
