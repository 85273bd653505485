package forward

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"ulvs/control"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/test/lab"
	"ulvs/test/lab/labtest"
)

// binary is the ulvs under test, built by TestMain.
var binary string

func TestMain(m *testing.M) {
	lab.RunHelper()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	lock, err := alone()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer lock.Close()
	return labtest.Run(m, &binary)
}

// alone waits until no other run of these tests is under way, whose labs have the same names and
// would be taken down.
func alone() (lock *os.File, err error) {
	lock, err = os.OpenFile(filepath.Join(os.TempDir(), "ulvs-forward-tests.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// director is a running ulvs.
type director struct {
	tb     testing.TB
	lab    *lab.Lab
	name   string
	file   string // its configuration
	cmd    *exec.Cmd
	log    *lab.Log
	client *control.Client
	ended  chan error
	kernel uint64 // packets the kernel had forwarded before
}

// start runs ulvs in a director's namespace and returns when it forwards.
func start(tb testing.TB, l *lab.Lab, c lab.ConfigOptions) *director {
	tb.Helper()
	return startWith(tb, l, l.Config(c))
}

// startWith is start on d1 with a configuration of the test's own.
func startWith(tb testing.TB, l *lab.Lab, config string) *director {
	tb.Helper()
	d := &director{
		tb: tb, lab: l, name: "d1", file: writeConfig(tb, config), log: &lab.Log{}, ended: make(chan error, 1),
		client: control.NewClient(l.ControlSocket("d1")), kernel: forwardedByKernel(tb, l, "d1"),
	}
	d.cmd = l.Command(d.name, binary, "run", d.file)
	d.cmd.Stderr = d.log
	if err := d.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() { d.ended <- d.cmd.Wait() }()
	tb.Cleanup(d.stop)
	d.awaitReady()
	return d
}

func writeConfig(tb testing.TB, text string) string {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "ulvs.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return file
}

// runFailing runs ulvs on d1 with a configuration that cannot work, and returns its
// exit status and what it said.
func runFailing(tb testing.TB, l *lab.Lab, config string) (code int, said string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testutil.AwaitLimit)
	defer cancel()
	cmd := l.Command("d1", binary, "run", writeConfig(tb, config))
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	out, err := cmd.CombinedOutput()
	exit := &exec.ExitError{}
	if err != nil && !errors.As(err, &exit) {
		tb.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// awaitReady waits until ulvs answers and every next hop of a real server is resolved.
func (d *director) awaitReady() {
	d.tb.Helper()
	testutil.Await(d.tb, "director to forward", func() bool {
		select {
		case err := <-d.ended:
			d.ended <- err
			d.tb.Fatalf("ulvs ended: %v\n%s", err, d.log)
		default:
		}
		st, err := d.client.Status(context.Background())
		return err == nil && st.Routing.NextHops > 0 && st.Routing.Unresolved == 0
	})
}

// stop ends ulvs with SIGTERM and wants it to end well.
func (d *director) stop() {
	select {
	case err := <-d.ended: // by kill, or by an earlier stop
		d.ended <- err
		return
	default:
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-d.ended:
		d.ended <- err
		if err != nil {
			d.tb.Errorf("ulvs ended with %v", err)
		}
	case <-time.After(testutil.AwaitLimit):
		_ = d.cmd.Process.Kill()
		d.tb.Errorf("ulvs did not end within %v of SIGTERM", testutil.AwaitLimit)
	}
	if d.tb.Failed() {
		d.tb.Logf("log of ulvs:\n%s", d.log)
	}
}

// kill ends ulvs as a crash would.
func (d *director) kill() {
	d.tb.Helper()
	if err := d.cmd.Process.Kill(); err != nil {
		d.tb.Fatal(err)
	}
	err := <-d.ended
	d.ended <- err
	if exit := (&exec.ExitError{}); !errors.As(err, &exit) {
		d.tb.Fatalf("ulvs ended with %v, want killed", err)
	}
}

func (d *director) status() control.Status {
	d.tb.Helper()
	st, err := d.client.Status(context.Background())
	if err != nil {
		d.tb.Fatal(err)
	}
	return st
}

func (d *director) services() []control.Service {
	d.tb.Helper()
	list, err := d.client.Services(context.Background(), control.ServiceFilter{})
	if err != nil {
		d.tb.Fatal(err)
	}
	return list
}

func (d *director) verdict(name string) uint64 {
	d.tb.Helper()
	st := d.status()
	n, ok := verdictOf(&st, name)
	if !ok {
		d.tb.Fatalf("no verdict is called %s", name)
	}
	return n
}

func verdictOf(st *control.Status, name string) (frames uint64, ok bool) {
	for _, v := range st.Verdicts {
		if v.Name == name {
			return v.Frames, true
		}
	}
	return 0, false
}

// proveCarrier fails unless ulvs carried at least n frames through AF_XDP and the kernel
// forwarded none.
func (d *director) proveCarrier(n int) {
	d.tb.Helper()
	st := d.status()
	var rx, tx uint64
	for _, p := range st.Ports {
		rx += p.RXFrames
		tx += p.TXFrames
	}
	if rx < uint64(n) || tx < uint64(n) {
		d.tb.Errorf("AF_XDP received %d and sent %d frames, want at least %d", rx, tx, n)
	}
	if now := forwardedByKernel(d.tb, d.lab, d.name); now != d.kernel {
		d.tb.Errorf("the kernel forwarded %d packets", now-d.kernel)
	}
}

// methods and families are what every test of forwarding goes through.
var methods = []lvs.Method{lvs.MethodDR, lvs.MethodNAT, lvs.MethodTUN}

func target(l *lab.Lab, m lvs.Method, v6 bool, port uint16) netip.AddrPort {
	a := l.Addresses()
	return netip.AddrPortFrom(a.VIP(m).Family(v6), port)
}

// newLab is a lab with its servers running.
func newLab(tb testing.TB, o lab.Options) *lab.Lab {
	tb.Helper()
	l := labtest.Up(tb, o)
	labtest.Serve(tb, l)
	return l
}
