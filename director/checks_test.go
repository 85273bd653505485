package director

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"ulvs/events"
	"ulvs/health"
	"ulvs/internal/testutil"
	"ulvs/lvs"
)

// switchboard connects with all real servers but those that are off.
type switchboard struct {
	mu  sync.Mutex
	off map[netip.AddrPort]bool
	hit map[netip.AddrPort]int
}

// DialContext implements health.Dialer.
func (s *switchboard) DialContext(_ context.Context, _ string, t health.Target) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hit[t.Real]++
	if s.off[t.Real] {
		return nil, syscall.ECONNREFUSED
	}
	a, b := net.Pipe()
	b.Close()
	return a, nil
}

func (s *switchboard) turn(server string, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.off[netip.MustParseAddrPort(server)] = !on
}

func (s *switchboard) hits(server string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hit[netip.MustParseAddrPort(server)]
}

// ward is a node whose real servers are watched.
type ward struct {
	*Node
	t       *testing.T
	checks  *checks
	servers *switchboard
}

// unstartedWard knows what a file says, and asks nobody.
func unstartedWard(t *testing.T, file string) *ward {
	t.Helper()
	w := &ward{t: t, servers: &switchboard{off: map[netip.AddrPort]bool{}, hit: map[netip.AddrPort]int{}}}
	journal := events.New(events.Options{})
	w.checks = newChecks(journal, slog.New(slog.DiscardHandler), w.servers)
	w.Node = newTestNode(t)
	w.Node.journal, w.Node.opt.Configured = journal, w.checks.configured
	w.checks.node = w.Node
	load(t, w.Node, fileOf(t, file))
	w.checks.follow()
	return w
}

// newWard watches what a file says, until the test ends. The first follow is over when it returns.
func newWard(t *testing.T, file string) *ward {
	t.Helper()
	w := unstartedWard(t, file)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.checks.run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return w
}

// listed are the weights of the first service's real servers as workers see them: "10.0.0.1:80=1 ...".
func (w *ward) listed() string {
	var words []string
	for _, s := range w.Listing().Services[:1] {
		for _, d := range s.Destinations {
			words = append(words, fmt.Sprintf("%s=%d", d.Destination.AddrPort(), d.Destination.Weight))
		}
	}
	return strings.Join(words, " ")
}

func (w *ward) awaitListed(want string) {
	w.t.Helper()
	testutil.Await(w.t, "real servers "+want, func() bool { return w.listed() == want })
}

// happened returns the events of a kind, in words.
func (w *ward) happened(kind events.Kind) (words []string) {
	for _, e := range w.journal.Recent(events.Filter{Kinds: []events.Kind{kind}}, 1000) {
		words = append(words, e.String())
	}
	return words
}

const checkedFile = `[node]
interfaces = ["eth0", "eth1"]
[[service]]
vip = "192.0.2.10:80"
delay_loop = "10ms"
delay_before_retry = "1ms"
warmup = "0s"
via = "address"
check = { type = "tcp" }
[[service.real_server]]
address = "10.0.0.1"
[[service.real_server]]
address = "10.0.0.2"
weight = 2
`

func checked(t *testing.T, pairs ...string) string {
	t.Helper()
	return strings.NewReplacer(pairs...).Replace(checkedFile)
}

func TestADeadRealServerIsKickedAndReturns(t *testing.T) {
	w := newWard(t, checkedFile)
	w.awaitListed("10.0.0.2:80=2 10.0.0.1:80=1")
	w.servers.turn("10.0.0.1:80", false)
	w.awaitListed("10.0.0.2:80=2")
	w.servers.turn("10.0.0.1:80", true)
	w.awaitListed("10.0.0.1:80=1 10.0.0.2:80=2")
	testutil.Await(t, "its return to be told", func() bool { return len(w.happened(events.ServerUp)) > 0 })
	const name = "tcp 192.0.2.10:80 10.0.0.1:80"
	want := "server_down " + name + " up -> down: connection refused (tcp 10.0.0.1:80 via address)"
	if got := w.happened(events.ServerDown); len(got) != 1 || got[0] != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := w.happened(events.ServerUp); len(got) != 1 || !strings.HasPrefix(got[0], "server_up "+name) {
		t.Errorf("got %q", got)
	}
}

func TestWhatIsNotCheckedYetTakesNoClients(t *testing.T) {
	w := unstartedWard(t, checked(t, `warmup = "0s"`, "warmup = \"1h\"\nalpha = true"))
	if got := w.listed(); got != "" {
		t.Errorf("listed %q", got)
	}
	if got := w.happened(events.ServerDown); len(got) > 0 {
		t.Errorf("told %q", got)
	}
}

func TestEditsAreFollowed(t *testing.T) {
	w := newWard(t, checkedFile)
	key := lvs.ServiceKey{Addr: netip.MustParseAddr("192.0.2.10"), Port: 80, Proto: lvs.ProtoTCP}
	added := netip.MustParseAddrPort("10.0.0.3:80")
	dest := lvs.Destination{Addr: added.Addr(), Port: added.Port(), Weight: 3}
	w.servers.turn(added.String(), false)
	edit(t, w.Node, &lvs.Edit{Op: lvs.EditAddDest, Key: key, Dest: dest})
	testutil.Await(t, "the end of the new one", func() bool { return len(w.happened(events.ServerDown)) == 1 })
	w.awaitListed("10.0.0.2:80=2 10.0.0.1:80=1")
	edit(t, w.Node, &lvs.Edit{Op: lvs.EditDelDest, Key: key, Dest: dest})
	edit(t, w.Node, &lvs.Edit{Op: lvs.EditAddDest, Key: key, Dest: dest}) // the node has forgotten that it is dead
	w.awaitListed("10.0.0.2:80=2 10.0.0.1:80=1")
	edit(t, w.Node, &lvs.Edit{Op: lvs.EditDelService, Key: key})
	testutil.Await(t, "the end of all checks", func() bool { return len(w.checks.engine.Status()) == 0 })
}

func TestAReloadChangesTheChecksThatItNames(t *testing.T) {
	w := newWard(t, checkedFile)
	w.servers.turn("10.0.0.1:80", false)
	w.awaitListed("10.0.0.2:80=2")
	since := w.checks.engine.Status()[0].Servers[0].Since
	load(t, w.Node, fileOf(t, checked(t, "weight = 2", "weight = 5")))
	w.awaitListed("10.0.0.2:80=5")
	load(t, w.Node, fileOf(t, checked(t, "weight = 2", "weight = 5\ncheck = { type = \"tcp\", connect_port = 81 }")))
	testutil.Await(t, "the other port", func() bool {
		status := w.checks.engine.Status()[0]
		return status.Servers[1].Checks[0].Target == "tcp 10.0.0.2:81 via address"
	})
	if s := w.checks.engine.Status()[0].Servers[0]; s.Up || !s.Since.Equal(since) {
		t.Errorf("the dead one is up %v since %v, was dead since %v", s.Up, s.Since, since)
	}
	load(t, w.Node, fileOf(t, checked(t, `check = { type = "tcp" }`, "")))
	w.awaitListed("10.0.0.1:80=1 10.0.0.2:80=2") // nothing says any more that it is dead
	before := w.servers.hits("10.0.0.1:80")
	load(t, w.Node, fileOf(t, checkedFile))
	testutil.Await(t, "checks", func() bool { return w.servers.hits("10.0.0.1:80") > before+2 })
}

func TestDynamicWeightsReachTheWorkers(t *testing.T) {
	weight := filepath.Join(t.TempDir(), "weight")
	set := func(n string) {
		if err := os.WriteFile(weight, []byte(n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set("9")
	check := `check = { type = "script", path = "/bin/sh", args = ["-c", "exit $(cat ` + weight + `)"], dynamic = true, ` +
		`timeout = "1m" }` // of the script: by default it is the loop, and a shell may take longer
	w := newWard(t, checked(t, `check = { type = "tcp" }`, check))
	w.awaitListed("10.0.0.2:80=7 10.0.0.1:80=7")
	set("0")
	w.awaitListed("10.0.0.2:80=2 10.0.0.1:80=1")
	set("1")
	w.awaitListed("")
}

func TestHASuspendStopsChecksWhileTheVIPIsElsewhere(t *testing.T) {
	w := newWard(t, checked(t, "via", "ha_suspend = true\nvia"))
	const victim = "10.0.0.1:80"
	suspended := func() bool { return w.checks.engine.Status()[0].Suspended }
	w.SetUnits([][]netip.Addr{{netip.MustParseAddr("192.0.2.10")}}, nil)
	testutil.Await(t, "the end of checks", suspended)
	w.SetHold(0, HoldAnswers)
	before := w.servers.hits(victim)
	testutil.Await(t, "checks", func() bool { return !suspended() && w.servers.hits(victim) > before })
	w.SetHold(0, HoldNone)
	testutil.Await(t, "the end of checks", suspended)
	w.servers.turn(victim, false)
	if got := w.listed(); got != "10.0.0.2:80=2 10.0.0.1:80=1" {
		t.Errorf("listed %q", got)
	}
}

// scribe is a script that writes a line with what it was told, and the file that it writes into.
func scribe(t *testing.T) (script, file string) {
	t.Helper()
	dir := t.TempDir()
	script, file = filepath.Join(dir, "script"), filepath.Join(dir, "lines")
	text := "#!/bin/sh\necho $1 $ULVS_EVENT $ULVS_REAL_SERVER >> " + file + "\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return script, file
}

func awaitLines(t *testing.T, file string, want ...string) {
	t.Helper()
	got := ""
	testutil.Await(t, "script lines", func() bool {
		text, _ := os.ReadFile(file)
		got = strings.TrimSpace(string(text))
		return strings.Count(got, "\n") >= len(want)-1 && got != ""
	})
	if got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestScriptsHearOfServersAndQuorums(t *testing.T) {
	script, file := scribe(t)
	commands := fmt.Sprintf("quorum = 3\nquorum_up = %q\nquorum_down = %q\nomega = true\nvia", script+" Q", script+" q")
	notify := fmt.Sprintf("weight = 2\nnotify_up = %q\nnotify_down = %q", script+" S", script+" s")
	w := newWard(t, checked(t, "via", commands, "weight = 2", notify))
	awaitLines(t, file, "Q quorum_up") // keepalived's quorum scripts hear of the start
	w.servers.turn("10.0.0.2:80", false)
	awaitLines(t, file, "Q quorum_up", "s server_down 10.0.0.2:80", "q quorum_down")
	w.servers.turn("10.0.0.2:80", true)
	lines := []string{
		"Q quorum_up", "s server_down 10.0.0.2:80", "q quorum_down", "S server_up 10.0.0.2:80", "Q quorum_up",
	}
	awaitLines(t, file, lines...)
	w.checks.engine.Stop()
	awaitLines(t, file, append(lines, "s server_down 10.0.0.2:80", "q quorum_down")...)
	if got := w.listed(); got == "" {
		t.Error("the end of the director kicked the real servers")
	}
}

func TestScriptsThatCannotKeepUpAreGivenUpOldestFirst(t *testing.T) {
	s := newScripts(slog.New(slog.DiscardHandler))
	dir := t.TempDir()
	fifo, file := filepath.Join(dir, "fifo"), filepath.Join(dir, "lines")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ch := &health.Change{Kind: health.ServerUp}
	s.run(ch, []string{"/bin/sh", "-c", "read x < " + fifo}) // holds up the others
	testutil.Await(t, "the first one's start", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		list, busy := s.queue[ch.Service]
		return busy && len(list) == 0
	})
	for i := range maxScriptBacklog + 3 {
		s.run(ch, []string{"/bin/sh", "-c", fmt.Sprintf("echo %d >> %s", i, file)})
	}
	if err := os.WriteFile(fifo, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	testutil.Await(t, "all scripts to have run", func() bool { // close has not the patience for so many
		s.mu.Lock()
		defer s.mu.Unlock()
		_, busy := s.queue[ch.Service]
		return !busy
	})
	s.close()
	text, _ := os.ReadFile(file)
	lines := strings.Fields(string(text))
	if len(lines) != maxScriptBacklog || lines[0] != "3" || lines[len(lines)-1] != fmt.Sprint(maxScriptBacklog+2) {
		t.Errorf("%d lines: %v", len(lines), lines)
	}
}
