package control

import (
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"
)

// fakeBackend answers with what it holds.
type fakeBackend struct {
	status   Status
	services []Service
	conns    []Conn
	walked   int // sessions that the last Conns offered
}

func (b *fakeBackend) Status() Status      { return b.status }
func (b *fakeBackend) Services() []Service { return b.services }

func (b *fakeBackend) Conns(_ ConnFilter, fn func(Conn) bool) {
	b.walked = 0
	for _, c := range b.conns {
		b.walked++
		if !fn(c) {
			return
		}
	}
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func newFake() *fakeBackend {
	return &fakeBackend{
		status: Status{
			Name: "lvs1", PID: 42, Version: "v1", StartedAt: time.Unix(1000, 0).UTC(), UptimeSeconds: 7, Generation: 3,
			Workers:  []WorkerStatus{{ID: 0, CPU: -1, Ports: []string{"eth0"}, IO: "afxdp", IdleFraction: 0.5}},
			Verdicts: []Verdict{{Name: "tx", Frames: 10}, {Name: "ttl", Frames: 1, Drop: true}},
		},
		services: []Service{
			{Protocol: "tcp", VIP: addrPort("192.0.2.10:80"), Scheduler: "wlc", RealServers: []RealServer{
				{Address: addrPort("10.0.0.1:80"), Method: "dr", Weight: 1},
			}},
			{Protocol: "udp", VIP: addrPort("[2001:db8::10]:53"), Scheduler: "rr"},
		},
		conns: []Conn{
			fakeConn("tcp", "ESTABLISHED", "198.51.100.1:1000", "192.0.2.10:80"),
			fakeConn("tcp", "FIN_WAIT", "198.51.100.2:1000", "192.0.2.10:80"),
			fakeConn("udp", "UDP", "[2001:db8:1::1]:1000", "[2001:db8::10]:53"),
		},
	}
}

func fakeConn(protocol, state, client, vip string) Conn {
	real := "10.0.0.1:80"
	if protocol == "udp" {
		real = "[2001:db8:2::1]:53"
	}
	return Conn{
		Protocol: protocol, State: state, ExpiresSeconds: 60, Client: addrPort(client), VIP: addrPort(vip),
		RealServer: addrPort(real),
	}
}

// serve runs a server for b on a socket of its own and returns the socket's path.
func serve(t *testing.T, b Backend) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run", "control.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(b, slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return path
}
