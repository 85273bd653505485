package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ulvs/control"
	"ulvs/lvs"
)

// editable is a site whose services can be edited.
type editable struct {
	site
	mu       sync.Mutex
	services []lvs.Service
	settings lvs.Settings
}

func (e *editable) Edit(edit *lvs.Edit) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	next, err := edit.ApplyTo(e.services)
	if err == nil {
		e.services = next
	}
	return err
}

func (e *editable) Listing() control.Listing {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := control.Listing{Size: 4096, Timeouts: [3]int{900, 120, 300}, Settings: e.settings}
	for _, s := range e.services {
		ls := control.ListedService{Service: s}
		for _, d := range s.Destinations {
			ls.Destinations = append(ls.Destinations, control.ListedDestination{Destination: d})
		}
		l.Services = append(l.Services, ls)
	}
	return l
}

func (e *editable) ListedConns(fn func(control.ListedConn) bool) {
	fn(control.ListedConn{Protocol: 6, State: "FIN_WAIT", ExpiresSeconds: 61, Client: addr("192.0.2.1:1000"),
		VIP: addr("10.0.0.1:80"), Dest: addr("10.1.0.1:80")})
}

func (e *editable) SetSetting(name string, value int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.settings.Set(name, value)
}

func TestIPVSAdmEditsTheRunningDirector(t *testing.T) {
	t.Setenv(socketVariable, serve(t, &editable{settings: lvs.DefaultSettings()}))
	for _, c := range []struct {
		line, want string
		code       int
	}{
		{"ipvsadm -A -t 10.0.0.1:80 -s rr", "", 0},
		{"ipvsadm -A -t 10.0.0.1:80 -s rr", "Service already exists\n", 255},
		{"ipvsadm -a -t 10.0.0.1:80 -r 10.1.0.1:80 -m -w 3", "", 0},
		{"ipvsadm -Sn", "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.0.1:80 -m -w 3\n", 0},
		{"ipvsadm -Lcn", "IPVS connection entries\n" +
			"pro expire state       source             virtual            destination\n" +
			"TCP 01:01  FIN_WAIT    192.0.2.1:1000     10.0.0.1:80        10.1.0.1:80\n", 0},
		{"proc ip_vs_conn", "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n" +
			"TCP C0000201 03E8 0A000001 0050 0A010001 0050 FIN_WAIT         61\n", 0},
		{"set net.ipv4.vs.sloppy_tcp 1", "", 0},
		{"set sloppy_tcp 2", "ulvs: ulvs refuses: sloppy_tcp = 2: want 0 to 1\n", exitFailed},
		{"set sloppy_tcp x", "ulvs: set: \"x\" is no number\nSee: ulvs help\n", exitUsage},
		{"set sloppy_tcp", "ulvs: set takes NAME and VALUE, 1 given; call it as: ulvs set NAME VALUE [flags]\n" +
			"See: ulvs help\n", exitUsage},
		{"proc meminfo", "ulvs: \"meminfo\": no such file; there are ip_vs, ip_vs_conn, ip_vs_conn_sync, ip_vs_stats, " +
			"ip_vs_stats_percpu, sysctl\nSee: ulvs help\n", exitUsage},
		{"ipvsadm", "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n" +
			"  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n", 0},
	} {
		if c.line == "ipvsadm" {
			command(t, "ipvsadm", "-C")
		}
		if code, out, errOut := command(t, strings.Fields(c.line)...); code != c.code || out+errOut != c.want {
			t.Errorf("%s: exit %d, want %d\n got: %s%s\nwant: %s", c.line, code, c.code, out, errOut, c.want)
		}
	}
	if _, out, _ := command(t, "settings"); !strings.Contains(out, "net.ipv4.vs.sloppy_tcp = 1\n") {
		t.Errorf("settings: %s", out)
	}
	if _, out, _ := command(t, "settings", "--json"); !strings.Contains(out, `"sloppy_tcp": 1`) {
		t.Errorf("settings --json: %s", out)
	}
}

func TestIPVSAdmWithoutADirectorSaysHowToStartIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	t.Setenv(socketVariable, path)
	for _, line := range []string{"-Ln", "-C", "-Lcn", "-A -t 10.0.0.1:80"} {
		var out, errOut bytes.Buffer
		a := &app{out: &out, errOut: &errOut}
		code := a.ipvsadm(t.Context(), strings.Fields(line), false)
		want := "no ulvs answers on " + path + ": is it running? start it with: ulvs run FILE\n"
		if code != 2 || out.String() != "" || errOut.String() != want {
			t.Errorf("%s: exit %d, %s%s", line, code, &out, &errOut)
		}
	}
}

func TestTheNameDecidesWhoIsCalled(t *testing.T) {
	for name, want := range map[string]bool{"ipvsadm": true, "/usr/local/sbin/ipvsadm": true, "ulvs": false,
		"/ipvsadm/ulvs": false, "": false} {
		if isIPVSAdm(name) != want {
			t.Errorf("%q: want %v", name, want)
		}
	}
}
