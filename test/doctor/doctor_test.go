package doctor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ulvs/control"
	"ulvs/doctor"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/test/lab"
	"ulvs/test/lab/labtest"
)

// ulvsBinary is the ulvs under test, built by TestMain.
var ulvsBinary string

func TestMain(m *testing.M) { labtest.Main(m, &ulvsBinary) }

// ward is a lab whose director is examined.
type ward struct {
	*lab.Lab
	t *testing.T
}

// in runs a shell line in a namespace.
func (w *ward) in(ns, format string, args ...any) {
	w.t.Helper()
	line := fmt.Sprintf(format, args...)
	if out, err := w.Command(ns, "sh", "-c", line).CombinedOutput(); err != nil {
		w.t.Fatalf("%s: %s: %v\n%s", ns, line, err, out)
	}
}

// write makes a configuration of d1 or d2: HTTP by each method on all real servers, and what else is given.
func (w *ward) write(director, extra string) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), director+".toml")
	if err := os.WriteFile(path, []byte(w.services(director)+extra), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// far is a real server of DR that the directors reach by a route of its own, on their segment when all is well.
const far = "198.51.100.9"

func (w *ward) services(director string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[node]\nname = %q\ninterfaces = [\"c0\", \"s0\"]\ncontrol_socket = %q\n", director,
		w.ControlSocket(director))
	a := w.Addresses()
	at80 := func(a netip.Addr) string { return netip.AddrPortFrom(a, 80).String() }
	for _, m := range []lvs.Method{lvs.MethodDR, lvs.MethodNAT, lvs.MethodTUN} {
		for _, v6 := range []bool{false, true} {
			fmt.Fprintf(&b, "[[service]]\nvip = %q\nscheduler = \"rr\"\nmethod = %q\n", at80(a.VIP(m).Family(v6)), m)
			for _, r := range a.Reals {
				fmt.Fprintf(&b, "  [[service.real_server]]\n  address = %q\n", at80(r.Addr.Family(v6)))
			}
			if m == lvs.MethodDR && !v6 {
				fmt.Fprintf(&b, "  [[service.real_server]]\n  address = \"%s:80\"\n", far)
			}
		}
	}
	return b.String()
}

// examine runs ulvs doctor in d1 and returns code and subject of each finding.
func (w *ward) examine(file string) (found []string, report doctor.Report) {
	w.t.Helper()
	cmd := w.Command("d1", ulvsBinary, "doctor", "--json", "--socket", w.ControlSocket("d1"), file)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if jsonErr := json.Unmarshal(out.Bytes(), &report); jsonErr != nil {
		w.t.Fatalf("ulvs doctor: %v, %v\n%s%s", err, jsonErr, out.String(), errOut.String())
	}
	if want := map[bool]int{true: 0, false: 1}[report.Healthy]; cmd.ProcessState.ExitCode() != want {
		w.t.Errorf("ulvs doctor ends with %d, want %d", cmd.ProcessState.ExitCode(), want)
	}
	for _, f := range report.Findings {
		found = append(found, f.Code+" "+f.Subject)
	}
	slices.Sort(found)
	return found, report
}

// wants examines until exactly these are found: probes are bounded in time, and a busy machine may be late.
func (w *ward) wants(file string, want ...string) {
	w.t.Helper()
	slices.Sort(want)
	began, last := time.Now(), doctor.Report{}
	defer func() {
		if w.t.Failed() {
			w.t.Logf("the last examination: %+v", last)
		}
	}()
	testutil.Await(w.t, fmt.Sprintf("the findings %q", want), func() bool {
		var found []string
		if found, last = w.examine(file); !slices.Equal(found, want) {
			w.t.Logf("found %q so far, not examined: %q", found, last.Unknown)
		}
		return slices.Equal(found, want)
	})
	w.t.Logf("%q after %v", want, time.Since(began).Round(10*time.Millisecond))
	for _, f := range last.Findings {
		if f.What == "" || f.Remedy == "" {
			w.t.Errorf("%s: says %q and %q", f.Code, f.What, f.Remedy)
		}
	}
}

// pair is two directors that share VIPs and sessions; d1 is the master, and is examined.
type pair struct {
	*ward
	files   [2]string
	process [2]*os.Process
	stop    [2]func()
	undoing []func() // what the planted faults want done when they are taken back
}

func (p *pair) start(i int) { p.process[i], p.stop[i] = p.run(fmt.Sprintf("d%d", i+1), p.files[i]) }

// later has something done when the planted faults are taken back.
func (p *pair) later(f func()) { p.undoing = append(p.undoing, f) }

// takeBack undoes the planted faults, the last first.
func (p *pair) takeBack() {
	for _, f := range slices.Backward(p.undoing) {
		f()
	}
	p.undoing = nil
}

// sh runs a line in a namespace now, and another one when faults are taken back; empty: none.
func (p *pair) sh(ns, plant, undo string) {
	p.t.Helper()
	p.in(ns, "%s", plant)
	if undo != "" {
		p.later(func() { p.in(ns, "%s", undo) })
	}
}

func newPair(t *testing.T) *pair {
	w := &ward{labtest.Up(t, lab.Options{Prefix: "ulvsdoc", Directors: 2, RealServers: 5, ServerMTU: 1600}), t}
	labtest.Serve(t, w.Lab)
	w.in("d1", "ip link set c0 mtu 1500 && ip route add 198.51.100.0/24 dev s0")
	w.in("d2", "ip route add 198.51.100.0/24 dev s0")
	w.in("r4", "ip addr add %s/32 dev e0", far)
	a, p := w.Addresses(), &pair{ward: w}
	for i := range p.files {
		vrrp := ""
		for name, v6 := range map[string]bool{"VI_1": false, "VI_6": true} {
			vrrp += fmt.Sprintf("[[vrrp]]\nname = %q\ninterface = \"c0\"\nvirtual_router_id = 51\nversion = 3\n"+
				"advert_int = \"100ms\"\npriority = %d\nvips = [%q, %q, %q]\n", name, 100-i, a.DR.Family(v6),
				a.NAT.Family(v6), a.TUN.Family(v6))
		}
		p.files[i] = w.write(fmt.Sprintf("d%d", i+1), vrrp+fmt.Sprintf("[sync]\ninterface = \"s0\"\naddress = %q\n"+
			"insecure = true\npeers = [%q]\n", a.Directors[i].Server.IPv4, a.Directors[1-i].Server.IPv4))
	}
	return p
}

// told awaits that d1 says something of its part in the pair: cheaper than examinations.
func (p *pair) told(what string, is func(doctor.Facts) bool) {
	p.t.Helper()
	client := control.NewClient(p.ControlSocket("d1"))
	testutil.Await(p.t, what, func() bool {
		f := doctor.Ask(p.t.Context(), client)
		return f.VRRP != nil && f.Sync != nil && is(f)
	})
}

// settle awaits that d1 is the master and has all of d2's sessions.
func (p *pair) settle() {
	p.t.Helper()
	p.told("the pair to settle", func(f doctor.Facts) bool {
		notMaster := func(i control.VRRPInstance) bool { return i.State != "MASTER" }
		return !slices.ContainsFunc(f.VRRP.Instances, notMaster) && f.Sync.Ready && len(f.Sync.Peers) == 1 &&
			f.Sync.Peers[0].State == "in sync" && f.Sync.Peers[0].Configuration == control.SameConfiguration
	})
}

func TestTheDoctorFindsEveryPlantedFaultAndNothingElse(t *testing.T) {
	p := newPair(t)
	p.wants(p.write("d1", "")) // nothing runs yet
	p.start(1)
	p.start(0)
	p.settle()
	p.wants(p.files[0])
	for _, group := range groups {
		var want []string
		for _, f := range group {
			t.Logf("planted: %s", f.name)
			want = append(want, f.plant(p)...)
		}
		p.wants(p.files[0], want...)
		p.takeBack()
		p.settle()
		p.wants(p.files[0])
	}
}

// run starts ulvs on a director and returns when it answers.
func (w *ward) run(director, file string) (process *os.Process, stop func()) {
	w.t.Helper()
	cmd := w.Command(director, ulvsBinary, "run", file)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil || w.t.Failed() {
			w.t.Errorf("ulvs on %s ended with %v\n%s", director, err, log.String())
		}
	}
	w.t.Cleanup(stop)
	client := control.NewClient(w.ControlSocket(director))
	testutil.Await(w.t, director+" to answer", func() bool {
		_, err := client.Status(w.t.Context())
		return err == nil
	})
	return cmd.Process, stop
}

// pause stops a director, does something, and lets it go on.
func (p *pair) pause(i int, do func()) {
	p.t.Helper()
	if err := p.process[i].Signal(unix.SIGSTOP); err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = p.process[i].Signal(unix.SIGCONT) }()
	testutil.Await(p.t, "the director to stand still", func() bool {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.process[i].Pid))
		_, state, _ := bytes.Cut(stat, []byte(") "))
		return bytes.HasPrefix(state, []byte("T"))
	})
	do()
}

// reload has a director take another configuration, from the file that it has.
func (p *pair) reload(i int, text string) {
	p.t.Helper()
	if err := os.WriteFile(p.files[i], []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	name := fmt.Sprintf("d%d", i+1)
	if out, err := exec.Command(ulvsBinary, "reload", "--socket", p.ControlSocket(name)).CombinedOutput(); err != nil {
		p.t.Fatalf("reload %s: %v\n%s", name, err, out)
	}
}
