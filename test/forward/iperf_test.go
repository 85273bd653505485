package forward

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/test/lab"
)

// iperfSeconds of each transfer: enough to see who carries it, no measurement of a quiet machine.
const iperfSeconds = 1

// iperfResult is the part of iperf3 -J that is of interest.
type iperfResult struct {
	End struct {
		Received struct {
			BitsPerSecond float64 `json:"bits_per_second"`
			Bytes         float64 `json:"bytes"`
		} `json:"sum_received"`
	} `json:"end"`
	Error string `json:"error"`
}

// serveIperf runs an iperf3 server on every real server until the test ends.
func serveIperf(tb testing.TB, l *lab.Lab) {
	tb.Helper()
	for _, r := range l.Addresses().Reals {
		cmd := l.Command(r.Name, "iperf3", "-s", "-p", fmt.Sprint(lab.PortIperf))
		if err := cmd.Start(); err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		to := netip.AddrPortFrom(r.Direct.IPv4, lab.PortIperf)
		testutil.Await(tb, "iperf3 on "+r.Name, func() bool { return iperf(l, to, "--bytes", "1").Error == "" })
	}
}

// iperf sends TCP from c1 to an iperf3 server. What fails is in the result's Error.
func iperf(l *lab.Lab, to netip.AddrPort, args ...string) (r iperfResult) {
	args = append([]string{
		"-J", "-c", to.Addr().String(), "-p", fmt.Sprint(to.Port()), "--connect-timeout", "30000",
	}, args...)
	out, err := l.Command("c1", "iperf3", args...).Output()
	if jsonErr := json.Unmarshal(out, &r); jsonErr != nil && r.Error == "" {
		r.Error = fmt.Sprintf("iperf3: %v: %s", err, out)
	}
	return r
}

// iperfGbit is a transfer's rate as received, in Gbit/s.
func iperfGbit(tb testing.TB, l *lab.Lab, to netip.AddrPort) float64 {
	tb.Helper()
	var r iperfResult
	testutil.Await(tb, "iperf3 to be done with the client before", func() bool {
		r = iperf(l, to, "-t", fmt.Sprint(iperfSeconds))
		return !strings.Contains(r.Error, "busy")
	})
	if r.Error != "" || r.End.Received.Bytes == 0 {
		tb.Fatalf("iperf3 to %s carried %.0f bytes: %s", to, r.End.Received.Bytes, r.Error)
	}
	return r.End.Received.BitsPerSecond / 1e9
}

// Every method carries a bulk transfer; beside it, what the kernel's forwarding does in the same
// place, through the gateway. Rates are for the reader: the machine is shared.
func TestIperfBesideTheKernel(t *testing.T) {
	if _, err := exec.LookPath("iperf3"); err != nil {
		t.Skip("no iperf3 on this machine: apt-get install iperf3")
	}
	l := newLab(t, lab.Options{Prefix: "t-iperf"})
	serveIperf(t, l)
	t.Logf("%-6s %-5s %8s %12s", "method", "", "Gbit/s", "ulvs CPU")
	for _, v6 := range []bool{false, true} {
		family := map[bool]string{false: "IPv4", true: "IPv6"}[v6]
		direct := netip.AddrPortFrom(l.Addresses().Reals[0].Direct.Family(v6), lab.PortIperf)
		t.Logf("%-6s %-5s %8.2f %12s", "kernel", family, iperfGbit(t, l, direct), "-")
		for _, m := range methods {
			iperfThrough(t, l, m, v6)
		}
	}
}

// iperfThrough measures one method with a director of its own, so that its frames are proven.
func iperfThrough(t *testing.T, l *lab.Lab, m lvs.Method, v6 bool) {
	t.Helper()
	d := start(t, l, lab.ConfigOptions{Methods: []lvs.Method{m}})
	used, begin := cpuSeconds(t, d.cmd.Process.Pid), time.Now()
	rate := iperfGbit(t, l, target(l, m, v6, lab.PortIperf))
	used = cpuSeconds(t, d.cmd.Process.Pid) - used
	t.Logf("%-6s %-5s %8.2f %5.2f s of %.1f", m, map[bool]string{false: "IPv4", true: "IPv6"}[v6],
		rate, used, time.Since(begin).Seconds())
	// Every byte but the NAT replies went in one direction through both ports, in frames of at most
	// the MTU.
	d.proveCarrier(int(rate * 1e9 / 8 * iperfSeconds / lab.DefaultMTU / 2))
	d.stop()
}
