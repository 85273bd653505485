package main

import (
	"errors"
	"strings"
	"testing"

	"ulvs/control"
	"ulvs/lvs"
)

// drainSite is a director whose real server loses a session with every look.
type drainSite struct {
	site
	asked control.DrainRequest
	left  int64
}

func (s *drainSite) Edit(*lvs.Edit) error                      { return nil }
func (s *drainSite) Listing() control.Listing                  { return control.Listing{} }
func (s *drainSite) ListedConns(func(control.ListedConn) bool) {}
func (s *drainSite) SetSetting(string, int) error              { return nil }
func (s *drainSite) Enable(r control.DrainRequest) ([]control.Drain, error) {
	s.asked = r
	return []control.Drain{{Service: "tcp 10.0.0.1:80", RealServer: addr("10.1.0.2:80"), State: control.StateUp}}, nil
}

func (s *drainSite) Drain(r control.DrainRequest) ([]control.Drain, error) {
	s.asked = r
	if r.Service == "tcp 10.0.0.9:80" {
		return nil, errors.New("there is no service tcp 10.0.0.9:80")
	}
	return s.Drains(), nil
}

func (s *drainSite) Drains() []control.Drain {
	d := control.Drain{Service: "tcp 10.0.0.1:80", RealServer: addr("10.1.0.2:80"), State: control.StateDraining}
	if s.left--; s.left <= 0 {
		s.left, d.State = 0, control.StateDrained
	}
	d.SessionsLeft = s.left
	other := control.Drain{Service: "tcp 10.0.0.1:443", RealServer: addr("10.1.0.2:443"), State: control.StateDraining}
	if s.asked.All || s.left > 0 {
		return []control.Drain{d}
	}
	return []control.Drain{other, d}
}

func TestADrainShowsWhatIsLeft(t *testing.T) {
	s := &drainSite{left: 2}
	socket := serve(t, s)
	code, out, errOut := command(t, "--socket", socket, "drain", "10.0.0.1:80", "10.1.0.2:80", "--timeout", "90s")
	want := "tcp 10.0.0.1:80: 10.1.0.2:80: draining, 1 sessions left\n" +
		"tcp 10.0.0.1:80: 10.1.0.2:80: drained, 0 sessions left\n"
	if out != want || code != exitOK {
		t.Errorf("exit %d %s, got:\n%s\nwant:\n%s", code, errOut, out, want)
	}
	if r := s.asked; r.Service != "tcp 10.0.0.1:80" || r.RealServer != addr("10.1.0.2:80") || r.TimeoutSeconds != 90 {
		t.Errorf("asked for %+v", r)
	}
	code, out, _ = command(t, "--socket", socket, "enable", "--all", "10.1.0.2")
	if code != exitOK || out != "tcp 10.0.0.1:80: 10.1.0.2:80: up\n" || !s.asked.All {
		t.Errorf("enable: exit %d, %q, asked for %+v", code, out, s.asked)
	}
}

func TestWrongDrainsAreRefused(t *testing.T) {
	socket := serve(t, &drainSite{})
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"drain 10.1.0.2:80", exitUsage, "give a service and a real server, or --all and a real server"},
		{"drain --all 10.0.0.1:80 10.1.0.2:80", exitUsage, "--all takes a real server and no service"},
		{"drain web 10.1.0.2:80", exitUsage, `"web" is no service; give one like`},
		{"drain 10.0.0.1:80 web", exitUsage, `"web" is no real server; give an address like 192.0.2.21:80 or 192.0.2.21`},
		{"drain 10.0.0.1:80 10.1.0.2 --timeout -1s", exitUsage, "--timeout: -1s is negative"},
		{"drain 10.0.0.9:80 10.1.0.2", exitFailed, "ulvs refuses: there is no service tcp 10.0.0.9:80"},
	} {
		code, _, errOut := command(t, append([]string{"--socket", socket}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: exit %d, %q; want %d, %q", c.args, code, errOut, c.code, c.want)
		}
	}
}
