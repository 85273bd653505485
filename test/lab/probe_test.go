package lab

import (
	"net"
	"testing"
	"time"

	"ulvs/internal/testutil"
)

func TestAProbeCountsAnswersAndTheLongestGap(t *testing.T) {
	echo, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		b := make([]byte, 64)
		for {
			n, from, err := echo.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = echo.WriteTo(b[:n], from)
		}
	}()
	conn, err := net.Dial("udp", echo.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := NewProbe(conn)
	testutil.Await(t, "answers", func() bool { return p.Count() >= 10 })
	p.Close()
	p.Close()

	at := time.Now()
	p.answers = []time.Time{at, at.Add(10), at.Add(40), at.Add(60)}
	for _, c := range []struct{ since, want time.Duration }{{0, 30}, {-50, 50}, {10, 30}, {25, 20}, {60, 0}, {70, 0}} {
		if got := p.Gap(at.Add(c.since)); got != c.want {
			t.Errorf("gap since %v: %v, want %v", c.since, got, c.want)
		}
	}
}
