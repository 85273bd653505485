package config

import (
	"strings"
	"testing"
	"time"
)

func TestRestartIsReadWithItsDefaults(t *testing.T) {
	for _, c := range []struct {
		text string
		want Restart
	}{
		{"", Restart{KeepAuto, 5 * time.Minute, time.Minute}},
		{"[restart]\nkeep = \"systemd\"\n", Restart{KeepSystemd, 5 * time.Minute, time.Minute}},
		{"[restart]\nkeep = \"keeper\"\nafter_crash = \"1h\"\nafter_stop = \"0s\"\n", Restart{KeepKeeper, time.Hour, 0}},
	} {
		got, err := Parse("f", []byte(node+c.text), Options{})
		if err != nil || got.Restart != c.want {
			t.Errorf("%q is read as %+v, %v", c.text, got.Restart, err)
		}
	}
}

func TestRestartSaysWhatWouldBeRight(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`keep = "disk"`, "auto, systemd, keeper"}, {`after_crash = "0s"`, "1s to 744h"},
		{`after_stop = "-1s"`, "restart.after_stop"},
		{`keeps = "off"`, "unknown key"}, {`after_crash = "9000h"`, "744h"},
	} {
		_, err := Parse("f", []byte(node+"[restart]\n"+c.text+"\n"), Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}
