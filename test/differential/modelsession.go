package differential

import (
	"net/netip"
	"slices"
	"strings"
)

// ticks is how many units of the model's clock are in a second. The kernel's are jiffies; ulvs's are eighths
// (docs/differences.md), and comparing needs one clock.
const ticks = 8

// flow is what a session is found by.
type flow struct {
	proto       byte
	client, vip netip.AddrPort
}

type session struct {
	flow
	dest     *dest
	to       netip.AddrPort // the real server, with the port for this session
	method   string
	noOutput bool // replies do not pass the director
	state    string
	seen     int64
	timeout  int64 // ticks
	control  *template
	born     int // as the how many-th session
}

// template is a persistent client's. vip is the service's, or the mark written as an address.
type template struct {
	flow    // client masked, port 0; proto 0 of a mark
	dest    *dest
	to      netip.AddrPort
	assured bool
	seen    int64
	timeout int64
	n       int // sessions that it controls
}

// model is IPVS in the recordings' network.
type model struct {
	now       int64 // ticks
	services  []*service
	sessions  map[flow]*session
	templates map[flow]*template
	dead      []*template // not found any more, waiting for their time
	trash     []*dest
	trashAge  int64 // seconds since the trash was looked at, or empty
	settings  map[string]int
	timeouts  map[string]int64 // seconds by state
	mtu       [2]int
	dropCount int
	erred     int64 // bytes of the last error of our own
	born      int   // sessions so far
	partial   map[string]*datagram
	fault     fault // made on purpose
	seenKinds map[string]int
}

func newModel(now int64) *model {
	return &model{
		now: now, sessions: map[flow]*session{}, templates: map[flow]*template{},
		settings: map[string]int{"conn_reuse_mode": 1, "pmtu_disc": 1, "am_droprate": 10},
		timeouts: map[string]int64{
			"NONE": 2, "ESTABLISHED": 900, "SYN_SENT": 120, "SYN_RECV": 60, "FIN_WAIT": 120, "TIME_WAIT": 120,
			"CLOSE": 10, "CLOSE_WAIT": 60, "LAST_ACK": 30, "LISTEN": 120, "SYNACK": 120, "UDP": 300,
		},
		mtu: [2]int{1500, 1500}, partial: map[string]*datagram{}, seenKinds: map[string]int{},
	}
}

// Direction of a segment, as the TCP machine sees it.
const (
	input, output, inputOnly = 0, 1, 2
)

// The TCP machine: rows by event, columns by state (ipvs-spec.md section 2.4).
var (
	tcpColumns = strings.Fields("NO ES SS SR FW TW CL CW LA LI SA")
	tcpNames   = map[string]string{
		"NO": "NONE", "ES": "ESTABLISHED", "SS": "SYN_SENT", "SR": "SYN_RECV", "FW": "FIN_WAIT", "TW": "TIME_WAIT",
		"CL": "CLOSE", "CW": "CLOSE_WAIT", "LA": "LAST_ACK", "LI": "LISTEN", "SA": "SYNACK",
	}
	tcpMachine = [3]map[byte]string{
		input: {
			syn: "SR ES ES SR SR SR SR SR SR SR SR",
			fin: "CL CW SS TW TW TW CL CW LA LI TW",
			ack: "ES ES SS ES FW TW CL CW CL LI ES",
			rst: "CL CL CL SR CL CL CL CL LA LI SR",
		},
		output: {
			syn: "SS ES SS SR SS SS SS SS SS LI SR",
			fin: "TW FW SS TW FW TW CL TW LA LI TW",
			ack: "ES ES SS ES FW TW CL CW LA ES ES",
			rst: "CL CL SS CL CL TW CL CL CL CL CL",
		},
		inputOnly: {
			syn: "SR ES ES SR SR SR SR SR SR SR SR",
			fin: "CL FW SS TW FW TW CL CW LA LI TW",
			ack: "ES ES SS ES FW TW CL CW CL LI ES",
			rst: "CL CL CL SR CL CL CL CL LA LI CL",
		},
	}
	// tcpSecure is the machine of secure_tcp.
	tcpSecure = [3]map[byte]string{
		input: {
			syn: "SR ES ES SR SR SR SR SR SR SR SA",
			fin: "CL CW SS TW TW TW CL CW LA LI SA",
			ack: "ES ES SS SR FW TW CL CW CL LI SA",
			rst: "CL CL CL SR CL CL CL CL LA LI CL",
		},
		output: {
			syn: "SS ES SS SA SS SS SS SS SS LI SA",
			fin: "TW FW SS TW FW TW CL TW LA LI TW",
			ack: "ES ES SS ES FW TW CL CW LA ES ES",
			rst: "CL CL SS CL CL TW CL CL CL CL CL",
		},
		inputOnly: {
			syn: "SA ES ES SR SA SA SA SA SA SA SA",
			fin: "CL FW SS TW FW TW CL CW LA LI TW",
			ack: "ES ES SS ES FW TW CL CW CL LI ES",
			rst: "CL CL CL SR CL CL CL CL LA LI CL",
		},
	}
)

// nextState is the state after a segment: rst counts before syn, that before fin, that before ack.
func (m *model) nextState(dir int, state string, flags byte) string {
	machine := tcpMachine
	if m.settings["secure_tcp"] == 3 {
		machine = tcpSecure
	}
	for _, event := range []byte{rst, syn, fin, ack} {
		if flags&event == 0 {
			continue
		}
		row := strings.Fields(machine[dir][event])
		for i, c := range tcpColumns {
			if tcpNames[c] == state {
				return m.fault.next(dir, state, tcpNames[row[i]])
			}
		}
	}
	return "CLOSE"
}

func active(state string) bool {
	switch state {
	case "ESTABLISHED", "SYN_SENT", "SYN_RECV", "SYNACK":
		return true
	}
	return false
}

// track moves a session by a packet and starts its timer anew.
func (m *model) track(s *session, p *ip, dir int) {
	if s.proto == protoTCP {
		next := m.nextState(dir, s.state, p.flags())
		if next == "ESTABLISHED" && s.state != next && s.control != nil {
			s.control.assured = true
		}
		m.move(s, next)
	} else if dir == output && s.control != nil {
		s.control.assured = true
	}
	s.seen, s.timeout = m.now, m.timeouts[s.state]*ticks
}

func (m *model) move(s *session, next string) {
	if active(next) && !active(s.state) {
		s.dest.active++
		s.dest.inactive--
	}
	if !active(next) && active(s.state) {
		s.dest.active--
		s.dest.inactive++
	}
	s.state = next
}

// bind starts a session at a real server.
func (m *model) bind(f flow, d *dest, to netip.AddrPort) *session {
	s := &session{flow: f, dest: d, to: to, method: d.method, noOutput: d.method != "-m", state: "NONE", seen: m.now}
	if f.proto == protoUDP {
		s.state = "UDP"
	}
	s.timeout = m.timeouts[s.state] * ticks
	m.born++
	s.born = m.born
	d.inactive++
	d.bound()
	m.count(d, [5]int64{0: 1})
	return s
}

// unbind ends a session: its time is over, or it is replaced.
func (m *model) unbind(s *session) {
	if m.sessions[s.flow] == s {
		delete(m.sessions, s.flow)
	}
	if active(s.state) {
		s.dest.active--
	} else {
		s.dest.inactive--
	}
	s.dest.unbound()
	if s.control != nil {
		s.control.n--
	}
}

// drop ends a template.
func (m *model) drop(t *template) {
	if m.templates[t.flow] == t {
		delete(m.templates, t.flow)
	}
	m.dead = slices.DeleteFunc(m.dead, func(o *template) bool { return o == t })
	t.dest.persist--
	t.dest.unbound()
}

// count adds to a real server, while it is there, and its service.
func (m *model) count(d *dest, n [5]int64) {
	if d.available {
		d.counts.add(n)
		d.svc.counts.add(n)
	}
}

// flushOrphans ends what hangs on removed real servers when one was removed and expire_nodest_conn is on.
func (m *model) flushOrphans() {
	if m.settings["expire_nodest_conn"] == 0 {
		return
	}
	for _, s := range m.sessions {
		if !s.dest.available {
			m.unbind(s)
		}
	}
	for _, t := range m.allTemplates() {
		if !t.dest.available && t.n == 0 {
			m.drop(t)
		}
	}
}

func (m *model) allTemplates() (list []*template) {
	for _, t := range m.templates {
		list = append(list, t)
	}
	return append(list, m.dead...)
}

// due is when something happens next of itself.
func (m *model) due() int64 {
	next := int64(1 << 62)
	for _, s := range m.sessions {
		next = min(next, s.seen+s.timeout)
	}
	for _, t := range m.allTemplates() {
		next = min(next, t.seen+t.timeout)
	}
	return next
}

// expire ends what is over at the present. Of a template that is over at the same moment as its last session,
// only the kernel's timers know which comes first: listed is asked how many rows like a renewed one's there are.
func (m *model) expire(listed func(row string) int) {
	held := map[*template]bool{}
	for _, s := range m.sessions {
		if s.seen+s.timeout <= m.now {
			held[s.control] = true
			m.unbind(s)
		}
	}
	var open []*template
	for _, t := range m.allTemplates() {
		switch {
		case t.seen+t.timeout > m.now:
		case t.n > 0:
			m.renew(t)
		case held[t]:
			open = append(open, t)
		default:
			m.drop(t)
		}
	}
	for _, t := range open {
		was := *t
		m.renew(t)
		row, same := m.templateRow(t), 0
		for _, o := range m.allTemplates() {
			if o.seen+o.timeout > m.now && m.templateRow(o) == row {
				same++
			}
		}
		if listed(row) < same {
			*t = was
			m.drop(t)
		}
	}
}

// renew gives a template another minute, for the sake of its sessions.
func (m *model) renew(t *template) {
	t.seen, t.timeout = m.now, 60*ticks
	m.fault.renew(t)
}

// tickRates is the two-second timer: the estimators', and once a minute the trash's.
func (m *model) tickRates(seconds int64) {
	if m.trashAge += 2; len(m.trash) == 0 {
		m.trashAge = 0
	}
	if m.trashAge == 60 {
		m.trashAge = 0
		m.lookAtTrash(seconds)
	}
	for _, s := range m.services {
		s.counts.tick()
		for _, d := range s.list {
			d.counts.tick()
		}
	}
}
