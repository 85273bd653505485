package top

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"ulvs/control"
	"ulvs/events"
)

var update = flag.Bool("update", false, "write the golden files anew")

var began = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// at is what a director with some traffic says after so many seconds.
func at(seconds uint64) sample {
	s := sample{at: began.Add(time.Duration(seconds) * time.Second)}
	s.status = control.Status{
		Name: "lvs1", Version: "v1", StartedAt: began, UptimeSeconds: int64(3700 + seconds), Generation: 7,
		Sessions: control.Sessions{Active: 12345, Inactive: 678, Bytes: 84 << 20},
		Workers: []control.WorkerStatus{{ID: 0, IdleSeconds: float64(seconds) / 4},
			{ID: 1, IdleSeconds: float64(seconds)}},
		Verdicts: []control.Verdict{{Name: "tx_dr", Frames: 1000 * seconds}, {Name: "drop_no_route", Drop: true},
			{Name: "drop_ttl", Frames: 5 + 12*seconds, Drop: true}},
	}
	stats := func(conns uint64) control.Stats {
		return control.Stats{Conns: conns * seconds, InPackets: 20 * conns * seconds, InBytes: 8000 * conns * seconds}
	}
	s.services = []control.Service{
		{Protocol: "tcp", VIP: ap("192.0.2.10:80"), Scheduler: "wlc", State: "up", Stats: stats(150),
			RealServers: []control.RealServer{
				{Address: ap("10.0.0.2:80"), Method: "dr", Weight: 1, ConfiguredWeight: 1, State: "up", Active: 50,
					Inactive: 5, Stats: stats(50)},
				{Address: ap("10.0.0.1:80"), Method: "dr", Weight: 3, ConfiguredWeight: 3, State: "up", Active: 100,
					Inactive: 10, Stats: stats(100)},
				{Address: ap("10.0.0.3:80"), Method: "dr", ConfiguredWeight: 2, State: "down",
					Reason: "connection refused"},
			}},
		{Protocol: "udp", VIP: ap("192.0.2.53:53"), Scheduler: "rr", State: "up", Stats: stats(2000),
			RealServers: []control.RealServer{{Address: ap("10.0.1.1:53"), Method: "tun", Weight: 1,
				ConfiguredWeight: 1, State: "up",
				Stats: stats(2000)}}},
		{Protocol: "tcp", VIP: ap("[2001:db8::10]:443"), Scheduler: "sh", State: "quorum_lost"},
	}
	return s
}

func after(seconds uint64) *model {
	m := newModel()
	before := at(10)
	m.view = compare(&before, at(10+seconds))
	m.happened(events.Event{Time: began, Kind: events.ServerDown, Service: "tcp 192.0.2.10:80",
		RealServer: "10.0.0.3:80", Reason: "connection refused"})
	return m
}

func text(lines []string) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(stripped(l) + "\n")
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(path); err != nil || string(want) != got {
		t.Errorf("differs from %s (%v; -update)\n got:\n%s\nwant:\n%s", path, err, got, want)
	}
}

func TestTheScreen(t *testing.T) {
	t.Setenv("TZ", "UTC")
	time.Local = time.UTC
	m := after(2)
	golden(t, "wide", text(m.draw(120, 20)))
	golden(t, "narrow", text(m.draw(60, 14)))
	m.press('s', 1)
	m.press('a', 1)
	m.press(keyDown, 1)
	golden(t, "sorted-closed", text(m.draw(120, 14)))
	m.press('h', 1)
	golden(t, "help", text(m.draw(100, 30)))
}

func TestNoLineIsWiderThanTheScreen(t *testing.T) {
	m := after(2)
	m.view.sample.services[0].RealServers[0].Reason = strings.Repeat("世界 ", 100) + "\x1b[2J\r\n"
	m.err = errors.New(strings.Repeat("x", 300))
	for width := 1; width < 200; width += 3 {
		for height := 1; height < 40; height += 5 {
			lines := m.draw(width, height)
			if len(lines) > height {
				t.Fatalf("%d lines on %d", len(lines), height)
			}
			for _, l := range lines {
				if n := utf8.RuneCountInString(stripped(l)); n > width {
					t.Fatalf("%d columns on %d: %q", n, width, l)
				}
				if strings.Contains(l, "\x1b[2J") || strings.ContainsAny(l, "\r\n") {
					t.Fatalf("the director steers the terminal: %q", l)
				}
			}
		}
	}
}

func names(m *model) (list []string) {
	for _, r := range m.rows() {
		list = append(list, r.name)
	}
	return list
}

const (
	web  = "tcp 192.0.2.10:80"
	dns  = "udp 192.0.2.53:53"
	six  = "tcp [2001:db8::10]:443"
	web1 = web + " 10.0.0.1:80"
	web2 = web + " 10.0.0.2:80"
	web3 = web + " 10.0.0.3:80"
	dns1 = dns + " 10.0.1.1:53"
)

func TestKeysDoWhatTheHelpSays(t *testing.T) {
	press := func(m *model, keys ...key) {
		for _, k := range keys {
			if m.press(k, 10) {
				t.Errorf("%v quits", keys)
			}
		}
	}
	for _, c := range []struct {
		name string
		keys []key
		want []string
	}{
		{"at the start", nil, []string{web, web1, web2, web3, six, dns, dns1}},
		{"sorted by connections", []key{'s'}, []string{dns, dns1, web, web1, web2, web3, six}},
		{"the other way round", []key{'r'}, []string{dns, dns1, six, web, web1, web2, web3}},
		{"by real servers down", []key{'S'}, []string{web, web1, web2, web3, six, dns, dns1}},
		{"all closed", []key{'a'}, []string{web, six, dns}},
		{"all closed, one open", []key{'a', keyDown, keyRight}, []string{web, web1, web2, web3, six, dns}},
		{"one closed", []key{keyDown, keyLeft}, []string{web, six, dns, dns1}},
		{"closed from a real server", []key{keyDown, keyDown, keyEnter}, []string{web, six, dns, dns1}},
		{"filtered by address", []key{'/', '1', '.', '1', ':', keyEnter}, []string{dns, dns1}},
		{"filtered by state", []key{'/', 'd', 'o', 'w', 'n'}, []string{web, web1, web2, web3}},
		{"a filter taken back", []key{'/', 'x', keyBackspace, keyEnter}, []string{web, web1, web2, web3, six, dns,
			dns1}},
		{"a filter ended", []key{'/', 'x', keyEscape}, []string{web, web1, web2, web3, six, dns, dns1}},
	} {
		m := after(1)
		press(m, c.keys...)
		if got := names(m); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	m := after(1)
	press(m, keyEnd)
	if m.selected != dns1 {
		t.Errorf("End selects %q", m.selected)
	}
	press(m, keyPageUp, keyDown, keyUp)
	if m.selected != web {
		t.Errorf("PageUp selects %q", m.selected)
	}
	for _, k := range []key{'q', keyInterrupt, keyEscape} {
		if !after(1).press(k, 1) {
			t.Errorf("%v does not quit", k)
		}
	}
}

func TestTheSelectionStaysInSight(t *testing.T) {
	m := after(1)
	s := &m.view.sample.services[1]
	for i := range 200 {
		r := s.RealServers[0]
		r.Address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}), 53)
		s.RealServers = append(s.RealServers, r)
	}
	for _, k := range []key{keyEnd, keyPageUp, keyPageUp, keyHome, keyPageDown, keyDown} {
		m.press(k, 10)
		_, label, _ := strings.Cut(m.selected, "53 ")
		if label == "" {
			label = m.selected
		}
		if shown := text(m.draw(120, 24)); !strings.Contains(shown, label) {
			t.Errorf("%q is out of sight:\n%s", m.selected, shown)
		}
	}
}

func TestRatesAreThoseOfTheInterval(t *testing.T) {
	m := after(2)
	if got := m.view.services[web]; got.conns != 150 || got.inPackets != 3000 || m.view.total.conns != 2150 {
		t.Errorf("got %+v, in all %+v", got, m.view.total)
	}
	if m.view.verdicts["drop_ttl"] != 12 || m.view.busy[0] != 0.75 || m.view.busy[1] != 0 {
		t.Errorf("drops %v, busy %v", m.view.verdicts, m.view.busy)
	}
	before, now := at(10), at(5) // ipvsadm -Z
	now.at = before.at.Add(5 * time.Second)
	if got := compare(&before, now).services[web].conns; got != 150 {
		t.Errorf("after a reset: %v", got)
	}
	now.status.StartedAt = began.Add(time.Hour) // another run
	now.services[0].Rates.Conns = 42
	if got := compare(&before, now).services[web].conns; got != 42 {
		t.Errorf("after a restart: %v", got)
	}
}

// source says what at says.
type source struct{ err error }

func (s source) Status(context.Context) (control.Status, error) { return at(10).status, s.err }
func (s source) Services(context.Context, control.ServiceFilter) ([]control.Service, error) {
	return at(10).services, nil
}
func (s source) FollowEvents(context.Context, control.EventQuery, func(control.StreamEvent) bool) error {
	return nil
}

func TestOnceIsATable(t *testing.T) {
	var b bytes.Buffer
	if err := Once(t.Context(), Options{Source: source{}, Sort: "sessions"}, &b, false); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "\x1b") || !strings.Contains(b.String(), "connection refused") ||
		strings.Contains(b.String(), "workers") {
		t.Errorf("got %s", b.String())
	}
	b.Reset()
	var got Snapshot
	err := Once(t.Context(), Options{Source: source{}}, &b, true)
	if e := json.Unmarshal(b.Bytes(),
		&got); err != nil || e != nil || got.Status.Name != "lvs1" || len(got.Services) != 3 {
		t.Errorf("got %s, %v, %v", b.String(), err, e)
	}
	if err := Once(t.Context(), Options{Sort: "luck"}, &b, false); !errors.Is(err, ErrSort) {
		t.Errorf("got %v", err)
	}
	if err := Once(t.Context(), Options{Source: source{errors.New("gone")}}, &b, false); err == nil {
		t.Error("no error")
	}
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte("q\x1b[A\x1bOB\x1b[5~/abc\x7f\r\x03"))
	f.Add([]byte("\x1b[1;5C\x1b[<0;10;10M\xff\xc3\x1b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := after(1)
		for len(b) > 0 {
			k, n := readKey(b)
			if n < 1 || n > len(b) {
				t.Fatalf("%q: %d bytes", b, n)
			}
			m.press(k, 5)
			b = b[n:]
		}
		m.draw(80, 24)
	})
}

func BenchmarkDraw(b *testing.B) {
	m := after(2)
	for i := range 10_000 {
		s := m.view.sample.services[0]
		s.VIP = netip.AddrPortFrom(s.VIP.Addr(), uint16(i+1))
		m.view.sample.services = append(m.view.sample.services, s)
	}
	for b.Loop() {
		m.draw(120, 40)
	}
	b.ReportMetric(float64(len(m.rows())), "rows")
}

func TestNumbersFitTheirColumns(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 0.25: "0.2", 7: "7", 999: "999", 999.6: "1.00k", 12345: "12.3k",
		99960: "100k", 1234567: "1.23M", 5e15: "5.00P"} {
		if got := short(n); got != want {
			t.Errorf("%v: got %s, want %s", n, got, want)
		}
	}
	for s, want := range map[int64]string{5: "5s", 65: "1m5s", 3700: "1h1m", 93784: "1d2h"} {
		if got := period(s); got != want {
			t.Errorf("%d: got %s, want %s", s, got, want)
		}
	}
	if got := bar(0.5, 4) + bar(0, 2) + bar(1, 2) + bar(0.3, 1); got != "██    ██▎" {
		t.Errorf("got %q", got)
	}
}
