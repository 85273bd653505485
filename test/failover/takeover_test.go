package failover

import (
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"ulvs/control"
	"ulvs/events"
	"ulvs/internal/testutil"
)

// rounds is how often each fault is made: ULVS_ROUNDS, else two. The second meets what the first left.
func rounds() int {
	if n, err := strconv.Atoi(os.Getenv("ULVS_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return 2
}

// Intervals of adverts. fast is for what goes on whatever a takeover for no reason does: 30 ms where gaps are measured,
// more where a busy machine may keep a director waiting for 100 ms. A test in which none may happen has steady ones.
var fast = map[bool]string{true: "30ms", false: "100ms"}[os.Getenv("ULVS_ROUNDS") != ""]

const steady = "300ms"

// report logs gaps: how long they are says as much of this machine as of ulvs, so nothing is judged by them.
func report(t *testing.T, what string, gaps []time.Duration) {
	t.Helper()
	slices.Sort(gaps)
	t.Logf("%s: %d times, longest gap p50 %v, max %v", what, len(gaps), gaps[len(gaps)/2].Round(time.Millisecond),
		gaps[len(gaps)-1].Round(time.Millisecond))
}

func TestABackupTakesOverFromADeadMasterAndGivesBack(t *testing.T) {
	l := twoDirectors(t)
	d2 := startULVS(t, l, "d2", options{priority: 100, advert: fast})
	d2.await("MASTER") // alone
	p := startProbe(t, l)
	var died, back []time.Duration
	for range rounds() {
		began := time.Now()
		d1 := startULVS(t, l, "d1", options{priority: 200, advert: fast})
		d1.await("MASTER")
		d2.await("BACKUP")
		awaitAnswers(t, p, 50)
		back = append(back, p.Gap(began))
		began = time.Now()
		d1.end(syscall.SIGKILL)
		d2.await("MASTER")
		awaitAnswers(t, p, 50)
		died = append(died, p.Gap(began))
	}
	report(t, "kill -9", died)
	report(t, "preemption", back)
}

func TestAPlannedHandoverLosesNothingToSpeakOf(t *testing.T) {
	l := twoDirectors(t)
	d1 := startULVS(t, l, "d1", options{priority: 200, advert: fast})
	d1.await("MASTER")
	d2 := startULVS(t, l, "d2", options{priority: 100, advert: fast})
	p := startProbe(t, l)
	var gaps []time.Duration
	for range rounds() {
		for _, resume := range []bool{false, true} {
			began := time.Now()
			if err := d1.client.Release(t.Context(), "VI_1", resume); err != nil {
				t.Fatal(err)
			}
			from, to := d1, d2
			if resume {
				from, to = d2, d1
			}
			to.await("MASTER")
			from.await("BACKUP")
			awaitAnswers(t, p, 50)
			gaps = append(gaps, p.Gap(began))
		}
	}
	report(t, "handover", gaps)
}

func TestAMasterThatStandsStillIsReplacedAndComesBackQuietly(t *testing.T) {
	l := twoDirectors(t)
	d1 := startULVS(t, l, "d1", options{priority: 200, advert: steady, extra: "nopreempt = true"})
	d1.await("MASTER")
	d2 := startULVS(t, l, "d2", options{priority: 100, advert: steady, extra: "nopreempt = true"})
	d2.await("BACKUP")
	p := startProbe(t, l)
	began := time.Now()
	if err := d1.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	d2.await("MASTER")
	awaitAnswers(t, p, 50)
	gap := p.Gap(began)
	if err := d1.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	d1.await("BACKUP")
	awaitAnswers(t, p, 50)
	if s := d2.state(); s != "MASTER" {
		t.Errorf("d2 is %s after d1 came back, want MASTER", s)
	}
	t.Logf("SIGSTOP: gap %v", gap.Round(time.Millisecond))
}

func TestALinkThatFailsIsAFault(t *testing.T) {
	l := twoDirectors(t)
	d1 := startULVS(t, l, "d1", options{priority: 200, advert: fast})
	d1.await("MASTER")
	d2 := startULVS(t, l, "d2", options{priority: 100, advert: fast})
	p := startProbe(t, l)
	for range rounds() {
		shell(t, l, "d1", "ip", "link", "set", "c0", "down")
		d1.await("FAULT")
		d2.await("MASTER")
		awaitAnswers(t, p, 50)
		shell(t, l, "d1", "ip", "link", "set", "c0", "up")
		d1.await("MASTER")
		d2.await("BACKUP")
		awaitAnswers(t, p, 50)
	}
}

func TestInNetlinkModeTheVIPMoves(t *testing.T) {
	l := twoDirectors(t)
	mode := `vip_mode = "netlink"`
	shell(t, l, "d1", "ip", "addr", "add", l.Addresses().DR.IPv4.String()+"/32", "dev", "c0") // left by a crash
	d2 := startULVS(t, l, "d2", options{priority: 100, advert: steady, node: mode})
	d2.await("MASTER")
	d1 := startULVS(t, l, "d1", options{priority: 50, advert: steady, node: mode})
	d1.await("BACKUP")
	testutil.Await(t, "the VIP that a crash left to be gone from a BACKUP's interface", func() bool {
		return !holds(t, l, "d1")
	})
	testutil.Await(t, "the VIP is on d2", func() bool { return holds(t, l, "d2") })
	d2.end(syscall.SIGTERM)
	d1.await("MASTER")
	testutil.Await(t, "the VIP is on d1", func() bool { return holds(t, l, "d1") && !holds(t, l, "d2") })
	startProbe(t, l)
}

// The other director is Debian's keepalived, in both roles and both versions.
func TestBesideAKeepalived(t *testing.T) {
	for _, c := range []struct {
		name    string
		version int
		ours    string
		theirs  string
	}{
		{"version 2", 2, "1s", "1"},
		{"version 3", 3, "100ms", "0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := twoDirectors(t)
			extra := "version = " + strconv.Itoa(c.version)
			keep := startKeepalived(t, l, "d2", c.version, 100, c.theirs)
			testutil.Await(t, "keepalived alone has the VIP", func() bool { return holds(t, l, "d2") })
			d1 := startULVS(t, l, "d1", options{priority: 200, advert: c.ours, extra: extra})
			d1.await("MASTER")
			testutil.Await(t, "keepalived gives the VIP up", func() bool { return !holds(t, l, "d2") })
			startProbe(t, l).Close()
			d1.end(syscall.SIGKILL)
			testutil.Await(t, "keepalived takes over from a dead ulvs", func() bool { return holds(t, l, "d2") })

			low := startULVS(t, l, "d1", options{priority: 50, advert: c.ours, extra: extra})
			low.await("BACKUP")
			keep.end(syscall.SIGTERM)
			low.await("MASTER")
			startProbe(t, l)
		})
	}
}

func TestASplitHealsToOneMaster(t *testing.T) {
	l := twoDirectors(t)
	startKeepalived(t, l, "d2", 3, 100, "0.1")
	testutil.Await(t, "keepalived alone has the VIP", func() bool { return holds(t, l, "d2") })
	d1 := startULVS(t, l, "d1", options{priority: 200, advert: "100ms"})
	d1.await("MASTER")
	testutil.Await(t, "keepalived gives the VIP up", func() bool { return !holds(t, l, "d2") })
	p := startProbe(t, l)
	for _, rule := range []string{"add table inet cut", "add chain inet cut in { type filter hook input priority 0 ; }",
		"add rule inet cut in meta l4proto 112 drop"} {
		shell(t, l, "d2", "nft", rule)
	}
	testutil.Await(t, "keepalived hears nothing and takes the VIP", func() bool { return holds(t, l, "d2") })
	testutil.Await(t, "two masters are noticed", func() bool {
		list, err := d1.client.RecentEvents(t.Context(), eventsOf("owner_conflict"))
		return err == nil && len(list) > 0
	})
	shell(t, l, "d2", "nft", "delete table inet cut")
	testutil.Await(t, "keepalived gives the VIP up", func() bool { return !holds(t, l, "d2") })
	testutil.Await(t, "the client finds the VIP at d1", func() bool { return answersAt(t, l, "d1") })
	d1.await("MASTER")
	awaitAnswers(t, p, 50)
}

func eventsOf(kind events.Kind) control.EventQuery {
	return control.EventQuery{Filter: events.Filter{Kinds: []events.Kind{kind}}}
}
