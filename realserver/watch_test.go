package realserver

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"ulvs/internal/testutil"
)

// logBuffer is a log that several goroutines write and read.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

// watching runs Watch on the host until the test ends.
func (b *bed) watching(c Config, interval time.Duration) *logBuffer {
	b.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	log, ready, ended := &logBuffer{}, make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- b.ns.Do(func() error {
			w := watch{host: b.host, list: []Config{c}, log: slog.New(slog.NewTextHandler(log, nil))}
			return b.host.watch(ctx, w, func() { close(ready) }, interval)
		})
	}()
	select {
	case <-ready:
	case err := <-ended:
		b.t.Fatalf("watch ended: %v", err)
	}
	b.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			b.t.Error(err)
		}
	})
	return log
}

// whole awaits that nothing is wrong.
func (b *bed) whole(c Config, after string) {
	b.t.Helper()
	testutil.Await(b.t, "the host is set up again after "+after, func() bool { return len(b.codes(c)) == 0 })
}

// The interval is an hour: all of this is told by the kernel.
func TestWatchPutsBackWhatARestartOfTheNetworkTakes(t *testing.T) {
	for _, name := range []string{"dr", "tun", "carrier", "nat"} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			c := setups()[name]
			c.Interface = "e0"
			log := b.watching(c, time.Hour)
			b.whole(c, "the start")
			b.sh(`ip addr flush dev lo; ip link set lo down; ip link set lo up`)
			b.whole(c, "lo went down and up")
			b.sh(`ip link set e0 down; ip addr flush dev e0
				ip link set e0 up; ip addr add 10.1.1.5/24 dev e0; ip addr add 2001:db8:1::5/64 dev e0 nodad
				ip route add default via 10.1.1.1 || true; ip -6 route add default via 2001:db8:1::1 || true`)
			b.whole(c, "the NIC restarted")
			if !log.has("put in place") {
				t.Error("the log does not tell what was put back")
			}
		})
	}
}

func TestWatchPutsBackSysctlsWithoutBeingTold(t *testing.T) {
	b := newBed(t)
	c := setups()["dr4"]
	b.watching(c, 10*time.Millisecond)
	b.sh("sysctl -qw net.ipv4.conf.all.arp_ignore=0")
	b.whole(c, "a changed sysctl")
}

func TestWatchWaitsForWhatIsInTheWay(t *testing.T) {
	b := newBed(t)
	b.sh("ip addr add 192.168.1.8/24 dev e0")
	c := setups()["dr4"]
	log := b.watching(c, time.Hour)
	if !log.has(CodeVIPElsewhere) {
		t.Error("the log does not say what is in the way")
	}
	b.sh("ip addr del 192.168.1.8/24 dev e0")
	b.whole(c, "it is out of the way")
}
