package main

import (
	"bytes"
	"strings"
	"testing"

	"ulvs/control"
)

func TestTraceRefusesWhatIsNoFlow(t *testing.T) {
	code, _, errOut := command(t, "trace", "tcp 192.0.2.1 > 192.0.2.2")
	if code != exitUsage || !strings.Contains(errOut, "is no address with a port") {
		t.Errorf("code %d, messages %q", code, errOut)
	}
	code, _, errOut = command(t, "--socket", "/nowhere/ulvs.sock", "trace", "icmp 192.0.2.1 > 192.0.2.2")
	if code != exitFailed || !strings.Contains(errOut, "no ulvs answers") {
		t.Errorf("code %d, messages %q", code, errOut)
	}
}

func TestATraceEndsWithItsVerdict(t *testing.T) {
	var out bytes.Buffer
	printTrace(&out, &control.Trace{Flow: "icmp a > b", Port: "eth0", Verdict: "tx_echo", Steps: []string{"one", "two"}})
	if want := "icmp a > b, arriving on eth0\n  one\n  two\ntx_echo\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
