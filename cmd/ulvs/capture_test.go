package main

import (
	"strings"
	"testing"
)

func TestCaptureRefusesWhatItCannotDo(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"capture", "tcp", "port"}, exitUsage, "filter, at its end: expected a value for port"},
		{[]string{"capture", "--for", "1500ms"}, exitUsage, "whole seconds"},
		{[]string{"capture", "-c", "-1"}, exitUsage, "numbers from 0 on"},
		{[]string{"--socket", "/nowhere/ulvs.sock", "capture"}, exitFailed, "no ulvs answers"},
		{[]string{"--socket", "/nowhere/ulvs.sock", "capture", "-w", "/nowhere/x.pcapng"}, exitFailed, "/nowhere/x.pcapng"},
	} {
		code, _, errOut := command(t, c.args...)
		if code != c.code || !strings.Contains(errOut, c.want) {
			t.Errorf("%q: code %d, messages %q; want %d and %q", c.args, code, errOut, c.code, c.want)
		}
	}
}
