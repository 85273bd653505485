package failover

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ulvs/control"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/test/lab"
	"ulvs/test/lab/labtest"
)

// ulvsBinary is the ulvs under test, built by TestMain.
var ulvsBinary string

func TestMain(m *testing.M) { labtest.Main(m, &ulvsBinary) }

// peer is a process that speaks VRRP in a director's namespace.
type peer struct {
	t      *testing.T
	name   string // d1, d2
	cmd    *exec.Cmd
	log    *lab.Log
	ended  chan error
	client *control.Client // nil: a keepalived
	file   string          // its configuration
}

// launch starts a process in a director's namespace; it is ended with the test.
func launch(t *testing.T, l *lab.Lab, ns string, argv ...string) *peer {
	t.Helper()
	p := &peer{t: t, name: ns, log: &lab.Log{}, ended: make(chan error, 1)}
	p.cmd = l.Command(ns, argv[0], argv[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	t.Cleanup(func() {
		p.end(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("log of %s on %s:\n%s", filepath.Base(argv[0]), ns, p.log)
		}
	})
	return p
}

// end sends a signal and waits until the process is gone.
func (p *peer) end(sig syscall.Signal) {
	p.t.Helper()
	select {
	case err := <-p.ended:
		p.ended <- err
		return
	default:
	}
	_ = p.cmd.Process.Signal(sig)
	select {
	case err := <-p.ended:
		p.ended <- err
	case <-time.After(testutil.AwaitLimit):
		_ = p.cmd.Process.Kill()
		p.t.Errorf("%s on %s did not end within %v of %v", p.cmd.Path, p.name, testutil.AwaitLimit, sig)
	}
}

// options of a director under test.
type options struct {
	priority int
	advert   string // advert_int
	extra    string // lines of [[vrrp]]
	node     string // lines of [node]
	sync     string // a [sync]
	restart  string // a [restart]; empty: nothing outlives the process
}

// config is a director with the services of DR and an instance on the clients' side.
func config(l *lab.Lab, ns string, o options) string {
	text := l.Config(lab.ConfigOptions{Director: ns, Methods: []lvs.Method{lvs.MethodDR}, Family: 4, Extra: o.node})
	if o.restart != "" {
		text = strings.Replace(text, lab.KeepsNothing, o.restart, 1)
	}
	return text + fmt.Sprintf("\n[[vrrp]]\nname = \"VI_1\"\ninterface = \"c0\"\nvirtual_router_id = 51\npriority = %d\n"+
		"advert_int = %q\nvips = [%q]\n%s\n%s", o.priority, o.advert, l.Addresses().DR.IPv4, o.extra, o.sync)
}

// starts is how often a director is started that finds its queue still in use, as its supervisor would: the kernel of a
// busy machine gives one back seconds after its last socket.
const starts = 4

// startULVS runs a director and returns when it answers.
func startULVS(t *testing.T, l *lab.Lab, ns string, o options) (p *peer) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ulvs.toml")
	if err := os.WriteFile(file, []byte(config(l, ns, o)), 0o600); err != nil {
		t.Fatal(err)
	}
	for range starts {
		p = launch(t, l, ns, ulvsBinary, "run", file)
		p.file = file
		p.client = control.NewClient(l.ControlSocket(ns))
		if p.answers() {
			return p
		}
		if !strings.Contains(p.log.String(), "device or resource busy") {
			break
		}
	}
	err := <-p.ended
	p.ended <- err
	t.Fatalf("ulvs on %s ended: %v\n%s", ns, err, p.log)
	return nil
}

// answers waits until a director answers; it is false if it ended.
func (p *peer) answers() (lives bool) {
	p.t.Helper()
	testutil.Await(p.t, p.name+" to answer", func() bool {
		select {
		case err := <-p.ended:
			p.ended <- err
			return true
		default:
		}
		st, err := p.client.Status(context.Background())
		lives = err == nil && st.Routing.NextHops > 0 && st.Routing.Unresolved == 0
		return lives
	})
	return lives
}

func (p *peer) state() string {
	v, err := p.client.VRRP(context.Background())
	if err != nil || len(v.Instances) == 0 {
		return fmt.Sprint(err)
	}
	return v.Instances[0].State
}

func (p *peer) await(state string) {
	p.t.Helper()
	testutil.Await(p.t, p.name+" to be "+state, func() bool { return p.state() == state })
}

// startKeepalived runs Debian's keepalived and nothing else: no checks, no IPVS.
func startKeepalived(t *testing.T, l *lab.Lab, ns string, version, priority int, advert string) *peer {
	t.Helper()
	return keepalivedWith(t, l, ns, version, priority, advert, "", "dev c0")
}

// keepalivedWith is startKeepalived with more lines of the instance and another place of the VIP.
func keepalivedWith(t *testing.T, l *lab.Lab, ns string, version, priority int, advert, extra, dev string) *peer {
	t.Helper()
	path, err := exec.LookPath("keepalived")
	if err != nil {
		testutil.Require(t, testutil.NeedNetNS, "keepalived is not installed")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "keepalived.conf")
	text := fmt.Sprintf("global_defs {\n vrrp_version %d\n}\nvrrp_instance VI_1 {\n state BACKUP\n interface c0\n"+
		" virtual_router_id 51\n priority %d\n advert_int %s\n%s virtual_ipaddress {\n  %s/32 %s\n }\n}\n",
		version, priority, advert, extra, l.Addresses().DR.IPv4, dev)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return launch(t, l, ns, path, "--vrrp", "--dont-fork", "--log-console", "--use-file", conf,
		"--pid", filepath.Join(dir, "pid"), "--vrrp_pid", filepath.Join(dir, "vrrp_pid"))
}

// holds reports whether the kernel of a namespace has the VIP on c0, as keepalived puts it there.
func holds(t *testing.T, l *lab.Lab, ns string) bool {
	t.Helper()
	out, err := l.Command(ns, "ip", "-4", "addr", "show", "dev", "c0").Output()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(out, []byte(l.Addresses().DR.IPv4.String()+"/32"))
}

// answersAt reports whether the client's neighbour table has the VIP at that director's MAC.
func answersAt(t *testing.T, l *lab.Lab, ns string) bool {
	t.Helper()
	mac, err := l.MAC(ns, "c0")
	if err != nil {
		t.Fatal(err)
	}
	out, err := l.Command("c1", "ip", "neigh", "show", l.Addresses().DR.IPv4.String()).Output()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(out, []byte(mac.String()))
}

func twoDirectors(t *testing.T) *lab.Lab {
	t.Helper()
	l := labtest.Up(t, lab.Options{Prefix: "ulvsfo", Directors: 2, RealServers: 2})
	labtest.Serve(t, l)
	return l
}

// shell runs a command in a namespace, or fails the test.
func shell(t *testing.T, l *lab.Lab, ns string, argv ...string) {
	t.Helper()
	if out, err := l.Command(ns, argv[0], argv[1:]...).CombinedOutput(); err != nil {
		exit := &exec.ExitError{}
		t.Fatalf("%v on %s: %v %v\n%s", argv, ns, err, errors.As(err, &exit), out)
	}
}
