package restart

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ulvs/control"
	"ulvs/internal/testutil"
	"ulvs/keep"
	"ulvs/lvs"
	"ulvs/test/lab"
	"ulvs/test/lab/labtest"
)

// binary is the ulvs under test, built by TestMain.
var binary string

func TestMain(m *testing.M) { labtest.Main(m, &binary) }

// bed is a lab with servers, and a director that can be killed and started again.
type bed struct {
	t      *testing.T
	lab    *lab.Lab
	file   string // the configuration
	client *control.Client
	cmd    *exec.Cmd
	log    *os.File // processes inherit it: nobody waits for the last of them
	ended  chan error

	successor int // process that went on after an upgrade; 0: none
}

func newBed(t *testing.T, prefix string) *bed {
	t.Helper()
	l := labtest.Up(t, lab.Options{Prefix: prefix, Queues: 2})
	labtest.Serve(t, l)
	b := &bed{t: t, lab: l, file: filepath.Join(t.TempDir(), "ulvs.toml")}
	b.client = control.NewClient(l.ControlSocket("d1"))
	b.configure("[restart]\nkeep = \"keeper\"")
	t.Cleanup(b.clean)
	var err error
	if b.log, err = os.Create(filepath.Join(t.TempDir(), "log")); err != nil {
		t.Fatal(err)
	}
	return b
}

// configure writes the file, with that [restart].
func (b *bed) configure(restart string) {
	b.t.Helper()
	methods := []lvs.Method{lvs.MethodDR, lvs.MethodNAT}
	text := b.lab.Config(lab.ConfigOptions{Methods: methods, Family: 4, Scheduler: "rr"})
	text = strings.Replace(text, lab.KeepsNothing, restart, 1)
	if err := os.WriteFile(b.file, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// start runs ulvs and returns when it forwards.
func (b *bed) start() {
	b.t.Helper()
	b.cmd = b.lab.Command("d1", binary, "run", b.file)
	b.cmd.Stderr, b.ended = b.log, make(chan error, 1)
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	cmd, ended := b.cmd, b.ended
	go func() { ended <- cmd.Wait() }()
	b.await("the director to answer", func() bool { _, err := b.client.Status(context.Background()); return err == nil })
}

// await waits for something of a director that lives.
func (b *bed) await(what string, done func() bool) {
	b.t.Helper()
	testutil.Await(b.t, what, func() bool {
		select {
		case err := <-b.ended:
			b.ended <- err
			b.t.Fatalf("ulvs ended: %v", err)
		default:
		}
		return done()
	})
}

// end sends a signal and waits until the process is gone.
func (b *bed) end(sig syscall.Signal) {
	b.t.Helper()
	_ = b.cmd.Process.Signal(sig)
	select {
	case err := <-b.ended:
		b.ended <- err
	case <-time.After(testutil.AwaitLimit):
		b.t.Fatalf("ulvs did not end within %v of %v", testutil.AwaitLimit, sig)
	}
}

// succeeded awaits that another process is the director, and that the one before has ended in order.
func (b *bed) succeeded(pid int) {
	b.t.Helper()
	if b.successor == 0 { // the process before is our child
		select {
		case err := <-b.ended:
			if err != nil {
				b.t.Fatalf("the process before: %v", err)
			}
		case <-time.After(testutil.AwaitLimit):
			b.t.Fatal("the process before does not end")
		}
	}
	b.successor = pid
	b.ended = make(chan error, 1) // of a process that is not our child: it is never told
	b.await("the new process to answer", func() bool {
		st, err := b.client.Status(context.Background())
		return err == nil && st.PID == pid
	})
}

func (b *bed) status() control.Status {
	b.t.Helper()
	st, err := b.client.Status(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return st
}

// keeper is where the director's keeper listens.
func (b *bed) keeper() string {
	return strings.TrimSuffix(b.lab.ControlSocket("d1"), ".sock") + ".keep"
}

// clean ends what the test started.
func (b *bed) clean() {
	if b.cmd != nil {
		_ = b.cmd.Process.Kill()
	}
	if b.successor != 0 {
		_ = syscall.Kill(b.successor, syscall.SIGKILL)
	}
	if c, err := keep.Dial(b.keeper()); err == nil {
		_ = c.Leave(0)
	}
	if b.t.Failed() {
		text, _ := os.ReadFile(b.log.Name())
		b.t.Logf("log of the director:\n%s", text)
	}
	b.log.Close()
}
