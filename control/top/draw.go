package top

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"ulvs/control"
	"ulvs/events"
)

// Looks, as "select graphic rendition" (ECMA-48, 8.3.117). Sixteen colours: those that users chose.
const (
	plain   = ""
	dim     = "\x1b[2m"
	bold    = "\x1b[1m"
	green   = "\x1b[32m"
	red     = "\x1b[31m"
	yellow  = "\x1b[33m"
	cyan    = "\x1b[36m"
	inverse = "\x1b[7m"
	reset   = "\x1b[0m"
)

// line is text with looks, and knows its width.
type line struct {
	b     strings.Builder
	width int
}

// put adds text, cut at width limit.
func (l *line) put(look, text string, limit int) {
	text = printable(text)
	if n := utf8.RuneCountInString(text); l.width+n > limit {
		text = string([]rune(text)[:max(0, limit-l.width)])
	}
	l.width += utf8.RuneCountInString(text)
	if look == plain {
		l.b.WriteString(text)
		return
	}
	l.b.WriteString(look + text + reset)
}

// printable keeps what the director says from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// screen draws the model on width columns and height rows.
type screen struct {
	m             *model
	width, height int
	lines         []string
}

// draw returns the screen's lines, at most height of them, none wider than width.
func (m *model) draw(width, height int) []string {
	s := &screen{m: m, width: width, height: height}
	switch {
	case m.help:
		s.help()
	case m.view == nil:
		s.text(plain, "asking ...")
		s.problem()
	default:
		s.header()
		s.table()
		s.footer()
	}
	return s.lines[:min(len(s.lines), height)]
}

func (s *screen) text(look, text string) {
	var l line
	l.put(look, text, s.width)
	s.lines = append(s.lines, l.b.String())
}

func (s *screen) problem() {
	if s.m.err != nil {
		s.text(red, s.m.err.Error())
	}
}

// header says how the director does as a whole.
func (s *screen) header() {
	v := s.m.view
	st := &v.status
	var l line
	l.put(bold, "ulvs "+st.Name, s.width)
	l.put(dim, fmt.Sprintf("  %s  up %s  generation %d  %s", st.Version, period(st.UptimeSeconds), st.Generation,
		v.at.Format("15:04:05")), s.width)
	if s.m.paused {
		l.put(yellow, "  paused", s.width)
	}
	s.lines = append(s.lines, l.b.String())
	s.problem()
	s.fields([][2]string{
		{"conn/s", short(v.total.conns)}, {"packets/s in", short(v.total.inPackets)}, {"out",
			short(v.total.outPackets)},
		{"bit/s in", short(v.total.inBytes * 8)}, {"out", short(v.total.outBytes * 8)},
		{"sessions", short(float64(st.Sessions.Active)) + "+" + short(float64(st.Sessions.Inactive))},
		{"memory", short(float64(st.Sessions.Bytes)) + "B"},
	})
	s.workers()
	s.drops()
}

func (s *screen) fields(list [][2]string) {
	var l line
	for i, f := range list {
		if i > 0 {
			l.put(plain, "  ", s.width)
		}
		l.put(dim, f[0]+" ", s.width)
		l.put(bold, f[1], s.width)
	}
	s.lines = append(s.lines, l.b.String())
}

// maxWorkers is how many workers have a bar.
const maxWorkers = 8

func (s *screen) workers() {
	var l line
	l.put(dim, "workers", s.width)
	sum := 0.0
	for i, busy := range s.m.view.busy {
		sum += busy
		if i >= maxWorkers {
			continue
		}
		look := green
		if busy > 0.9 {
			look = red
		} else if busy > 0.7 {
			look = yellow
		}
		l.put(plain, fmt.Sprintf("  %d ", i), s.width)
		l.put(look, bar(busy, 6), s.width)
		l.put(plain, fmt.Sprintf("%3.0f%%", busy*100), s.width)
	}
	if n := len(s.m.view.busy); n > maxWorkers {
		l.put(dim, fmt.Sprintf("  all %d: %.0f%%", n, sum/float64(n)*100), s.width)
	}
	s.lines = append(s.lines, l.b.String())
}

// bar is a share as n eighths-blocks.
func bar(share float64, n int) string {
	blocks := []rune(" ▏▎▍▌▋▊▉█")
	eighths := int(share*float64(n)*8 + 0.5)
	out := make([]rune, n)
	for i := range out {
		out[i] = blocks[min(max(eighths-8*i, 0), 8)]
	}
	return string(out)
}

// drops lists reasons for which frames are dropped now, and how many were ever.
func (s *screen) drops() {
	ever, now := uint64(0), map[string]float64{}
	for _, v := range s.m.view.status.Verdicts {
		if v.Drop {
			ever += v.Frames
			if rate := s.m.view.verdicts[v.Name]; rate > 0 {
				now[v.Name] = rate
			}
		}
	}
	var l line
	l.put(dim, "drops ", s.width)
	l.put(plain, short(float64(ever)), s.width)
	names := slices.SortedFunc(maps.Keys(now), func(a, b string) int {
		return cmp.Or(cmp.Compare(now[b], now[a]), cmp.Compare(a, b))
	})
	for _, name := range names {
		l.put(plain, "  "+name+" ", s.width)
		l.put(yellow, short(now[name])+"/s", s.width)
	}
	if len(names) == 0 {
		l.put(dim, "  none now", s.width)
	}
	s.lines = append(s.lines, l.b.String())
}

// columns of the table behind the name.
var columns = []struct {
	title string
	width int
}{{"State", 11}, {"Weight", 8}, {"Active", 8}, {"InAct", 8}, {"Conn/s", 8}, {"Pkt/s", 8}, {"In bit/s",
	9}, {"Out bit/s", 9}}

// reasonColumn is where the reason stands of a real server that has one.
const reasonColumn = 4

// nameWidth is what remains for the name, and how many columns fit.
func nameWidth(width int) (name, fit int) {
	name = width
	for _, c := range columns {
		if name-c.width-1 < 24 {
			break
		}
		name -= c.width + 1
		fit++
	}
	return min(name, 48), fit
}

func (s *screen) table() {
	name, fit := nameWidth(s.width)
	head := pad("Service / real server", name)
	for i, c := range columns[:fit] {
		if i == 0 {
			head += " " + pad(c.title, c.width)
			continue
		}
		head += fmt.Sprintf(" %*s", c.width, c.title)
	}
	s.text(inverse, pad(head, s.width))
	rows := s.m.rows()
	room := s.room()
	s.m.scroll(rows, room)
	for _, r := range rows[s.m.top:min(s.m.top+room, len(rows))] {
		s.row(r, name, fit)
	}
	if len(rows) == 0 {
		s.text(dim, "no service matches")
	}
}

// room is how many rows of the table fit.
func (s *screen) room() int { return max(1, s.height-len(s.lines)-s.footerLines()) }

func (s *screen) footerLines() int { return 1 + min(len(s.m.events), s.eventLines()) }

// eventLines is how many events fit without taking more than a quarter of the screen.
func (s *screen) eventLines() int { return min(max(s.height/5, 1), 5) }

// scroll keeps the selected row in sight.
func (m *model) scroll(rows []row, room int) {
	at := slices.IndexFunc(rows, func(r row) bool { return r.name == m.selected })
	if at >= 0 {
		m.top = min(m.top, at)
		m.top = max(m.top, at-room+1)
	}
	m.top = max(0, min(m.top, len(rows)-room))
}

func (s *screen) row(r row, name, fit int) {
	var l line
	mark := plain
	if r.name == s.m.selected {
		mark = inverse
	}
	label, state, look := describe(r, s.m.isOpen(r.service.Name()))
	if mark == plain && r.server == nil {
		mark = bold
	}
	l.put(mark, pad(label, name), s.width)
	reason := ""
	if r.server != nil {
		reason = r.server.Reason
	}
	for i, cell := range s.cells(r, state)[:fit] {
		if reason != "" && i == reasonColumn {
			break // who is down has no rates
		}
		l.put(plain, " ", s.width)
		if i == 0 {
			l.put(look, pad(cell, columns[0].width), s.width)
			continue
		}
		l.put(plain, fmt.Sprintf("%*s", columns[i].width, cell), s.width)
	}
	if reason != "" {
		l.put(dim, "  "+reason, s.width)
	}
	s.lines = append(s.lines, l.b.String())
}

// describe returns a row's label and its state in a word and a colour.
func describe(r row, open bool) (label, state, look string) {
	if r.server != nil {
		state = r.server.State
		if state == control.StateUp && r.server.Overloaded {
			state = "overloaded"
		}
		return "  → " + r.server.Address.String() + " " + r.server.Method, state, lookOf(state)
	}
	arrow := "▸ "
	if open {
		arrow = "▾ "
	}
	all := len(r.service.RealServers)
	state = fmt.Sprintf("%d/%d up", all-r.down, all)
	switch {
	case r.service.State != control.StateUp:
		state, look = strings.ReplaceAll(r.service.State, "_", " "), red
	case r.down == all:
		look = red
	case r.down > 0:
		look = yellow
	default:
		look = green
	}
	return arrow + r.name + " " + r.service.Scheduler, state, look
}

func lookOf(state string) string {
	switch state {
	case control.StateUp:
		return green
	case control.StateDown, control.StateSorry:
		return red
	case control.StateRising, control.StateStandby:
		return cyan
	}
	return yellow
}

func (s *screen) cells(r row, state string) []string {
	at := s.m.view.services[r.name]
	var weight, active, inactive int64
	servers := r.service.RealServers
	if r.server != nil {
		servers = []control.RealServer{*r.server}
	}
	for i := range servers {
		weight += int64(servers[i].Weight)
		active += int64(servers[i].Active)
		inactive += int64(servers[i].Inactive)
	}
	words := fmt.Sprint(weight)
	if r.server != nil && r.server.ConfiguredWeight != r.server.Weight {
		words += fmt.Sprintf(" (%d)", r.server.ConfiguredWeight)
	}
	return []string{state, words, short(float64(active)), short(float64(inactive)), short(at.conns),
		short(at.inPackets), short(at.inBytes * 8), short(at.outBytes * 8)}
}

// footer is the latest events and the keys, at the bottom.
func (s *screen) footer() {
	for len(s.lines) < s.height-s.footerLines() {
		s.lines = append(s.lines, "")
	}
	n := min(len(s.m.events), s.eventLines())
	for _, e := range s.m.events[len(s.m.events)-n:] {
		s.event(&e)
	}
	switch {
	case s.m.typing:
		s.text(bold, "filter: "+s.m.filter+"▁")
	default:
		words := fmt.Sprintf("q quit  space pause  s sort (%s)  r reverse  / filter", orderWords[s.m.sort])
		if s.m.filter != "" {
			words += " (" + s.m.filter + ")"
		}
		s.text(dim, words+"  ↑↓ select  enter open  a all  ? help")
	}
}

func (s *screen) event(e *events.Event) {
	var l line
	l.put(dim, e.Time.Local().Format("15:04:05 "), s.width)
	look := plain
	switch level := events.InfoOf(e.Kind).Level; {
	case level >= 8:
		look = red
	case level >= 4:
		look = yellow
	}
	l.put(look, e.String(), s.width)
	s.lines = append(s.lines, l.b.String())
}

func (s *screen) help() {
	s.text(bold, "ulvs top")
	for _, text := range []string{
		"",
		"q, Escape       quit",
		"space, p        pause and go on",
		"s, S            sort by the next, the previous figure",
		"r               reverse the order",
		"/               filter: a part of a name, address, scheduler or state; Escape ends it",
		"↑ ↓ j k         select; also page up and down, home, end",
		"enter ← →       open or close the selected service",
		"a               open or close all services",
		"?, h            this help",
		"",
		"Rates are those of the last interval. A service's state counts the real servers that take clients.",
		"Numbers: 1.5k is 1500; sessions are active+inactive; a weight in parentheses is the configured one.",
	} {
		s.text(plain, text)
	}
}

func pad(text string, width int) string {
	n := utf8.RuneCountInString(text)
	if n > width {
		return string([]rune(text)[:max(width-1, 0)]) + "…"
	}
	return text + strings.Repeat(" ", width-n)
}

// short words a number in five columns: 999, 1.23k, 45.6M.
func short(n float64) string {
	units := []string{"", "k", "M", "G", "T", "P"}
	i := 0
	for ; n >= 999.5 && i < len(units)-1; i++ {
		n /= 1000
	}
	switch {
	case i == 0 && n > 0 && n < 9.95 && n != float64(int(n)):
		return fmt.Sprintf("%.1f", n)
	case i == 0:
		return fmt.Sprintf("%.0f", n)
	case n < 9.995:
		return fmt.Sprintf("%.2f%s", n, units[i])
	case n < 99.95:
		return fmt.Sprintf("%.1f%s", n, units[i])
	}
	return fmt.Sprintf("%.0f%s", n, units[i])
}

func period(seconds int64) string {
	d := time.Duration(seconds) * time.Second
	switch {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return d.String()
}
