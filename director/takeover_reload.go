package director

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"ulvs/config"
	"ulvs/ha"
)

// takeoverChange is a takeover that is ready to go on where the running one is.
type takeoverChange struct {
	d     *director
	next  *takeover // nil: there is none any more
	any   bool
	words []string
}

// prepareTakeover does what of a configuration can fail. One of apply and cancel must follow.
func (d *director) prepareTakeover(c *config.Config) (*takeoverChange, error) {
	ch := &takeoverChange{d: d}
	now := d.takeover.Load()
	runs, terms := &config.Takeover{}, (*termStore)(nil)
	if now != nil {
		runs, terms = now.conf, now.terms
	}
	// How many directors there are is the machine's business, too.
	resized := now != nil && d.replication != nil && d.directors() != len(c.Sync.Peers)+1
	ch.words = takeoverWords(runs, &c.Takeover)
	if ch.any = len(ch.words) > 0 || resized; !ch.any || len(c.Takeover.Instances) == 0 {
		return ch, nil
	}
	var err error
	ch.next, err = d.newTakeover(&c.Takeover, terms)
	return ch, err
}

func (ch *takeoverChange) cancel() {
	if ch.next != nil {
		_ = ch.next.closeSockets() // nothing went over them
	}
}

// apply puts the new takeover in the place of the one that runs. What is in both stays master or backup.
func (ch *takeoverChange) apply() []string {
	old := ch.d.takeover.Load()
	switch {
	case !ch.any:
	case ch.next == nil:
		_ = old.close() // its sockets
		ch.d.takeover.Store(nil)
		ch.d.setMACs(virtualMACs{})
		ch.d.SetUnits(nil, nil)
	case old == nil:
		ch.d.setMACs(ch.next.macs())
		ch.d.SetUnits(ch.next.vips, nil)
		ch.d.takeover.Store(ch.next)
		ch.d.startTakeover(false)
	default:
		ch.next.follow(old)
	}
	return ch.words
}

// follow goes on where old is. The machine stands still meanwhile, for less than any other director waits.
func (t *takeover) follow(old *takeover) {
	old.retire(t)
	close(old.pause)
	<-old.done
	m := ha.New(t.machine())
	first := m.Resume(old.left, t.now(), t.tracked)
	holds := make([]Hold, len(t.units))
	for u := range t.units {
		if ou := old.unitOf(t.units[u].Name); ou >= 0 {
			t.states[u], t.lingers[u] = old.states[ou], old.lingers[ou]
			holds[u] = holdOf(t.states[u] == ha.StateMaster, !t.lingers[u].IsZero())
		}
	}
	t.d.setMACs(t.macs())
	t.d.SetUnits(t.vips, holds)
	for u, h := range holds {
		t.listen(u, h == HoldAnswers)
	}
	t.d.takeover.Store(t)
	t.launch(m, first)
	t.failed(old.closeSockets())
}

func holdOf(master, lingers bool) Hold {
	switch {
	case master:
		return HoldAnswers
	case lingers:
		return HoldLinger
	}
	return HoldNone
}

// retire gives up what is not in next any more, or is another thing for other directors there.
func (t *takeover) retire(next *takeover) {
	t.inspect(func(m *ha.Machine) {
		for u := range t.units {
			if nu := next.unitOf(t.units[u].Name); nu < 0 || !sameWire(&t.units[u], &next.units[nu]) {
				t.step(m, ha.Event{Kind: ha.EventRetire, Unit: u})
			}
		}
	})
}

// sameWire reports whether no instance that is in both units became another one to other directors.
func sameWire(a, b *ha.Unit) bool {
	for i := range a.Instances {
		for k := range b.Instances {
			if a.Instances[i].Name == b.Instances[k].Name && !a.Instances[i].SameWire(&b.Instances[k]) {
				return false
			}
		}
	}
	return true
}

// tracked reports whether an instance depends on something, by the name that the machine has for it.
func (t *takeover) tracked(instance int, track string) bool {
	in := t.instances[instance]
	kind, name, _ := strings.Cut(track, " ")
	lists := map[string][]config.Track{"interface": {{Name: in.Interface}}, "track_interface": in.Interfaces,
		"script": in.Scripts, "file": in.Files, "process": in.Processes}
	return slices.ContainsFunc(lists[kind], func(tr config.Track) bool { return tr.Name == name })
}

// takeoverWords says what differs, a line for each instance, group and thing that is tracked.
func takeoverWords(runs, file *config.Takeover) (words []string) {
	words = append(words, listWords("vrrp", byName(runs.Instances, func(v *config.VRRP) string { return v.Name }),
		byName(file.Instances, func(v *config.VRRP) string { return v.Name }))...)
	words = append(words, listWords("vrrp_sync_group",
		byName(runs.Groups, func(v *config.VRRPGroup) string { return v.Name }),
		byName(file.Groups, func(v *config.VRRPGroup) string { return v.Name }))...)
	words = append(words, listWords("track_script",
		byName(runs.Scripts, func(v *config.TrackScript) string { return v.Name }),
		byName(file.Scripts, func(v *config.TrackScript) string { return v.Name }))...)
	words = append(words, listWords("track_file",
		byName(runs.Files, func(v *config.TrackFile) string { return v.Name }),
		byName(file.Files, func(v *config.TrackFile) string { return v.Name }))...)
	return append(words, listWords("track_process",
		byName(runs.Processes, func(v *config.TrackProcess) string { return v.Name }),
		byName(file.Processes, func(v *config.TrackProcess) string { return v.Name }))...)
}

func byName[T any](list []T, name func(*T) string) map[string]T {
	out := make(map[string]T, len(list))
	for i := range list {
		out[name(&list[i])] = list[i]
	}
	return out
}

// listWords says what of named things comes, goes, and is changed in which fields.
func listWords[T any](what string, runs, file map[string]T) (words []string) {
	for _, name := range slices.Sorted(maps.Keys(file)) {
		was, known := runs[name]
		if !known {
			words = append(words, fmt.Sprintf("%s %s: added", what, name))
			continue
		}
		for _, w := range fieldWords(reflect.ValueOf(was), reflect.ValueOf(file[name])) {
			words = append(words, fmt.Sprintf("%s %s: %s", what, name, w))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(runs)) {
		if _, stays := file[name]; !stays {
			words = append(words, fmt.Sprintf("%s %s: removed", what, name))
		}
	}
	return words
}

// fieldWords says which fields of two structs differ, those of embedded structs as their own. Passwords are not shown.
func fieldWords(a, b reflect.Value) (words []string) {
	for i := range a.NumField() {
		f := a.Type().Field(i)
		if f.Anonymous {
			words = append(words, fieldWords(a.Field(i), b.Field(i))...)
			continue
		}
		x, y := a.Field(i).Interface(), b.Field(i).Interface()
		switch {
		case reflect.DeepEqual(x, y):
		case f.Name == "Password":
			words = append(words, "auth_pass changed")
		default:
			words = append(words, fmt.Sprintf("%s %v -> %v", keyOfField(f.Name), x, y))
		}
	}
	return words
}

// keyOfField turns a field's name into the key's: PreemptDelay into preempt_delay. Few have another name.
func keyOfField(name string) string {
	if key, ok := map[string]string{"VRID": "virtual_router_id", "Source": "unicast_src_ip", "Peers": "unicast_peer",
		"VIPs": "vips", "GARPDelay": "garp_master_delay", "GARPRepeat": "garp_master_repeat", "Prefixes": "addresses",
		"GARPLowerRepeat": "garp_lower_prio_repeat", "GARPRefresh": "garp_master_refresh", "Excluded": "vips_excluded",
		"NoPreempt": "nopreempt", "DownAdverts": "down_timer_adverts", "Gateways": "gateway",
		"InitialMaster": "state", "UseVMAC": "use_vmac"}[name]; ok {
		return key
	}
	var b strings.Builder
	for i, r := range name {
		if r >= 'A' && r <= 'Z' {
			if i > 0 {
				b.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
