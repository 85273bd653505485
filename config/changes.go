package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ulvs/lvs"
)

// Change is one difference between two states.
type Change struct {
	Object  string // what differs, the same for every difference of it
	Service string // whose; empty: timeouts or a setting
	Text    string // "service tcp 192.0.2.10:80: real server 10.0.0.1:80: weight 1 -> 2"
}

// Diff returns what must happen to from to make it to, in to's order and what is removed last.
func Diff(from, to State) []Change {
	d := differ{from: careByKey(from.Care), to: careByKey(to.Care)}
	if sameKeys(from.Services, to.Services) { // as after most edits: 10 000 look-ups less
		for i := range to.Services {
			d.service(&from.Services[i], &to.Services[i])
		}
	} else {
		d.services(from.Services, to.Services)
	}
	d.of = ""
	d.values("timeouts", timeoutValues(from.Timeouts), timeoutValues(to.Timeouts))
	for _, name := range lvs.SettingNames() {
		a, _ := from.Settings.Get(name)
		b, _ := to.Settings.Get(name)
		if a != b {
			d.note("setting "+name, fmt.Sprintf("%d -> %d", a, b))
		}
	}
	return d.changes
}

// sameKeys reports whether both lists have the same services in the same order.
func sameKeys(a, b []lvs.Service) bool {
	return slices.EqualFunc(a, b, func(a, b lvs.Service) bool { return a.Key == b.Key })
}

// Lost counts the differences from loaded to running that are no more when running becomes next.
func Lost(loaded, running, next State) (count int) {
	gone := map[string]bool{}
	for _, c := range Diff(running, next) {
		gone[c.Object] = true
	}
	kept := byKey(next.Services)
	for i := range running.Services {
		if key := running.Services[i].Key; kept[key] == nil {
			gone["all of service "+key.Name()] = true
		}
	}
	for _, c := range Diff(loaded, running) {
		if gone[c.Object] || gone["all of "+c.Service] {
			count++
		}
	}
	return count
}

// Words returns the texts of changes. Never nil.
func Words(changes []Change) []string {
	words := make([]string, len(changes))
	for i, c := range changes {
		words[i] = c.Text
	}
	return words
}

func byKey(services []lvs.Service) map[lvs.ServiceKey]*lvs.Service {
	m := make(map[lvs.ServiceKey]*lvs.Service, len(services))
	for i := range services {
		m[services[i].Key] = &services[i]
	}
	return m
}

func timeoutValues(t Timeouts) []keyValue {
	return []keyValue{
		{"tcp", quote(durationWord(t.TCP)), t.TCP == defaultTCP},
		{"tcpfin", quote(durationWord(t.TCPFin)), t.TCPFin == defaultTCPFin},
		{"udp", quote(durationWord(t.UDP)), t.UDP == defaultUDP},
	}
}

type differ struct {
	changes  []Change
	of       string // the service at hand
	from, to map[lvs.ServiceKey]*Care
}

func (d *differ) note(object, text string) {
	d.changes = append(d.changes, Change{object, d.of, object + ": " + text})
}

// services notes what differs in lists whose places do not agree.
func (d *differ) services(from, to []lvs.Service) {
	old := byKey(from)
	for i := range to {
		d.service(old[to[i].Key], &to[i])
	}
	kept := byKey(to)
	for i := range from {
		if key := from[i].Key; kept[key] == nil {
			d.of = "service " + key.Name()
			d.note(d.of, "removed")
		}
	}
}

func (d *differ) service(from, to *lvs.Service) {
	if from != nil && sameService(from, to) && sameCare(to, d.from[to.Key], d.to[to.Key]) {
		return
	}
	name := "service " + to.Key.Name()
	d.of = name
	if from == nil {
		d.note(name, fmt.Sprintf("added, %d real servers", len(to.Destinations)))
		return
	}
	careFrom, careTo := d.from[to.Key], d.to[to.Key]
	x, y := canonicalService(from), canonicalService(to)
	from, to = &x, &y
	d.values(name, serviceValues(from, careFrom, inherit{}), serviceValues(to, careTo, inherit{}))
	old, kept := byAddress(from), byAddress(to)
	for i := range slices.Backward(to.Destinations) {
		dest := &to.Destinations[i]
		object := name + ": real server " + dest.AddrPort().String()
		if before := old[dest.AddrPort()]; before != nil {
			ap := dest.AddrPort()
			d.values(object, destValues(before, careFrom.Server(ap), inherit{}), destValues(dest, careTo.Server(ap), inherit{}))
		} else {
			d.note(object, fmt.Sprintf("added, %s, weight %d", dest.Method, dest.Weight))
		}
	}
	for i := range from.Destinations {
		if ap := from.Destinations[i].AddrPort(); kept[ap] == nil {
			d.note(name+": real server "+ap.String(), "removed")
		}
	}
	if moved(from, to, old, kept) {
		d.note(name+": order", "real servers in another order")
	}
}

func byAddress(s *lvs.Service) map[netip.AddrPort]*lvs.Destination {
	m := make(map[netip.AddrPort]*lvs.Destination, len(s.Destinations))
	for i := range s.Destinations {
		m[s.Destinations[i].AddrPort()] = &s.Destinations[i]
	}
	return m
}

// moved reports whether real servers that are in both stand in another order.
func moved(from, to *lvs.Service, old, kept map[netip.AddrPort]*lvs.Destination) bool {
	next := 0
	for i := range to.Destinations {
		if old[to.Destinations[i].AddrPort()] == nil {
			continue
		}
		for kept[from.Destinations[next].AddrPort()] == nil {
			next++
		}
		if from.Destinations[next].AddrPort() != to.Destinations[i].AddrPort() {
			return true
		}
		next++
	}
	return false
}

// values compares what two lists say of the same keys.
func (d *differ) values(object string, from, to []keyValue) {
	var texts []string
	for i := range to {
		if from[i].value != to[i].value {
			texts = append(texts, to[i].key+" "+shown(from[i].value)+" -> "+shown(to[i].value))
		}
	}
	if len(texts) > 0 {
		d.note(object, strings.Join(texts, ", "))
	}
}

// shown is a value for people.
func shown(value string) string {
	if value == "" {
		return "unset"
	}
	return strings.Trim(value, `"`)
}
