package control

import (
	"strings"
	"testing"
)

func TestFlowsAreReadAsTheyAreWritten(t *testing.T) {
	for _, text := range []string{
		"tcp 192.0.2.1:40000 > 192.168.1.8:80", "tcp 192.0.2.1:40000 > 192.168.1.8:80 ack",
		"udp [2001:db8::1]:4000 > [2001:db8::8]:53", "icmp 192.0.2.1 > 192.168.1.8", "icmp 2001:db8::1 > 2001:db8::8",
	} {
		f, err := ParseFlow(text)
		if err != nil || f.String() != text {
			t.Errorf("%s: %s, error %v", text, f.String(), err)
		}
	}
	for text, want := range map[string]string{
		"":                                      "is no flow",
		"tcp 192.0.2.1:1 192.0.2.2:2":           "is no flow",
		"tcp 192.0.2.1 > 192.0.2.2:80":          `"192.0.2.1" is no address with a port`,
		"tcp 192.0.2.1:0 > 192.0.2.2:80":        `"192.0.2.1:0" is no address with a port`,
		"icmp 192.0.2.1:1 > 192.0.2.2":          `"192.0.2.1:1" is no address`,
		"tcp 192.0.2.1:1 > [2001:db8::1]:80":    "not of one family",
		"tcp [fe80::1%eth0]:1 > [fe80::2]:80":   "have a zone",
		"sctp 192.0.2.1:1 > 192.0.2.2:80":       `protocol "sctp" cannot be traced`,
		"tcp 192.0.2.1:1 > 192.0.2.2:80 urgent": `"urgent" is no TCP flag`,
		"udp 192.0.2.1:1 > 192.0.2.2:80 ack":    "only tcp has flags",
	} {
		if _, err := ParseFlow(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q in it", text, err, want)
		}
	}
}

// traced is a backend that traces.
type traced struct {
	*fakeBackend
	asked Flow
}

func (b *traced) Trace(f Flow) (Trace, error) {
	b.asked = f
	return Trace{Flow: f.String(), Verdict: "tx_dr", RealServer: addrPort("10.0.0.1:80")}, nil
}

func TestATraceIsAsked(t *testing.T) {
	b := &traced{fakeBackend: newFake()}
	f, err := ParseFlow("tcp 192.0.2.1:40000 > 192.168.1.8:80 fin")
	if err != nil {
		t.Fatal(err)
	}
	f.Port = "eth1"
	got, err := NewClient(serve(t, b)).Trace(t.Context(), f)
	if err != nil || got.Verdict != "tx_dr" || b.asked != f || got.Steps == nil {
		t.Errorf("%+v, error %v; asked %+v, want %+v", got, err, b.asked, f)
	}
	if _, err := NewClient(serve(t, newFake())).Trace(t.Context(), f); err == nil ||
		!strings.Contains(err.Error(), errNoTracer.Error()) {
		t.Errorf("nobody traces: error %v", err)
	}
}

func FuzzFlow(f *testing.F) {
	f.Add("tcp 192.0.2.1:40000 > 192.168.1.8:80 ack")
	f.Add("icmp 2001:db8::1 > 2001:db8::8")
	f.Fuzz(func(t *testing.T, text string) {
		flow, err := ParseFlow(text)
		if err != nil {
			return
		}
		if again, err := ParseFlow(flow.String()); err != nil || again != flow {
			t.Fatalf("%q: %+v, then %+v, %v", text, flow, again, err)
		}
	})
}
