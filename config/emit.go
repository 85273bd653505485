package config

import (
	"slices"
	"strings"

	"ulvs/lvs"
)

// writer puts a document together again, with a blank line around what is new.
type writer struct {
	strings.Builder
	eol     string
	last    string // what the text ends with, two line ends long
	fresh   bool   // a new block was written last
	dropped bool   // a piece was left out
}

func (w *writer) raw(text string) {
	if text == "" {
		return
	}
	w.WriteString(text)
	w.last = (w.last + text)[max(0, len(w.last)+len(text)-2*len(w.eol)):]
}

// blank ends the line and leaves one empty.
func (w *writer) blank() {
	if w.Len() == 0 {
		return
	}
	if !strings.HasSuffix(w.last, "\n") {
		w.raw(w.eol)
	}
	if w.Len() > len(w.eol) && w.last != w.eol+w.eol {
		w.raw(w.eol)
	}
}

// block writes a new table.
func (w *writer) block(text string) {
	w.blank()
	w.raw(strings.ReplaceAll(text, "\n", w.eol))
	w.fresh, w.dropped = true, false
}

// old writes a table of the file, loose what stood between two.
func (w *writer) old(text string) {
	if w.fresh {
		w.blank()
	}
	w.raw(text)
	w.fresh, w.dropped = false, false
}

func (w *writer) loose(text string) {
	if w.dropped && (w.Len() == 0 || w.last == w.eol+w.eol) {
		text = strings.TrimLeft(text, "\r\n")
	}
	w.raw(text)
	w.fresh, w.dropped = w.fresh && text == "", false
}

// order says where things go that are not where they were: keep stay, the others follow what is before them.
type order[K comparable] struct {
	keep  map[K]bool
	after map[K][]K
	first []K // before all that stay
}

// arrange keeps as much of had as possible in place on the way to want.
func arrange[K comparable](had, want []K) order[K] {
	o := order[K]{map[K]bool{}, map[K][]K{}, nil}
	at := make(map[K]int, len(had))
	for i, k := range had {
		at[k] = i
	}
	last, before := -1, -1
	for i, k := range want {
		p, known := at[k]
		switch {
		case known && p > last:
			o.keep[k] = true
			last, before = p, i
		case before < 0:
			o.first = append(o.first, k)
		default:
			o.after[want[before]] = append(o.after[want[before]], k)
		}
	}
	return o
}

// group is a service's pieces, in the order of the file.
type group struct {
	want  *lvs.Service
	index int // in the file; -1: new
	parts []int
	own   int // the last of its own tables
	dests order[string]
	table map[string][]int // pieces by address: a real server's table, and those of its checks

	wanted map[string]*lvs.Destination
}

// emitter knows where everything goes.
type emitter struct {
	*merger
	groups map[lvs.ServiceKey]*group
	had    []lvs.ServiceKey // by index in the file
	order  order[lvs.ServiceKey]
	begun  bool // the first service that stays
}

// emit writes the document as it shall be.
func (m *merger) emit() {
	e := &emitter{merger: m, groups: map[lvs.ServiceKey]*group{}}
	e.plan()
	for i := range m.pieces {
		p := &m.pieces[i]
		switch {
		case p.gone:
			m.out.dropped = true
		case p.loose:
			m.out.loose(m.text[p.start:p.end])
		case !e.ofService(p):
			m.out.old(m.edited(i))
		default:
			e.piece(i)
		}
	}
	if !e.begun {
		e.services(e.order.first)
	}
}

func (e *emitter) plan() {
	var want []lvs.ServiceKey
	for i := range e.want.Services {
		s := &e.want.Services[i]
		want = append(want, s.Key)
		e.groups[s.Key] = &group{want: s, index: -1, own: -1, table: map[string][]int{}}
	}
	for i := range e.old.services {
		e.had = append(e.had, e.old.services[i].Key)
		if g := e.groups[e.had[i]]; g != nil {
			g.index = i
		}
	}
	e.order = arrange(e.had, want)
	for i := range e.pieces {
		if p := &e.pieces[i]; e.ofService(p) {
			e.collect(i, p)
		}
	}
	for _, g := range e.groups {
		if g.index >= 0 {
			g.dests = arrange(addresses(&e.old.services[g.index]), addresses(g.want))
			g.wanted = make(map[string]*lvs.Destination, len(g.want.Destinations))
			for i := range g.want.Destinations {
				g.wanted[g.want.Destinations[i].AddrPort().String()] = &g.want.Destinations[i]
			}
		}
	}
}

// ofService tells the tables of the file's services.
func (e *emitter) ofService(p *piece) bool {
	return p.svc >= 0 && p.svc < len(e.had) && p.dest < len(e.old.services[p.svc].Destinations)
}

func (e *emitter) collect(i int, p *piece) {
	g := e.groups[e.had[p.svc]]
	if g == nil || p.gone {
		return
	}
	g.parts = append(g.parts, i)
	if p.dest < 0 {
		g.own = i
		return
	}
	address := e.address(p)
	g.table[address] = append(g.table[address], i)
}

// address returns the real server of a table, its place among the file's being the reverse of ours.
func (e *emitter) address(p *piece) string {
	dests := e.old.services[p.svc].Destinations
	return dests[len(dests)-1-p.dest].AddrPort().String()
}

// addresses are the real servers of a service in the order of a file.
func addresses(s *lvs.Service) (list []string) {
	for i := range slices.Backward(s.Destinations) {
		list = append(list, s.Destinations[i].AddrPort().String())
	}
	return list
}

// piece writes a table of a service in the place where the file has it, and what comes behind.
func (e *emitter) piece(i int) {
	key := e.had[e.pieces[i].svc]
	g := e.groups[key]
	if g == nil || !e.order.keep[key] {
		e.out.dropped = true
		return
	}
	if !e.begun {
		e.begun = true
		e.services(e.order.first)
	}
	e.part(g, i)
	if i == g.parts[len(g.parts)-1] {
		e.services(e.order.after[key])
	}
}

// services writes services that are new, or come from elsewhere.
func (e *emitter) services(keys []lvs.ServiceKey) {
	for _, key := range keys {
		g := e.groups[key]
		if g.index < 0 || len(g.parts) == 0 {
			e.out.block(renderService(g.want, e.care[1][key], "  "))
			continue
		}
		for _, i := range g.parts {
			e.out.fresh = true // a blank line before it
			e.part(g, i)
		}
		e.out.fresh = true
	}
}

// part writes one of a service's tables, and the real servers that come behind it.
func (e *emitter) part(g *group, i int) {
	p := &e.pieces[i]
	if text, anew := e.rewrite[g.index]; anew {
		if i == g.parts[0] {
			e.out.old(e.lead(p))
			e.out.raw(strings.ReplaceAll(text, "\n", e.out.eol))
			e.out.fresh = true
		}
		return
	}
	if p.dest < 0 {
		e.out.old(e.edited(i))
		if i == g.own {
			e.realServers(g, g.dests.first)
		}
		return
	}
	address := e.address(p)
	if !g.dests.keep[address] {
		e.out.dropped = true
		return
	}
	e.out.old(e.edited(i))
	if parts := g.table[address]; i == parts[len(parts)-1] {
		e.realServers(g, g.dests.after[address])
	}
}

// realServers writes real servers that are new, or come from elsewhere.
func (e *emitter) realServers(g *group, list []string) {
	for _, address := range list {
		for _, i := range g.table[address] {
			e.out.fresh = true
			e.out.old(e.edited(i))
			e.out.fresh = true
		}
		if len(g.table[address]) > 0 {
			continue
		}
		d := g.wanted[address]
		e.out.block(renderDest(d, e.care[1][g.want.Key].Server(d.AddrPort()), e.old.inherits[g.index], "  "))
	}
}

// lead is the comment above a table.
func (e *emitter) lead(p *piece) string {
	text := e.text[p.start:p.end]
	for at := 0; at < len(text); at = lineEnd(text, at) {
		if !isComment(text[at:lineEnd(text, at)]) {
			return text[:at]
		}
	}
	return text
}

// edited returns a piece's text with the changes in it.
func (m *merger) edited(piece int) string {
	p := &m.pieces[piece]
	var b strings.Builder
	at := p.start
	for _, c := range m.changes[piece] {
		if c.start >= at {
			b.WriteString(m.text[at:c.start] + c.text)
			at = c.end
		}
	}
	return b.String() + m.text[min(at, p.end):p.end]
}
