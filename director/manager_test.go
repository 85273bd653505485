package director

import (
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ulvs/config"
	"ulvs/conntrack"
	"ulvs/dataplane"
	"ulvs/dataplane/memqueue"
	"ulvs/internal/sdnotify"
)

// quietSet is a worker's I/O that a heartbeat may wake.
type quietSet struct{ ioSet }

func (quietSet) Wake() {}

// managedDirector has one worker and a service manager that listens at the other end.
func managedDirector(t *testing.T) (*director, *net.UnixConn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	env := map[string]string{"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000"}
	m, err := sdnotify.Open(func(name string) string { return env[name] }, 1)
	if err != nil {
		t.Fatal(err)
	}
	d := &director{log: slog.New(slog.DiscardHandler), opt: Options{Manager: m, Config: &config.Config{}}}
	table, err := conntrack.New(conntrack.Options{Bits: conntrack.MinBits, Heap: true})
	if err != nil {
		t.Fatal(err)
	}
	var snapshots atomic.Pointer[dataplane.Snapshot]
	snapshots.Store(&dataplane.Snapshot{Timeouts: new(conntrack.Timeouts)})
	q := memqueue.New(64)
	d.workers = []*worker{{set: quietSet{}, dp: dataplane.NewWorker(dataplane.Options{
		Table: table, Snapshots: &snapshots, Queue: q, Destinations: 2,
	})}}
	return d, conn
}

// told returns the next message, "" if none comes within d.
func told(t *testing.T, conn *net.UnixConn, d time.Duration) string {
	t.Helper()
	b := make([]byte, 256)
	if err := conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		t.Fatal(err)
	}
	n, err := conn.Read(b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

func TestTheManagerHearsThatTheDirectorServesLivesAndEnds(t *testing.T) {
	d, conn := managedDirector(t)
	stop := d.tellManager()
	if got := told(t, conn, 30*time.Second); !strings.HasPrefix(got, "READY=1\nSTATUS=forwarding: 1 workers") {
		t.Fatalf("got %q", got)
	}
	if got := told(t, conn, 30*time.Second); got != "WATCHDOG=1" {
		t.Fatalf("got %q", got)
	}
	stopped := make(chan struct{})
	go func() { // a manager that reads nothing meanwhile has its socket full soon, and misses the end
		defer close(stopped)
		stop()
	}()
	for got := "WATCHDOG=1"; got != "STOPPING=1"; got = told(t, conn, 30*time.Second) {
		if got != "WATCHDOG=1" {
			t.Fatalf("got %q", got)
		}
	}
	<-stopped
}

func TestAWorkerThatStandsStillIsNotKeptAlive(t *testing.T) {
	d, conn := managedDirector(t)
	defer d.tellManager()()
	// The worker's loop does not run. After the limit nothing comes for much longer than is asked for.
	for end := time.Now().Add(30 * time.Second); told(t, conn, heartbeatLimit) != ""; {
		if time.Now().After(end) {
			t.Fatal("a worker that stands still is called alive")
		}
	}
	d.workers[0].swap(nil)
	if got := told(t, conn, 30*time.Second); got != "WATCHDOG=1" {
		t.Fatalf("a worker without an interface is to be waited for: got %q", got)
	}
}

// A machine that was held for seconds finds its workers as they were: that is no reason to give the VIPs up.
func TestAPauseOfTheWholeMachineIsNotTheWorkers(t *testing.T) {
	d, _ := managedDirector(t)
	h := d.newHearts()
	now := h.looked
	look := func(after time.Duration) bool {
		now = now.Add(after)
		_, alive := h.look(now)
		return alive
	}
	if !look(heartbeatPeriod) || !look(10*time.Second) {
		t.Error("a pause of ten seconds is taken for workers that stand still")
	}
	looks := 0
	for look(heartbeatPeriod) {
		if looks++; looks > 2*int(heartbeatLimit/heartbeatPeriod) {
			t.Fatal("a worker that stands still is called alive")
		}
	}
	d.workers[0].dp.RunOnce(1)
	if !look(10 * time.Second) {
		t.Error("a worker that moved meanwhile is called dead")
	}
}
