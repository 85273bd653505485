package health

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ulvs/lvs"
)

// The load that one core has to carry with less than 30 % of its time.
const (
	benchServers = 10000
	benchLoop    = 3 * time.Second
)

// BenchmarkEngine keeps 10 000 real servers checked every 3 s; an iteration is one such round in real time.
// It reports the share of a core that the whole process used.
//
//	engine    the engine alone: servers answer at once, without a socket
//	loopback  TCP connections to listeners of another process
func BenchmarkEngine(b *testing.B) {
	fake := func(context.Context, Probe) Result { return good() }
	b.Run("engine", func(b *testing.B) { rounds(b, fake, netip.MustParseAddrPort("127.0.0.1:9")) })
	b.Run("loopback", func(b *testing.B) { rounds(b, prober().Ask, listenElsewhere(b)) })
}

func rounds(b *testing.B, ask func(context.Context, Probe) Result, at netip.AddrPort) {
	asked, failures := atomic.Int64{}, atomic.Int64{}
	e := NewEngine(EngineOptions{
		Changed: func([]Change) {},
		Ask: func(ctx context.Context, q Probe) Result {
			r := ask(ctx, q)
			asked.Add(1)
			if !r.OK && ctx.Err() == nil {
				failures.Add(1)
			}
			return r
		},
	})
	e.Change(benchServices(at.Port()), nil)
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan error)
	b.ResetTimer()
	before, began := cpuTime(b), time.Now()
	go func() { done <- e.Run(ctx) }()
	time.Sleep(time.Duration(b.N) * benchLoop) // the rate is what is measured
	used, took := cpuTime(b)-before, time.Since(began)
	b.StopTimer()
	stop()
	if err := <-done; err != nil {
		b.Error(err)
	}
	n := asked.Load()
	if n < int64(b.N)*benchServers/2 || failures.Load() > 0 {
		b.Errorf("%d checks, %d failed", n, failures.Load())
	}
	b.ReportMetric(100*used.Seconds()/took.Seconds(), "core-%")
	b.ReportMetric(float64(used.Microseconds())/float64(n), "cpu-us/check")
	b.ReportMetric(float64(n)/took.Seconds(), "checks/s")
}

// benchServices makes services of ten real servers each, at addresses of 127.0.0.0/8.
func benchServices(port uint16) (services []Service) {
	check := mustCheck(Spec{Kind: KindTCP, Common: Common{DelayLoop: Some(benchLoop), Via: ViaAddress}})
	for i := range uint32(benchServers / 10) {
		s := Service{Key: lvs.ServiceKey{Addr: web().Addr, Port: uint16(i + 1), Proto: lvs.ProtoTCP}}
		for k := range uint32(10) {
			var a [4]byte
			binary.BigEndian.PutUint32(a[:], 0x7f010000+10*i+k)
			s.Servers = append(s.Servers, Server{
				Address: netip.AddrPortFrom(netip.AddrFrom4(a), port), Weight: 1, Checks: []*Check{check},
			})
		}
		services = append(services, s)
	}
	return services
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const listenVariable = "ULVS_TEST_LISTEN"

// listenElsewhere starts this binary anew as the process that accepts connections, so that its time is not ours.
func listenElsewhere(b *testing.B) netip.AddrPort {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), listenVariable+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	var port uint16
	if _, err := fmt.Sscan(line, &port); err != nil {
		b.Fatal(err)
	}
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
}

// TestMain is that process, or runs the tests.
func TestMain(m *testing.M) {
	if os.Getenv(listenVariable) == "" {
		os.Exit(m.Run())
	}
	if err := acceptUntilTheEnd(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// acceptUntilTheEnd accepts connections, on loopback only, until its input ends.
func acceptUntilTheEnd() error {
	onLoopback := func(_, _ string, c syscall.RawConn) (err error) {
		ctrl := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptString(int(fd), syscall.SOL_SOCKET, syscall.SO_BINDTODEVICE, "lo")
		})
		return errors.Join(ctrl, err)
	}
	config := net.ListenConfig{Control: onLoopback}
	l, err := config.Listen(context.Background(), "tcp4", "0.0.0.0:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(io.Discard, c)
				c.Close()
			}()
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
	return l.Close()
}
