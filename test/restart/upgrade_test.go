package restart

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"ulvs/control"
	"ulvs/lvs"
	"ulvs/test/lab"
)

func TestAnUpgradeLosesNoPacket(t *testing.T) {
	b := newBed(t, "t-rst-up")
	b.start()
	filters := b.filters()
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
		if now := b.filters(); now != filters {
			t.Errorf("the new process has %q, want %q as the first", now, filters)
		}
		now := b.conns()
		for _, line := range before {
			if !slices.Contains(now, line) {
				t.Errorf("session is gone or another: %s", line)
			}
		}
	}
}

// filters are those of system calls on the director, in the kernel's words. What a process puts on after it is asked is
// seen on the next one, which inherits it.
func (b *bed) filters() (line string) {
	b.t.Helper()
	b.await("the director to give up what it does not need", func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.status().PID))
		if err != nil {
			b.t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "Seccomp:")
		line, _, _ = strings.Cut(rest, "Speculation")
		return strings.HasPrefix(strings.TrimSpace(line), "2")
	})
	return line
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

// A real server that is down gets no packet from the new process, one that is up is not doubted, and counting goes on.
// Checks come once in an hour and begin with what is down: what is known after the upgrade was handed over.
func TestAnUpgradeKnowsWhatWasCheckedAndCounted(t *testing.T) {
	b := newBed(t, "t-rst-known")
	text, err := os.ReadFile(b.file)
	if err != nil {
		t.Fatal(err)
	}
	addrs := b.lab.Addresses()
	service := fmt.Sprintf("vip = %q\nprotocol = \"tcp\"\n",
		netip.AddrPortFrom(addrs.VIP(lvs.MethodDR).IPv4, lab.PortEcho))
	dead := addrs.Reals[0].Addr.IPv4
	config, rest, _ := strings.Cut(string(text), service)
	rest = service + "alpha = true\nwarmup = \"0s\"\ndelay_loop = \"1h\"\ncheck = { type = \"tcp\" }\n" +
		strings.Replace(rest, fmt.Sprintf("%q\n", netip.AddrPortFrom(dead, lab.PortEcho)),
			fmt.Sprintf("%q\n  check = { type = \"tcp\", connect_port = 9 }\n", netip.AddrPortFrom(dead, lab.PortEcho)), 1)
	if err := os.WriteFile(b.file, []byte(config+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	b.start()
	var s control.Service
	look := func() {
		list, err := b.client.Services(context.Background(), control.ServiceFilter{Protocol: "tcp"})
		if err != nil {
			t.Fatal(err)
		}
		s = list[slices.IndexFunc(list, func(s control.Service) bool {
			return s.VIP.Port() == lab.PortEcho && s.RealServers[0].Method == "dr"
		})]
	}
	states := func() (list []string) {
		look()
		for _, r := range s.RealServers {
			list = append(list, fmt.Sprint(r.Address, " ", r.State))
		}
		slices.Sort(list)
		return list
	}
	up := func() int {
		return len(slices.DeleteFunc(states(), func(s string) bool { return !strings.HasSuffix(s, " up") }))
	}
	want := len(addrs.Reals) - 1
	b.await("all real servers but one to be up", func() bool { return up() == want })
	before := states()
	flows := open(t, b.lab, "tcp", lvs.MethodDR, 10)
	for round := range uint64(2) {
		out, err := b.client.Upgrade(context.Background(), false)
		if err != nil {
			t.Fatal(err)
		}
		b.succeeded(out.To)
		if now := states(); !slices.Equal(now, before) {
			t.Errorf("before the upgrade %v, after it %v", before, now)
		}
		if s.Stats.Conns != 10+5*round || s.Stats.InPackets < 30 {
			t.Errorf("round %d: %+v is counted", round, s.Stats)
		}
		flows = append(flows, open(t, b.lab, "tcp", lvs.MethodDR, 5)...)
		goOn(t, flows)
	}
	b.await("what comes after an upgrade to be added, to the service and its real servers", func() bool {
		look()
		return s.Stats.Conns == 20 && connsOf(s.RealServers) == 20
	})
	for _, r := range s.RealServers {
		if r.Address.Addr() == dead && r.Stats.Conns != 0 {
			t.Errorf("a real server that is down got %d sessions", r.Stats.Conns)
		}
	}
}

// connsOf is how many sessions real servers have counted.
func connsOf(list []control.RealServer) (sum uint64) {
	for _, r := range list {
		sum += r.Stats.Conns
	}
	return sum
}
