package config

import (
	"fmt"

	"ulvs/lvs"
)

// settings reads the [settings] section: sysctls net.ipv4.vs by their kernel names.
func (p *parser) settings(root *table) lvs.Settings {
	s := lvs.DefaultSettings()
	t, _ := root.table("settings")
	for _, name := range lvs.SettingNames() {
		if t.has(name) {
			t.setting(&s, name)
		}
	}
	t.done()
	return s
}

// setting reads a number; true and false are as good where there is nothing but 0 and 1.
func (t *table) setting(s *lvs.Settings, name string) {
	limit := settingMax(name)
	want := fmt.Sprintf("a number from 0 to %d", limit)
	if limit == 1 {
		want = "true, false, 1 or 0"
	}
	v, number := t.m[name].(int64)
	on, flag := t.m[name].(bool)
	if flag && limit == 1 {
		v, number = 0, true
		if on {
			v = 1
		}
	}
	switch {
	case !number:
		t.fail(name, "%s; give %s", describe(t.m[name]), want)
	case v < 0 || v > int64(limit):
		t.fail(name, "%d is out of range; give %s", v, want)
	default:
		_ = s.Set(name, int(v)) // within the limits that Set has
	}
}

// settingMax returns the largest value that a setting takes.
func settingMax(name string) int {
	limit := 0
	for _, v := range []int{1, 3, 1 << 30} {
		if new(lvs.Settings).Set(name, v) == nil {
			limit = v
		}
	}
	return limit
}
