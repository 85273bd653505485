package director

import (
	"net/netip"
	"strings"
	"testing"

	"ulvs/control"
)

func mustFlow(t *testing.T, text string) control.Flow {
	t.Helper()
	f, err := control.ParseFlow(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestATraceNamesServiceRealServerAndVerdict(t *testing.T) {
	b := newBed(t)
	six := service(80, 1)
	six.Key.Addr, six.Destinations[0].Addr = vip6, netip.MustParseAddr("2001:db8:1::1")
	b.replace(service(80, 1, 2), six)
	for _, c := range []struct {
		flow string
		want control.Trace
	}{
		{"tcp 198.18.0.10:1000 > 198.18.0.100:80", control.Trace{Port: "c0", Service: "tcp 198.18.0.100:80",
			RealServer: netip.AddrPortFrom(realAddr(1), 80), Certain: true, Verdict: "tx_dr"}},
		{"tcp [2001:db8::1]:1000 > [2001:db8:c::64]:80", control.Trace{Port: "c0", Service: "tcp [2001:db8:c::64]:80",
			RealServer: netip.MustParseAddrPort("[2001:db8:1::1]:80"), Certain: true, Verdict: "tx_dr"}},
		{"tcp 198.18.0.10:1000 > 198.18.0.100:81", control.Trace{Port: "c0", Certain: true, Verdict: "tx_reset"}},
		{"udp 198.18.0.10:1000 > 198.18.0.100:80", control.Trace{Port: "c0", Certain: true, Verdict: "tx_icmp_error"}},
		{"icmp 198.18.0.10 > 198.18.0.100", control.Trace{Port: "c0", Certain: true, Verdict: "tx_echo"}},
		{"icmp 2001:db8::1 > 2001:db8:c::64", control.Trace{Port: "c0", Certain: true, Verdict: "tx_echo"}},
		{"tcp 10.18.1.11:80 > 198.18.0.10:1000 ack", control.Trace{Port: "s0", Certain: true, Verdict: "hold"}},
		{"tcp 198.18.0.10:1000 > 198.18.0.100:80 ack", control.Trace{Port: "c0", Service: "tcp 198.18.0.100:80",
			Certain: true, Verdict: "tx_reset"}},
	} {
		got, _, err := b.trace(mustFlow(t, c.flow), b.now)
		if err != nil || len(got.Steps) == 0 {
			t.Errorf("%s: error %v, steps %q", c.flow, err, got.Steps)
		}
		steps := got.Steps
		got.Steps, c.want.Flow = nil, c.flow
		if got.NextHop = nil; !sameTrace(got, c.want) {
			t.Errorf("%s: %+v, want %+v; %q", c.flow, got, c.want, steps)
		}
	}
}

func sameTrace(a, b control.Trace) bool {
	a.Steps, b.Steps = nil, nil
	return a.Flow == b.Flow && a.Port == b.Port && a.Service == b.Service && a.RealServer == b.RealServer &&
		a.Certain == b.Certain && a.Verdict == b.Verdict && a.Session == b.Session && a.Reply == b.Reply
}

func TestATraceMovesNoScheduler(t *testing.T) {
	b := newBed(t)
	b.replace(service(80, 1, 2))
	f := mustFlow(t, "tcp 198.18.0.10:1 > 198.18.0.100:80")
	for range 3 {
		got, _, err := b.trace(f, b.now)
		if err != nil || got.RealServer.Addr() != realAddr(1) {
			t.Fatalf("it goes to %s, error %v; want the first", got.RealServer, err)
		}
	}
	if first, second := b.syn(), b.syn(); first != realAddr(1) || second != realAddr(2) {
		t.Errorf("clients went to %s and %s", first, second)
	}
	f = mustFlow(t, "tcp 198.18.0.10:1024 > 198.18.0.100:80 ack")
	if got, _, _ := b.trace(f, b.now); !got.Session || got.RealServer.Addr() != realAddr(1) {
		t.Errorf("its session: %+v", got)
	}
}

func TestATraceKnowsTheInterface(t *testing.T) {
	b := newBed(t)
	b.replace(service(80, 1))
	f := mustFlow(t, "tcp 198.18.0.10:1 > 198.18.0.100:80")
	f.Port = "s0"
	if got, _, err := b.trace(f, b.now); err != nil || got.Port != "s0" {
		t.Errorf("port %q, error %v", got.Port, err)
	}
	f.Port = "eth9"
	if _, _, err := b.trace(f, b.now); err == nil || !strings.Contains(err.Error(), `no interface "eth9"`) {
		t.Errorf("error %v", err)
	}
	b.replace()
	f.Port = ""
	if got, _, err := b.trace(f, b.now); err != nil || got.Service != "" || got.RealServer.IsValid() {
		t.Errorf("without services: %+v, error %v", got, err)
	}
}
