package config

import (
	"encoding/json"
	"strings"
	"testing"

	"ulvs/lvs"
)

func edits(t *testing.T, s State, list ...Edit) State {
	t.Helper()
	next, err := ApplyEdits(s, list)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func TestEditsSayWhatAFileWould(t *testing.T) {
	c := mustParse(t, watched)
	before := c.State()
	after := edits(t, before,
		Edit{Op: EditAddService, Keys: map[string]any{"vip": "192.0.2.11:53", "protocol": "udp", "scheduler": "rr",
			"real_server": []any{map[string]any{"address": "10.0.0.9"}}}},
		Edit{Op: EditSetService, Service: "192.0.2.10:80", Keys: map[string]any{"quorum": 3.0, "slow_start": nil}},
		Edit{Op: EditSetServer, Service: "tcp/192.0.2.10:80", Server: "10.0.0.2", Keys: map[string]any{"weight": 7.0}},
		Edit{Op: EditAddServer, Service: "tcp 192.0.2.10:80", Keys: map[string]any{"address": "10.0.0.4:8080",
			"check": map[string]any{"type": "ping"}}},
		Edit{Op: EditRemoveServer, Service: "192.0.2.10:80", Server: "10.0.0.1:80"},
		Edit{Op: EditAddServer, Service: "udp 192.0.2.11:53", Keys: map[string]any{"address": "10.0.0.8", "weight": 2.0}},
	)
	want := `service tcp 192.0.2.10:80: slow_start 1m -> unset, quorum 2 -> 3
service tcp 192.0.2.10:80: real server 10.0.0.2:80: weight 1 -> 7
service tcp 192.0.2.10:80: real server 10.0.0.4:8080: added, nat, weight 1
service tcp 192.0.2.10:80: real server 10.0.0.1:80: removed
service udp 192.0.2.11:53: added, 2 real servers`
	if got := strings.Join(Words(Diff(before, after)), "\n"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	k := after.CareOf(before.Services[0].Key).Server(after.Services[0].Destinations[0].AddrPort())
	if len(k.Tables("check")) != 1 {
		t.Errorf("the new real server's check is %v", k)
	}
	if !before.Equal(mustParse(t, watched).State()) {
		t.Error("the state before was changed")
	}
	gone := edits(t, after, Edit{Op: EditRemoveService, Service: "udp/192.0.2.11:53"})
	if len(gone.Services) != 1 {
		t.Errorf("%d services are left", len(gone.Services))
	}
	if _, err := Merge("f", []byte(watched), gone); err != nil {
		t.Errorf("it cannot be saved: %v", err)
	}
}

func TestEditsAreRefusedWithTheFilesWords(t *testing.T) {
	s := mustParse(t, watched).State()
	const svc = "192.0.2.10:80"
	for _, c := range []struct {
		name string
		edit Edit
		want string
	}{
		{"op", Edit{Op: "add"}, `edit 1: unknown op "add"; known: add_service, set_service, remove_service, add_server, ` +
			`set_server, remove_server`},
		{"service", Edit{Op: EditRemoveService, Service: "192.0.2.10:81"}, `edit 1: there is no service tcp 192.0.2.10:81`},
		{"no name", Edit{Op: EditRemoveService, Service: "web"}, `edit 1: "web" is no service; give one like ` +
			`"tcp/192.0.2.10:80", "udp/[2001:db8::10]:53", "192.0.2.10:80" or "fwm/7"`},
		{"real server", Edit{Op: EditRemoveServer, Service: svc, Server: "10.0.0.9"},
			`edit 1: service tcp 192.0.2.10:80 has no real server 10.0.0.9`},
		{"there already", Edit{Op: EditAddService, Keys: map[string]any{"vip": svc}},
			`edit 1: service tcp 192.0.2.10:80 is there already`},
		{"no vip", Edit{Op: EditAddService}, `edit 1: service: vip: missing; give an address with port like ` +
			`"192.0.2.10:80" or "[2001:db8::10]:80"`},
		{"what tells it from others", Edit{Op: EditSetService, Service: svc, Keys: map[string]any{"vip": "192.0.2.11:80"}},
			`edit 1: vip: cannot be set; remove it, or add another`},
		{"a fraction", Edit{Op: EditSetService, Service: svc, Keys: map[string]any{"quorum": 1.5}},
			`edit 1: keys: 1.5 is no whole number`},
		{"all at once", Edit{Op: EditSetService, Service: svc, Keys: map[string]any{"scheduler": "wlcc", "weight": 1.0}},
			`service tcp 192.0.2.10:80: scheduler: unknown scheduler "wlcc"; did you mean wlc?` + "\n" +
				`service tcp 192.0.2.10:80: weight: unknown key; `},
		{"a real server's", Edit{Op: EditSetServer, Service: svc, Server: "10.0.0.2", Keys: map[string]any{"weight": -1.0}},
			`service tcp 192.0.2.10:80: real_server[1].weight: -1 is out of range; give 0 to 2147483647`},
		{"twice", Edit{Op: EditAddServer, Service: svc, Keys: map[string]any{"address": "10.0.0.2"}},
			`service tcp 192.0.2.10:80: real_server[3]: real server 10.0.0.2:80 is given twice; remove one`},
	} {
		t.Run(c.name, func(t *testing.T) {
			next, err := ApplyEdits(s, []Edit{c.edit})
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if !next.Equal(s) {
				t.Error("something was changed")
			}
		})
	}
	if _, err := ApplyEdits(s, make([]Edit, MaxEdits+1)); err == nil {
		t.Error("too many edits were taken")
	}
}

func FuzzApplyEdits(f *testing.F) {
	for _, text := range []string{
		`[{"op":"set_server","service":"192.0.2.10:80","server":"10.0.0.2","keys":{"weight":3,"check":null}}]`,
		`[{"op":"add_service","keys":{"mark":7,"real_server":[{"address":"10.0.0.1"}]}},` +
			`{"op":"remove_service","service":"fwm 7"}]`,
		`[{"op":"remove_server","service":"192.0.2.10:80","server":"10.0.0.1"},` +
			`{"op":"add_server","service":"192.0.2.10:80","keys":{"address":"10.0.0.1","checks":[{"type":"http"}]}}]`,
		`[{"op":"set_service","service":"192.0.2.10:80","keys":{"real_server":1}}]`,
	} {
		f.Add([]byte(text))
	}
	c, err := Parse("f", []byte(watched), Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var list []Edit
		if json.Unmarshal(text, &list) != nil {
			return
		}
		next, err := ApplyEdits(c.State(), list)
		if err != nil && !next.Equal(c.State()) {
			t.Fatalf("refused with %v, and changed", err)
		}
		if _, err := lvs.Build(nil, next.Services); err != nil {
			t.Fatalf("taken, but it does not build: %v", err)
		}
		if again, _ := Parse("f", []byte(watched), Options{}); !again.State().Equal(c.State()) {
			t.Fatal("the state before was changed")
		}
	})
}
