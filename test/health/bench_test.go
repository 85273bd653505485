package health

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ulvs/control"
	"ulvs/internal/testutil"
	"ulvs/test/lab"
	"ulvs/test/lab/labtest"
)

// The load of BenchmarkPath: 3334 services with three real servers each, all checked by TCP every 3 s.
const (
	pathServices = 3334
	pathLoop     = 3 * time.Second
)

// BenchmarkPath measures the share of a core that 10 002 checks down the path cost the whole director: engine, stack,
// worker, AF_XDP in copy mode. An iteration is one round of all checks in real time.
func BenchmarkPath(b *testing.B) {
	for _, method := range methods() {
		b.Run(method.String(), func(b *testing.B) {
			l := labtest.Up(b, lab.Options{Prefix: "ulvshb", RealServers: 3})
			labtest.Serve(b, l)
			a := l.Addresses()
			vip := a.VIP(method).IPv4
			var file strings.Builder
			fmt.Fprintf(&file, "[node]\ninterfaces = [\"c0\", \"s0\"]\ncontrol_socket = %q\n", l.ControlSocket("d1"))
			for i := range pathServices {
				fmt.Fprintf(&file, "[[service]]\nvip = \"%s:%d\"\nmethod = %q\ndelay_loop = %q\n"+
					"check = { type = \"tcp\", connect_port = 80 }\n", vip, i+1, method, pathLoop)
				for _, r := range a.Reals {
					fmt.Fprintf(&file, "[[service.real_server]]\naddress = %q\n", r.Addr.IPv4)
				}
			}
			rounds(b, l, file.String())
		})
	}
}

func rounds(b *testing.B, l *lab.Lab, config string) {
	file := filepath.Join(b.TempDir(), "ulvs.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd, log := l.Command("d1", binary, "run", file), strings.Builder{}
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || b.Failed() {
			b.Errorf("ulvs ended: %v\n%.5000s", err, log.String())
		}
	}()
	client := control.NewClient(l.ControlSocket("d1"))
	testutil.Await(b, "all checks to have answered", func() bool {
		checks, _, _, err := answered(client)
		return err == nil && checks >= 3*pathServices
	})
	b.ResetTimer()
	before, began, first := cpuTime(b, cmd.Process.Pid), time.Now(), total(b, client)
	time.Sleep(time.Duration(b.N) * pathLoop) // the rate is what is measured
	used, took := cpuTime(b, cmd.Process.Pid)-before, time.Since(began)
	b.StopTimer()
	n := total(b, client) - first
	b.ReportMetric(100*used.Seconds()/took.Seconds(), "core-%")
	b.ReportMetric(float64(used.Microseconds())/float64(n), "cpu-us/check")
	b.ReportMetric(float64(n)/took.Seconds(), "checks/s")
}

// answered returns how many checks have answered, how often in all, and how many answers were failures.
func answered(client *control.Client) (checks int, answers, failures uint64, err error) {
	list, err := client.Health(context.Background())
	for _, s := range list {
		for _, r := range s.RealServers {
			for _, c := range r.Checks {
				if c.Answers > 0 {
					checks++
				}
				answers += c.Answers
				failures += c.Failures
			}
		}
	}
	return checks, answers, failures, err
}

// total returns how many answers there were, none of them a failure.
func total(b *testing.B, client *control.Client) uint64 {
	b.Helper()
	_, answers, failures, err := answered(client)
	if err != nil || failures > 0 {
		b.Errorf("%d of %d checks failed, %v", failures, answers, err)
	}
	return answers
}

// cpuTime returns what a process has used, from /proc/PID/stat, in ticks of 10 ms.
func cpuTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		b.Fatal(err1, err2)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}
