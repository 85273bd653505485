package restart

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"ulvs/lvs"
)

func TestAnUpgradeLosesNoPacket(t *testing.T) {
	b := newBed(t, "t-rst-up")
	b.start()
	flows := allFlows(t, b, 8)
	for round := range 2 {
		probes := []*probe{startProbe(t, b.lab, lvs.MethodDR), startProbe(t, b.lab, lvs.MethodNAT)}
		goOn(t, flows)
		before := b.conns()
		out, err := b.client.Upgrade(context.Background(), false)
		if err != nil {
			t.Fatal(err)
		}
		b.succeeded(out.To)
		goOn(t, flows)
		for _, p := range probes {
			p.wantsFew(t, fmt.Sprintf("round %d: workers stood still for %.1f ms", round, out.GapSeconds*1000))
		}
		if st := b.status(); st.PID != out.To || st.Restart.Generation != uint64(round)+2 || st.Restart.Dropped != 0 {
			t.Errorf("process %d, %+v; %d was started", st.PID, st.Restart, out.To)
		}
		now := b.conns()
		for _, line := range before {
			if !slices.Contains(now, line) {
				t.Errorf("session is gone or another: %s", line)
			}
		}
	}
}

func TestAnUpgradeThatFailsChangesNothing(t *testing.T) {
	b := newBed(t, "t-rst-upbad")
	b.start()
	flows := allFlows(t, b, 2)
	good, err := os.ReadFile(b.file)
	if err != nil {
		t.Fatal(err)
	}
	pid := b.status().PID
	p := startProbe(t, b.lab, lvs.MethodDR)
	for _, c := range []struct{ text, want string }{
		{"nonsense", "not TOML"},
		{strings.Replace(string(good), `"s0"]`, `"lo"]`, 1), ""},
	} {
		if err := os.WriteFile(b.file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := b.client.Upgrade(context.Background(), true); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.20q: %v, want %q", c.text, err, c.want)
		}
		goOn(t, flows)
	}
	if st := b.status(); st.PID != pid {
		t.Errorf("process %d runs, want %d", st.PID, pid)
	}
	p.wantsFew(t, "upgrades that failed")
	if err := os.WriteFile(b.file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := b.client.Upgrade(context.Background(), false)
	if err != nil {
		t.Fatal(err)
	}
	b.succeeded(out.To)
	goOn(t, flows)
}
