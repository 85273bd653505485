package health

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/icmp"

	"ulvs/internal/runner"
	"ulvs/internal/testutil"
	"ulvs/lvs"
)

func TestScriptChecks(t *testing.T) {
	t.Parallel()
	sh := func(script string) Spec { return Spec{Kind: KindScript, Path: "/bin/sh", Args: []string{"-c", script}} }
	dynamic := func(script string) Spec {
		s := sh(script)
		s.Dynamic = true
		return s
	}
	for _, c := range []struct {
		name   string
		spec   Spec
		want   Reason
		weight int64 // -1: not dynamic
		detail string
	}{
		{"exit 0", sh("exit 0"), "", -1, ""},
		{"exit 1", sh("echo the disk is full; exit 1"), ReasonExit, -1, "1: the disk is full"},
		{"exit 7 is a failure", sh("exit 7"), ReasonExit, -1, "7"},
		{"dynamic 0 leaves the weight", dynamic("exit 0"), "", -1, ""},
		{"dynamic 1 is a failure", dynamic("exit 1"), ReasonExit, -1, "1"},
		{"dynamic 2", dynamic("exit 2"), "", 0, ""},
		{"dynamic 255", dynamic("exit 255"), "", 253, ""},
		{"knows what it checks", sh(`[ "$ULVS_REAL_SERVER $ULVS_SERVICE" = "127.0.0.1:9 tcp 192.0.2.1:80" ]`), "", -1, ""},
		{"a signal", sh("kill -KILL $$"), ReasonSignal, -1, "killed"},
		{"endless", sh("echo busy; while :; do sleep 0.01; done"), ReasonTimeout, -1, "stopped after TIMEOUT: busy"},
		{"endless, with children", sh("sleep 1000 & sleep 1001 & wait"), ReasonTimeout, -1, "stopped after TIMEOUT"},
		{"endless words", sh("yes; exit 1"), ReasonTimeout, -1, "stopped after TIMEOUT: y y"},
		{"children left behind", sh("sleep 1000 & exit 0"), "", -1, ""},
		{"control characters", sh(`printf 'a\r\n\033[2Jb'; exit 1`), ReasonExit, -1, "1: a   [2Jb"},
		{"no such program", Spec{Kind: KindScript, Path: "/nonexistent"}, ReasonExit, -1, "start /nonexistent"},
		{"a folder", Spec{Kind: KindScript, Path: "/tmp"}, ReasonExit, -1, "start /tmp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, detail := askScript(t, c.spec, c.want, c.detail)
			wantReason(t, c.name, r, c.want)
			if !strings.HasPrefix(r.Detail, detail) {
				t.Errorf("detail %q, want %q", r.Detail, detail)
			}
			if r.Dynamic != (c.weight >= 0) || r.Dynamic && r.Weight != c.weight {
				t.Errorf("weight %d, dynamic %v", r.Weight, r.Dynamic)
			}
		})
	}
}

// askScript runs a script. One that is to be stopped gets more and more time until it has said what it says first: a
// busy machine may not let it begin. detail, with TIMEOUT for that time, comes back with it filled in.
func askScript(t *testing.T, s Spec, want Reason, detail string) (Result, string) {
	t.Helper()
	timeout := testutil.AwaitLimit
	if want == ReasonTimeout {
		timeout = 500 * time.Millisecond
	}
	for ; ; timeout *= 4 {
		s.Timeout = Some(timeout)
		r := askAt(t, s, netip.MustParseAddrPort("127.0.0.1:9"), want)
		begin := strings.ReplaceAll(detail, "TIMEOUT", timeout.String())
		if strings.HasPrefix(r.Detail, begin) || timeout*4 > testutil.AwaitLimit {
			return r, begin
		}
	}
}

func TestAScriptThatFindsNoTurnIsNotBlamed(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	p := &Prober{Runner: runner.New(0)}
	wantReason(t, "no turn", p.Ask(ctx, Probe{Check: mustCheck(Spec{Kind: KindScript, Path: "/bin/true"})}), ReasonLocal)
}

func TestFileChecks(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text string // text "-": no file
		spec       Spec
		want       Reason
		added      int64 // valid if dynamic
	}{
		{"zero", "0\n", Spec{}, "", 0},
		{"one", "1\n", Spec{}, ReasonFile, 0},
		{"minus one", "-1", Spec{}, ReasonFile, 0},
		{"none", "-", Spec{}, "", 0},
		{"words", "up\n", Spec{}, ReasonFile, 0},
		{"nothing", "", Spec{}, ReasonFile, 0},
		{"a flood", strings.Repeat("0", 1<<20), Spec{}, ReasonFile, 0},
		{"too large", "99999999999", Spec{}, ReasonFile, 0},
		{"weighted", "100", Spec{Weight: -3}, "", 0},
		{"weighted down to the fault", "2147483647", Spec{Weight: -2}, ReasonFile, 0},
		{"dynamic", " -5 ", Spec{Weight: 2, Dynamic: true}, "", -10},
		{"dynamic, none", "-", Spec{Weight: 2, Dynamic: true}, "", 0},
	} {
		c.spec.Kind, c.spec.Path = KindFile, filepath.Join(dir, strings.ReplaceAll(c.name, " ", "_"))
		if c.text != "-" {
			if err := os.WriteFile(c.spec.Path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r := askAt(t, c.spec, real(), c.want)
		wantReason(t, c.name, r, c.want)
		if r.OK && (r.Dynamic != c.spec.Dynamic || r.Weight != c.added) {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
	for _, path := range []string{fifo, dir, "/dev/zero"} {
		wantReason(t, path, askAt(t, Spec{Kind: KindFile, Path: path}, real(), ReasonFile), ReasonFile)
	}
}

func TestPingChecks(t *testing.T) {
	probe, err := icmp.ListenPacket("udp4", "")
	if err != nil {
		if probe, err = icmp.ListenPacket("ip4:icmp", ""); err != nil {
			t.Skipf("no ICMP socket without root: %v", err)
		}
	}
	probe.Close()
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		wantReason(t, addr, askAt(t, Spec{Kind: KindPing}, netip.MustParseAddrPort(addr), ""), "")
	}
	bound := Spec{Kind: KindPing, BindTo: netip.MustParseAddr("127.0.0.8")}
	wantReason(t, "bound", askAt(t, bound, netip.MustParseAddrPort("127.0.0.1:0"), ""), "")
}

func TestAnEchoReplyIsKnownByItsToken(t *testing.T) {
	e := echoOf(netip.MustParseAddr("192.0.2.1"))
	pack := func(m icmp.Message) []byte {
		b, err := m.Marshal(nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ours := []byte("0123456789abcdef")
	for _, c := range []struct {
		name    string
		message []byte
		want    bool
	}{
		{"reply", pack(icmp.Message{Type: e.reply, Body: &icmp.Echo{ID: 9, Seq: 1, Data: ours}}), true},
		{"request", pack(icmp.Message{Type: e.request, Body: &icmp.Echo{ID: 9, Seq: 1, Data: ours}}), false},
		{"another token", pack(icmp.Message{Type: e.reply, Body: &icmp.Echo{Data: []byte("other")}}), false},
		{"nothing", nil, false},
		{"garbage", []byte{0, 0, 0}, false},
	} {
		if got := e.replies(c.message, ours); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// twoWays answers differently on the path and on the real server's own address.
type twoWays struct{ path, address error }

func (d twoWays) DialContext(_ context.Context, _ string, t Target) (net.Conn, error) {
	err := d.address
	if t.Via == ViaPath {
		err = d.path
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", err)}
	}
	a, b := net.Pipe()
	b.Close()
	return a, nil
}

func TestAPathThatFailsIsDiagnosed(t *testing.T) {
	const timeout, refused, unreachable = syscall.ETIMEDOUT, syscall.ECONNREFUSED, syscall.EHOSTUNREACH
	for _, c := range []struct {
		method        lvs.Method
		path, address error
		want          Reason
	}{
		{lvs.MethodDR, nil, nil, ""},
		{lvs.MethodDR, timeout, nil, ReasonVIP},
		{lvs.MethodDR, unreachable, nil, ReasonVIP},
		{lvs.MethodDR, refused, nil, ReasonListen},
		{lvs.MethodDR, refused, refused, ReasonRefused},
		{lvs.MethodDR, timeout, refused, ReasonRefused},
		{lvs.MethodDR, timeout, unreachable, ReasonUnreachable},
		{lvs.MethodDR, timeout, timeout, ReasonTimeout},
		{lvs.MethodDR, timeout, syscall.EMFILE, ReasonTimeout},
		{lvs.MethodDR, syscall.EMFILE, nil, ReasonLocal},
		{lvs.MethodTUN, timeout, nil, ReasonTunnel},
		{lvs.MethodTUN, refused, nil, ReasonListen},
		{lvs.MethodNAT, timeout, nil, ReasonGateway},
		{lvs.MethodNAT, refused, nil, ReasonPath},
		{lvs.MethodNAT, timeout, refused, ReasonRefused},
	} {
		check := mustCheck(Spec{Kind: KindTCP, Common: Common{ConnectTimeout: Some(time.Minute)}})
		p := &Prober{Dialer: SplitDialer{Path: twoWays{c.path, c.address}, Address: twoWays{c.path, c.address}}}
		q := Probe{Check: check, Target: TargetOf(&check.Spec, web(), real(), c.method), Diagnose: true}
		r := p.Ask(t.Context(), q)
		if r.Reason != c.want || r.OK != (c.want == "") {
			t.Errorf("%s, path %v, address %v: %s", c.method, c.path, c.address, r.Words())
		}
		q.Diagnose = false
		if r := p.Ask(t.Context(), q); !r.OK && r.Reason != reasonOf(c.path) {
			t.Errorf("%s, path %v, without diagnosis: %s", c.method, c.path, r.Words())
		}
	}
}
