package main

import (
	"bytes"
	"strings"
	"testing"

	"ulvs/control"
)

func TestStatusNamesABondsMembers(t *testing.T) {
	for _, c := range []struct {
		name string
		port control.PortStatus
		want string
	}{
		{"a NIC", control.PortStatus{Name: "eth0"}, ""},
		{"a bond", control.PortStatus{Name: "bond0", Members: []control.PortMember{
			{Name: "eth0", Sends: true}, {Name: "eth1", Sends: true}, {Name: "eth2"},
		}}, "bond0: sends on eth0, eth1\nbond0: does not send on eth2 now\n"},
		{"a bond without links", control.PortStatus{Name: "bond0", Members: []control.PortMember{{Name: "eth0"}}},
			"bond0: sends on no member\nbond0: does not send on eth0 now\n"},
		{"copies", control.PortStatus{Name: "eth0", ZeroCopyFailure: "eth0 has not sent a frame"},
			"eth0: copies: eth0 has not sent a frame\n"},
	} {
		var out bytes.Buffer
		printPorts(&out, []control.PortStatus{c.port})
		lines := strings.Count(out.String(), "\n") // an empty one, the head, the row
		if !strings.HasSuffix(out.String(), "\n"+c.want) || lines != 3+strings.Count(c.want, "\n") {
			t.Errorf("%s: got\n%s\nwant at its end\n%s", c.name, out.String(), c.want)
		}
	}
}
