package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"ulvs/ha"
)

// Limits of tracking, keepalived's.
const (
	maxTrackWeight = 253
	maxRiseFall    = 1000
)

func (t *table) trackScript(name string) TrackScript {
	s := TrackScript{
		Name:     name,
		Interval: t.period("interval", time.Second),
		Timeout:  t.period("timeout", 0),
		Weight:   t.weight(),
		Rise:     int(t.number("rise", span{1, maxRiseFall, 1})),
		Fall:     int(t.number("fall", span{1, maxRiseFall, 1})),
		InitFail: t.flag("init_fail"),
	}
	if s.Timeout == 0 {
		s.Timeout = s.Interval
	}
	if s.Interval <= 0 {
		t.fail("interval", "0 would run it without a pause; give 1s or more")
	}
	if !t.has("script") {
		t.fail("script", `missing; give a program with its arguments: script = "/usr/local/bin/check"`)
	}
	s.Command = t.command("script")
	return s
}

func (t *table) trackFile(name string) TrackFile {
	f := TrackFile{Name: name, Path: t.text("file", "a file's path"), Weight: int(t.number("weight", span{-maxTrackWeight,
		maxTrackWeight, 1}))}
	if !filepath.IsAbs(f.Path) {
		t.fail("file", "%.60q is no absolute path; give the file with the number", f.Path)
	}
	return f
}

func (t *table) trackProcess(name string) TrackProcess {
	p := TrackProcess{Name: name, Process: t.text("process", "a process's name"), Weight: t.weight(),
		Quorum: int(t.number("quorum", span{1, 65535, 1}))}
	if p.Process == "" {
		t.fail("process", `missing; give the name of a program: process = "nginx"`)
	}
	return p
}

func (t *table) weight() int {
	return int(t.number("weight", span{-maxTrackWeight, maxTrackWeight, 0}))
}

// command reads a program with its arguments, nil where it is not set.
func (t *table) command(key string) []string {
	if !t.has(key) {
		return nil
	}
	v := readCommand(t, key)
	if v == nil {
		return nil
	}
	return Keys{key: v}.Command(key)
}

func (t *table) notifies() VRRPNotify {
	return VRRPNotify{
		Master: t.command("notify_master"), Backup: t.command("notify_backup"), Fault: t.command("notify_fault"),
		Stop: t.command("notify_stop"), Any: t.command("notify"),
	}
}

// tracks reads what an instance's priority depends on.
func (t *table) tracks(v *VRRP, all *Takeover) {
	v.Interfaces = t.trackList("track_interface", nil)
	for i, tr := range v.Interfaces {
		t.p.interfaceName(fmt.Sprintf("%s[%d]", t.key("track_interface"), i), tr.Name, nil)
	}
	weights := map[string]int{}
	for _, s := range all.Scripts {
		weights[s.Name] = s.Weight
	}
	v.Scripts = t.trackList("track_script", weights)
	weights = map[string]int{}
	for _, f := range all.Files {
		weights[f.Name] = f.Weight
	}
	v.Files = t.trackList("track_file", weights)
	weights = map[string]int{}
	for _, p := range all.Processes {
		weights[p.Name] = p.Weight
	}
	v.Processes = t.trackList("track_process", weights)
}

// trackList reads names, each a string or a table with a weight. defined are the names that there are, with the
// weights that they have; nil: any.
func (t *table) trackList(key string, defined map[string]int) (out []Track) {
	form := fmt.Sprintf(`names, or tables like { name = "x", weight = -20 }, as in %s = ["x"]`, key)
	list, ok := get[[]any](t, key, form)
	if tables, isTables := t.m[key].([]map[string]any); isTables {
		for _, m := range tables {
			list = append(list, m)
		}
	}
	if !ok && len(list) == 0 {
		return nil
	}
	if len(list) > maxTracks {
		t.fail(key, "%d of them; give up to %d", len(list), maxTracks)
		return nil
	}
	for i, one := range list {
		if tr, ok := t.track(fmt.Sprintf("%s[%d]", t.key(key), i), one, defined, form); ok {
			out = append(out, tr)
		}
	}
	return out
}

func (t *table) track(path string, v any, defined map[string]int, form string) (tr Track, ok bool) {
	switch v := v.(type) {
	case string:
		tr.Name = v
		tr.Weight = defined[v]
	case map[string]any:
		sub := &table{p: t.p, path: path, m: v}
		tr.Name = sub.text("name", "a name")
		tr.Weight = defined[tr.Name]
		if sub.has("weight") {
			tr.Weight = sub.weight()
		}
		sub.done()
	default:
		t.p.fail(path, "%s; give %s", describe(v), form)
		return tr, false
	}
	if _, known := defined[tr.Name]; defined != nil && !known {
		t.p.fail(path, "there is no %.60q; %s", tr.Name, wouldBeRight(tr.Name, sortedNames(defined)))
		return tr, false
	}
	return tr, true
}

func sortedNames(m map[string]int) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// syncGroup reads a [[vrrp_sync_group]].
func (t *table) syncGroup(name string, instances []VRRP) VRRPGroup {
	g := VRRPGroup{Name: name, Notify: t.notifies()}
	g.Instances = t.texts("group", `the names of instances: ["VI_1", "VI_2"]`)
	if len(g.Instances) == 0 {
		t.fail("group", `no instances; give their names: group = ["VI_1", "VI_2"]`)
	}
	known := map[string]int{}
	for _, v := range instances {
		known[v.Name] = 0
	}
	for i, member := range g.Instances {
		if _, ok := known[member]; !ok {
			t.p.fail(fmt.Sprintf("%s[%d]", t.key("group"), i), "there is no [[vrrp]] %.60q; %s", member,
				wouldBeRight(member, sortedNames(known)))
		}
	}
	return g
}

// oneGroupEach complains about instances in two groups.
func (p *parser) oneGroupEach(groups []VRRPGroup) {
	seen := map[string]string{}
	for i, g := range groups {
		for k, member := range g.Instances {
			path := fmt.Sprintf("vrrp_sync_group[%d].group[%d]", i, k)
			if other, ok := seen[member]; ok {
				p.fail(path, "%q is in %q already; an instance is in one group", member, other)
			}
			seen[member] = g.Name
		}
	}
}

// uniqueRouters complains about instances that would hear each other's adverts for their own, and VIPs of two.
func (p *parser) uniqueRouters(list []VRRP) {
	type router struct {
		link string
		id   uint8
		v6   bool
	}
	routers, vips := map[router]string{}, map[string]string{}
	for i := range list {
		v := &list[i]
		r := router{v.Interface, v.VRID, v.Family6()}
		if other, ok := routers[r]; ok && v.VRID != 0 {
			p.fail(fmt.Sprintf("vrrp[%d].virtual_router_id", i), "%d is %q's on %s; give each its own",
				v.VRID, other, v.Interface)
		}
		routers[r] = v.Name
		for _, prefix := range v.Prefixes {
			vip := prefix.Addr().String()
			if other, ok := vips[vip]; ok {
				p.fail(fmt.Sprintf("vrrp[%d].vips", i), "%s is %q's; a VIP belongs to one instance", vip, other)
			}
			vips[vip] = v.Name
		}
	}
}

// Units are the groups and the instances without one, as a takeover machine takes them: groups first,
// then instances, each in the order of the file.
func (t *Takeover) Units() (units []ha.Unit) {
	grouped := map[string]bool{}
	byName := map[string]*VRRP{}
	for i := range t.Instances {
		byName[t.Instances[i].Name] = &t.Instances[i]
	}
	for _, g := range t.Groups {
		u := ha.Unit{Name: g.Name}
		for _, name := range g.Instances {
			grouped[name] = true
			u.Instances = append(u.Instances, byName[name].Instance)
			u.Quorum = u.Quorum || byName[name].Quorum
			u.Gateway = u.Gateway || len(byName[name].Gateways) > 0
		}
		units = append(units, u)
	}
	for i := range t.Instances {
		if v := &t.Instances[i]; !grouped[v.Name] {
			units = append(units, ha.Unit{Name: v.Name, Instances: []ha.Instance{v.Instance},
				Quorum: v.Quorum, Gateway: len(v.Gateways) > 0})
		}
	}
	return units
}
