package doctor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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
	var b strings.Builder
	fmt.Fprintf(&b, "[node]\nname = %q\ninterfaces = [\"c0\", \"s0\"]\ncontrol_socket = %q\n", director,
		w.ControlSocket(director))
	a := w.Addresses()
	for _, m := range []lvs.Method{lvs.MethodDR, lvs.MethodNAT, lvs.MethodTUN} {
		fmt.Fprintf(&b, "[[service]]\nvip = \"%s:80\"\nscheduler = \"rr\"\nmethod = %q\n", a.VIP(m).IPv4, m)
		for _, r := range a.Reals {
			fmt.Fprintf(&b, "  [[service.real_server]]\n  address = \"%s:80\"\n", r.Addr.IPv4)
		}
	}
	path := filepath.Join(w.t.TempDir(), director+".toml")
	if err := os.WriteFile(path, []byte(b.String()+extra), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
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
		found, last = w.examine(file)
		return slices.Equal(found, want)
	})
	w.t.Logf("%q after %v", want, time.Since(began).Round(10*time.Millisecond))
	for _, f := range last.Findings {
		if f.What == "" || f.Remedy == "" {
			w.t.Errorf("%s: says %q and %q", f.Code, f.What, f.Remedy)
		}
	}
}

func TestTheDoctorFindsEveryPlantedFaultAndNothingElse(t *testing.T) {
	w := &ward{labtest.Up(t, lab.Options{Prefix: "ulvsdoc", Directors: 2, ServerMTU: 1600}), t}
	w.in("d1", "ip link set c0 mtu 1500")
	labtest.Serve(t, w.Lab)
	plain := w.write("d1", "")
	a := w.Addresses()
	ip := func(i int) string { return a.Reals[i].Addr.IPv4.String() }

	w.wants(plain)

	w.in("r1", "ip addr del %s/32 dev lo", a.DR.IPv4)
	w.in("r2", "ip route replace default via %s", a.GatewayServer.IPv4)
	w.in("r2", "sysctl -qw net.ipv4.conf.all.arp_ignore=0")
	w.in("r3", "ip link set e0 xdp off")
	w.in("c1", "ip addr add %s/32 dev c0", a.NAT.IPv4)
	w.wants(plain, "UD203 "+ip(0), "UD205 "+ip(1), "UD204 "+ip(1), "UD206 "+ip(2), "UD302 "+a.NAT.IPv4.String())
	w.in("r1", "ip addr add %s/32 dev lo", a.DR.IPv4)
	w.in("r2", "ip route replace default via %s", a.Directors[0].Server.IPv4)
	w.in("r2", "sysctl -qw net.ipv4.conf.all.arp_ignore=1")
	w.in("c1", "ip addr del %s/32 dev c0", a.NAT.IPv4)

	// r3 still does not unpack; two more real servers, and a service, are wrong by configuration.
	far := "[[service]]\nvip = \"%s:81\"\nscheduler = \"rr\"\nmethod = \"dr\"\n" +
		"  [[service.real_server]]\n  address = \"198.51.100.9:81\"\n" +
		"  [[service.real_server]]\n  address = \"%s:81\"\n"
	sick := w.write("d1", fmt.Sprintf(far, a.DR.IPv4, ip(0)))
	w.in("d1", "ip route add 198.51.100.0/24 via %s", a.GatewayServer.IPv4)
	w.in("d1", "ip link set s0 mtu 1500")
	w.in("r2", "ethtool -K e0 tx on >/dev/null")
	w.in("sw1", "ethtool -K d1-s0 tx on >/dev/null") // else the switch fills it in
	w.in("sw1", "ip link set r3-e0 down")
	w.wants(sick, "UD201 198.51.100.9", "UD208 "+ip(0)+":81", "UD107 "+ip(1), "UD202 "+ip(2),
		"UD207 "+ip(0), "UD207 "+ip(1), "UD207 "+ip(2))
	w.in("d1", "ip route del 198.51.100.0/24 && ip link set s0 mtu 1600")
	w.in("r2", "ethtool -K e0 tx off >/dev/null")
	w.in("sw1", "ethtool -K d1-s0 tx off >/dev/null")
	w.in("sw1", "ip link set r3-e0 up")
	w.pair()
}

// pair examines a director that runs, with another one beside it.
func (w *ward) pair() {
	a, t := w.Addresses(), w.t
	ha := func(self, peer int) string {
		return fmt.Sprintf("[[vrrp]]\nname = \"VI_1\"\ninterface = \"c0\"\nvirtual_router_id = 51\npriority = %d\n"+
			"vips = [%q, %q, %q]\n[sync]\ninterface = \"s0\"\naddress = %q\ninsecure = true\npeers = [%q]\n", 100-self,
			a.DR.IPv4, a.NAT.IPv4, a.TUN.IPv4, a.Directors[self].Server.IPv4, a.Directors[peer].Server.IPv4)
	}
	file := w.write("d1", ha(0, 1))
	stopOther := w.run("d2", w.write("d2", ha(1, 0)))
	stop := w.run("d1", file)
	defer stop()
	d3 := "UD206 " + a.Reals[2].Addr.IPv4.String() // its link came back, its program did not
	w.wants(file, d3)

	stopOther()
	w.in("c1", "ip addr add %s/32 dev c0", a.DR.IPv4)
	w.in("d1", "nft add table inet t && nft 'add chain inet t i { type filter hook input priority 0; }' &&"+
		" nft add rule inet t i ip protocol 112 drop")
	stopStranger := stranger(t, w.Lab, "c1", a.Clients[1].IPv4, a.Clients[0].IPv4)
	defer stopStranger()
	stopDrifter := stranger(t, w.Lab, "c1", a.Clients[2].IPv4, a.DR.IPv4)
	defer stopDrifter()
	stopGhost := ghost(t, w.Lab, "d2", a.Directors[1].Server.IPv4, 10*time.Second)
	defer stopGhost()
	w.wants(file, d3, "UD301 c0 51", "UD302 "+a.DR.IPv4.String(), "UD304 VI_1", "UD109 VRRP adverts (protocol 112)",
		"UD303 "+a.Directors[1].Server.IPv4.String(), "UD306 "+a.Directors[1].Server.IPv4.String()+":8849")
}

// run starts ulvs on a director and returns when it answers.
func (w *ward) run(director, file string) (stop func()) {
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
	return stop
}

// TestEveryCodeIsPlanted keeps this list and the tests' in step with the codes.
func TestEveryCodeIsPlanted(t *testing.T) {
	here := []string{"UD107", "UD109", "UD201", "UD202", "UD203", "UD204", "UD205", "UD206", "UD207", "UD208",
		"UD301", "UD302", "UD303", "UD304", "UD306"}
	recorded := []string{"UD101", "UD102", "UD103", "UD104", "UD105", "UD106", "UD108", "UD110", "UD305"} // package doctor
	planted := map[string]bool{}
	for _, code := range slices.Concat(here, recorded) {
		planted[code] = true
	}
	for _, c := range doctor.Codes {
		delete(planted, c.Code)
		if !slices.Contains(here, c.Code) && !slices.Contains(recorded, c.Code) {
			t.Errorf("%s is planted nowhere", c.Code)
		}
	}
	if len(planted) > 0 {
		t.Errorf("planted, and no code: %v", slices.Sorted(maps.Keys(planted)))
	}
}
