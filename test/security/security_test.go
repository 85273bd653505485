package security

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ulvs/control"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/sandbox"
	"ulvs/test/lab"
	"ulvs/test/lab/labtest"
)

// binary is the ulvs under test, built by TestMain.
var binary string

func TestMain(m *testing.M) { labtest.Main(m, &binary) }

// director is a running ulvs on d1.
type director struct {
	*lab.Lab
	t      *testing.T
	pid    int
	file   string
	client *control.Client
}

func start(t *testing.T, l *lab.Lab, config string) *director {
	t.Helper()
	d := &director{Lab: l, t: t, file: filepath.Join(t.TempDir(), "ulvs.toml"),
		client: control.NewClient(l.ControlSocket("d1"))}
	d.write(config)
	cmd := l.Command("d1", binary, "run", "--log-level", "debug", d.file)
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("ulvs ended: %v\n%s", err, &log)
		}
	})
	d.forwards()
	return d
}

func (d *director) write(config string) {
	d.t.Helper()
	if err := os.WriteFile(d.file, []byte(config), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d *director) forwards() {
	d.t.Helper()
	testutil.Await(d.t, "the director to forward", func() bool {
		st, err := d.client.Status(context.Background())
		return err == nil && st.Routing.NextHops > 0 && st.Routing.Unresolved == 0
	})
}

// sockets lists what anybody in the director's namespace has open: nobody but ulvs is there.
func (d *director) sockets(args ...string) (list []string) {
	d.t.Helper()
	out, err := d.Command("d1", "ss", append([]string{"-Hn"}, args...)...).CombinedOutput()
	if err != nil {
		d.t.Fatalf("ss: %v\n%s", err, out)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if line != "" {
			list = append(list, strings.Join(strings.Fields(line), " "))
		}
	}
	return list
}

func TestNothingListensThatNobodyAskedFor(t *testing.T) {
	l := labtest.Up(t, lab.Options{Prefix: "t-sec"})
	d := start(t, l, l.Config(lab.ConfigOptions{}))
	for _, args := range [][]string{{"-lt"}, {"-au"}, {"-aw"}, {"-lS"}} {
		if list := d.sockets(args...); len(list) > 0 {
			t.Errorf("ss %v: %q", args, list)
		}
	}
	d.write(l.Config(lab.ConfigOptions{}) + "\n[metrics]\nlisten = \"127.0.0.1:9101\"\n")
	d.ulvs("reload")
	testutil.Await(t, "the one socket that was asked for", func() bool {
		list := d.sockets("-lt")
		return len(list) == 1 && strings.Contains(list[0], "127.0.0.1:9101")
	})
}

// privileges are a thread's lines of /proc/PID/status that say what it may do.
func (d *director) privileges() (list []string) {
	d.t.Helper()
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", d.pid))
	if err != nil || len(paths) == 0 {
		d.t.Fatalf("no threads: %v", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // the thread ended meanwhile
		}
		for _, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(line, "Cap") || strings.HasPrefix(line, "NoNew") || strings.HasPrefix(line, "Seccomp:") {
				list = append(list, strings.Join(strings.Fields(line), " "))
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// What is left is enough: after it, VIPs come onto interfaces and go, services are changed, links go and come
// back, and packets are captured.
func TestADirectorThatForwardsHasWhatItNeedsAndNoMore(t *testing.T) {
	l := labtest.Up(t, lab.Options{Prefix: "t-priv"})
	labtest.Serve(t, l)
	d := start(t, l, l.Config(lab.ConfigOptions{Extra: "vip_mode = \"netlink\""}))
	d.hasOnlyWhatIsKept()
	d.serves()
	d.write(l.Config(lab.ConfigOptions{Extra: "vip_mode = \"netlink\"", Methods: []lvs.Method{lvs.MethodDR}}))
	d.ulvs("reload")
	d.write(l.Config(lab.ConfigOptions{Extra: "vip_mode = \"netlink\""}))
	d.ulvs("reload")
	d.ulvs("capture", "--count", "1", "--for", "1s", "-w", filepath.Join(t.TempDir(), "x.pcapng"))
	d.serves()
}

func (d *director) ulvs(args ...string) {
	d.t.Helper()
	out, err := exec.Command(binary, append([]string{"--socket", d.ControlSocket("d1")}, args...)...).CombinedOutput()
	if err != nil {
		d.t.Fatalf("ulvs %v: %v\n%s", args, err, out)
	}
}

// hasOnlyWhatIsKept waits until the director has given up everything else: it answers a moment before.
func (d *director) hasOnlyWhatIsKept() {
	d.t.Helper()
	var last []string
	defer func() {
		if d.t.Failed() {
			d.t.Log(strings.Join(last, "\n"))
		}
	}()
	testutil.Await(d.t, "all threads to have nothing but what is kept", func() bool {
		last = d.excess()
		return len(last) == 0
	})
}

// excess names what threads may do that they need not.
func (d *director) excess() (list []string) {
	d.t.Helper()
	kept := uint64(0)
	for _, c := range sandbox.Kept {
		kept |= 1 << c.Number
	}
	for _, line := range d.privileges() {
		var key string
		var set uint64
		if _, err := fmt.Sscanf(line, "%s %x", &key, &set); err != nil {
			d.t.Fatal(err)
		}
		switch key {
		case "NoNewPrivs:", "Seccomp:":
			if set == 0 {
				list = append(list, "a thread has "+line)
			}
		default:
			// The test's folder may be somebody else's: then files stay readable.
			if more := set &^ kept &^ (1 << unix.CAP_DAC_READ_SEARCH); more != 0 {
				list = append(list, fmt.Sprintf("a thread has %s: %x too much", line, more))
			}
		}
	}
	return list
}

func (d *director) serves() {
	d.t.Helper()
	a := d.Addresses()
	for _, m := range []lvs.Method{lvs.MethodDR, lvs.MethodTUN, lvs.MethodNAT} {
		labtest.Load(d.t, d.Lab, lab.LoadOptions{
			Kind: lab.KindHTTP, Target: netip.AddrPortFrom(a.VIP(m).IPv4, lab.PortHTTP), Connections: 6,
		})
	}
}
