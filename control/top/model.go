package top

import (
	"cmp"
	"slices"
	"strings"

	"ulvs/control"
	"ulvs/events"
)

// order is what services are sorted by.
type order int

const (
	byName order = iota
	byConns
	byPackets
	byTraffic
	bySessions
	byDown
	orders
)

var orderWords = [orders]string{"name", "connections", "packets", "traffic", "sessions", "real servers down"}

// keptEvents is how many events the screen may show at most.
const keptEvents = 8

// model is everything that a screen is drawn from.
type model struct {
	view   *view
	err    error // of the last question; the view is the one before
	events []events.Event

	sort     order
	reverse  bool
	filter   string
	typing   bool // the filter
	open     map[string]bool
	closed   bool // all services are closed but those in open; else open ones but those
	paused   bool
	help     bool
	selected string // a row's name
	top      int    // first row that is shown
}

// row is a service or a real server of it.
type row struct {
	name    string
	service *control.Service
	server  *control.RealServer // nil: the service itself
	down    int                 // real servers of a service that take no clients
}

func newModel() *model { return &model{open: map[string]bool{}} }

// isOpen reports whether a service's real servers are shown.
func (m *model) isOpen(name string) bool { return m.closed == m.open[name] }

// rows returns what the filter takes, sorted.
func (m *model) rows() (list []row) {
	if m.view == nil {
		return nil
	}
	for i := range m.view.sample.services {
		s := &m.view.sample.services[i]
		if r := serviceRow(s); m.takes(s, r.name) {
			list = append(list, r)
		}
	}
	m.sortRows(list)
	services := list
	list = nil
	for _, r := range services {
		list = append(list, r)
		if m.isOpen(r.name) {
			list = append(list, serverRows(r)...)
		}
	}
	return list
}

func serviceRow(s *control.Service) row {
	r := row{name: s.Name(), service: s}
	for i := range s.RealServers {
		if !s.RealServers[i].TakesClients() {
			r.down++
		}
	}
	return r
}

func serverRows(of row) []row {
	list := make([]row, 0, len(of.service.RealServers))
	for i := range of.service.RealServers {
		r := &of.service.RealServers[i]
		list = append(list, row{name: serverName(of.name, r), service: of.service, server: r})
	}
	slices.SortFunc(list, func(a, b row) int { return a.server.Address.Compare(b.server.Address) })
	return list
}

func (m *model) takes(s *control.Service, name string) bool {
	if strings.Contains(name, m.filter) || strings.Contains(s.Scheduler, m.filter) {
		return true
	}
	return slices.ContainsFunc(s.RealServers, func(r control.RealServer) bool {
		return strings.Contains(r.Address.String(), m.filter) || strings.Contains(r.State, m.filter)
	})
}

// sortRows orders services: figures fall, names rise.
func (m *model) sortRows(list []row) {
	value := func(r row) float64 {
		at := m.view.services[r.name]
		switch m.sort {
		case byConns:
			return at.conns
		case byPackets:
			return at.inPackets
		case byTraffic:
			return at.inBytes + at.outBytes
		case bySessions:
			return float64(sessionsOf(r.service))
		case byDown:
			return float64(r.down)
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b row) int {
		c := cmp.Or(cmp.Compare(value(b), value(a)), compareNames(a.service, b.service))
		if m.reverse {
			return -c
		}
		return c
	})
}

func compareNames(a, b *control.Service) int {
	return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), a.VIP.Compare(b.VIP), cmp.Compare(a.Mark, b.Mark))
}

func sessionsOf(s *control.Service) (sum int64) {
	for i := range s.RealServers {
		sum += int64(s.RealServers[i].Active) + int64(s.RealServers[i].Inactive)
	}
	return sum
}

// happened keeps an event for the screen.
func (m *model) happened(e events.Event) {
	m.events = append(m.events, e)
	m.events = m.events[max(0, len(m.events)-keptEvents):]
}

// press does what a key asks for; it reports whether it was to quit.
func (m *model) press(k key, page int) (quit bool) {
	if k == keyInterrupt {
		return true
	}
	if m.typing {
		m.typeFilter(k)
		return false
	}
	switch k {
	case 'q', 'Q':
		return true
	case keyEscape:
		if !m.help && m.filter == "" {
			return true
		}
		m.help, m.filter = false, ""
	case ' ', 'p':
		m.paused = !m.paused
	case 's', '>':
		m.sort = (m.sort + 1) % orders
	case 'S', '<':
		m.sort = (m.sort + orders - 1) % orders
	case 'r':
		m.reverse = !m.reverse
	case '/', 'f':
		m.typing = true
	case 'h', '?':
		m.help = !m.help
	case 'a':
		m.closed, m.open = !m.closed, map[string]bool{}
	case keyEnter, keyLeft, keyRight:
		m.turn(k)
	default:
		m.move(k, page)
	}
	return false
}

// typeFilter edits the filter.
func (m *model) typeFilter(k key) {
	switch {
	case k == keyEnter:
		m.typing = false
	case k == keyEscape:
		m.typing, m.filter = false, ""
	case k == keyBackspace:
		r := []rune(m.filter)
		m.filter = string(r[:max(0, len(r)-1)])
	case k < keyUp && len(m.filter) < 60:
		m.filter += string(rune(k))
	}
}

// turn opens or closes the selected service.
func (m *model) turn(k key) {
	for _, r := range m.rows() {
		if r.name != m.selected {
			continue
		}
		name := r.service.Name()
		if want := k == keyRight; k != keyEnter && m.isOpen(name) == want {
			return
		}
		m.open[name] = !m.open[name]
		m.selected = name
		return
	}
}

// move moves the selection.
func (m *model) move(k key, page int) {
	rows := m.rows()
	if len(rows) == 0 {
		return
	}
	at := slices.IndexFunc(rows, func(r row) bool { return r.name == m.selected })
	switch k {
	case keyUp, 'k':
		at--
	case keyDown, 'j':
		at++
	case keyPageUp:
		at -= page
	case keyPageDown:
		at += page
	case keyHome, 'g':
		at = 0
	case keyEnd, 'G':
		at = len(rows) - 1
	default:
		return
	}
	m.selected = rows[min(max(at, 0), len(rows)-1)].name
}
