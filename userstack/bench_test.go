package userstack

import (
	"context"
	"net"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"ulvs/lvs"
)

// cpu is the time that this process has used.
func cpu(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkProbe is one TCP check: connect, close. cpu-us/op is what both ends use, the stack that stands for the real
// server included. The address is the same through the kernel, on loopback.
func BenchmarkProbe(b *testing.B) {
	b.Run("path", func(b *testing.B) {
		spec, svc := paths[0].spec(lvs.ProtoTCP)
		w := newWorldOf(b, [2]uint16{20000, 65535}, svc)
		l, err := gonet.ListenTCP(w.host, tcpip.FullAddress{NIC: 1, Port: 80}, header.IPv4ProtocolNumber)
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		go answerUpper(l)
		probe(b, func() (net.Conn, error) { return w.stack.Dial(context.Background(), spec) })
	})
	b.Run("address", func(b *testing.B) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		go answerUpper(l)
		probe(b, func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) })
	})
}

func probe(b *testing.B, dial func() (net.Conn, error)) {
	before := cpu(b)
	for b.Loop() {
		c, err := dial()
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-us/op")
}
