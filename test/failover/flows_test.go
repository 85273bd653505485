package failover

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"ulvs/internal/testutil"
	"ulvs/test/lab"
)

// The traffic of the fault matrix.
const (
	httpFlows    = 40                     // at a time; the oldest ends when a new one begins
	httpEvery    = 25 * time.Millisecond  // a new one
	httpThink    = 100 * time.Millisecond // between two requests of one
	transfers    = 4
	transferStep = 2 * time.Millisecond
	transferPart = 2048 // bytes a step: 1 MB/s each
	datagrams    = 20   // UDP flows
	datagramStep = 20 * time.Millisecond
	flowPatience = testutil.AwaitLimit // TCP repeats a segment after 0.2, 0.6, 1.4, 3 s
)

// flow is one session through the VIP.
type flow struct {
	kind string
	mu   sync.Mutex
	from time.Time // its first answer; zero: none yet
	last time.Time // its latest answer
	done bool      // ended by us
	lost error
	gone time.Time // when it was lost
}

func (f *flow) answered() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = time.Now()
	if f.from.IsZero() {
		f.from = f.last
	}
}

func (f *flow) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done = true; err != nil && !f.from.IsZero() {
		f.lost, f.gone = err, time.Now()
	}
}

func (f *flow) state() (from, last time.Time, done bool, lost error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.from, f.last, f.done, f.lost
}

// traffic are sessions of three kinds: HTTP on connections that are kept, TCP that carries a known payload there and
// back, UDP. A session is lost when its connection breaks, its payload is damaged or another real server answers.
type traffic struct {
	l      *lab.Lab
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	flows  []*flow
}

func startTraffic(t *testing.T, l *lab.Lab) *traffic {
	t.Helper()
	x := &traffic{l: l}
	x.ctx, x.cancel = context.WithCancel(context.Background())
	t.Cleanup(func() { x.cancel(); x.wg.Wait() })
	vip := l.Addresses().DR.IPv4
	for range transfers {
		x.start(x.ctx, "tcp", netip.AddrPortFrom(vip, lab.PortEcho), transfer)
	}
	for range datagrams {
		x.start(x.ctx, "udp", netip.AddrPortFrom(vip, lab.PortEcho), datagramFlow)
	}
	x.wg.Go(func() { x.openHTTP(netip.AddrPortFrom(vip, lab.PortHTTP)) })
	return x
}

// openHTTP begins a connection now and then, and ends the oldest, until the traffic ends.
func (x *traffic) openHTTP(to netip.AddrPort) {
	var ends []context.CancelFunc
	for {
		ctx, end := context.WithCancel(x.ctx)
		x.start(ctx, "http", to, keptHTTP)
		if ends = append(ends, end); len(ends) > httpFlows {
			ends[0]()
			ends = ends[1:]
		}
		select {
		case <-x.ctx.Done():
			end()
			return
		case <-time.After(httpEvery):
		}
	}
}

// talk is what a flow does on its connection, until ctx ends or it is lost.
type talk func(context.Context, net.Conn, *flow) error

// start runs a flow on a connection of its own.
func (x *traffic) start(ctx context.Context, kind string, to netip.AddrPort, run talk) {
	f := &flow{kind: kind}
	x.mu.Lock()
	x.flows = append(x.flows, f)
	x.mu.Unlock()
	network := "tcp"
	if kind == "udp" {
		network = "udp"
	}
	x.wg.Go(func() {
		var conn net.Conn
		err := x.l.Do("c1", func() (err error) {
			conn, err = (&net.Dialer{Timeout: flowPatience}).DialContext(ctx, network, to.String())
			return err
		})
		if err == nil {
			stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
			err = run(ctx, conn, f)
			stop()
			_ = conn.Close()
		}
		if ctx.Err() != nil {
			err = nil // ours to end
		}
		f.end(err)
	})
}

// keptHTTP asks for the same page again and again on one connection.
func keptHTTP(ctx context.Context, conn net.Conn, f *flow) error {
	r := bufio.NewReader(conn)
	for server := ""; ctx.Err() == nil; {
		_ = conn.SetDeadline(time.Now().Add(flowPatience))
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: vip\r\n\r\n"); err != nil {
			return err
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		name, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if server == "" {
			server = string(name)
		}
		if server != string(name) || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%q answered %d, before it was %q", name, resp.StatusCode, server)
		}
		f.answered()
		select {
		case <-ctx.Done():
		case <-time.After(httpThink):
		}
	}
	return nil
}

// transfer sends the lab's payload to an echo and checks what comes back, byte by byte.
func transfer(ctx context.Context, conn net.Conn, f *flow) error {
	r := bufio.NewReader(conn)
	if _, err := r.ReadString('\n'); err != nil { // the server's name
		return err
	}
	f.answered()
	sent := make(chan error, 1)
	go func() { sent <- sendPayload(ctx, conn) }()
	var want lab.Payload
	got, expected := make([]byte, 4096), make([]byte, 4096)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(flowPatience))
		n, err := r.Read(got)
		if err != nil {
			_ = conn.SetDeadline(time.Now())
			<-sent
			return err
		}
		if _, err := io.ReadFull(&want, expected[:n]); err != nil || !bytes.Equal(got[:n], expected[:n]) {
			return fmt.Errorf("the payload came back damaged (%v)", err)
		}
		f.answered()
	}
}

func sendPayload(ctx context.Context, conn net.Conn) error {
	var p lab.Payload
	b := make([]byte, transferPart)
	tick := time.NewTicker(transferStep)
	defer tick.Stop()
	for {
		_, _ = p.Read(b)
		_ = conn.SetWriteDeadline(time.Now().Add(flowPatience))
		if _, err := conn.Write(b); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// datagramFlow sends datagrams, each when the one before was answered or is overdue.
func datagramFlow(ctx context.Context, conn net.Conn, f *flow) error {
	b := make([]byte, 256)
	var server []byte
	for n := uint64(0); ctx.Err() == nil; n++ {
		_, _ = conn.Write(binary.BigEndian.AppendUint64(nil, n)) // refused now and then while nobody serves
		_ = conn.SetReadDeadline(time.Now().Add(datagramStep))
		got, err := conn.Read(b)
		if err != nil {
			continue
		}
		name, _, _ := bytes.Cut(b[:got], []byte("\n"))
		if server == nil {
			server = bytes.Clone(name)
		}
		if !bytes.Equal(server, name) {
			return fmt.Errorf("%q answers, before it was %q", name, server)
		}
		f.answered()
		select {
		case <-ctx.Done():
		case <-time.After(datagramStep):
		}
	}
	return nil
}

// count is what became of sessions after a fault.
type count struct {
	old, oldLost     int // their first answer came more than the margin before the other director was told of them
	young, youngLost int // it came less than that before it
	newLost          int // it came after it
	why              []string
}

// margin is how long before the other director was last told of sessions a session has to have had its first answer to
// be promised: records wait a millisecond for company, and a lost one is repaired in some ten.
const margin = 50 * time.Millisecond

// judge waits until every session that there was at the fault has gone on or is lost, and counts them.
func (x *traffic) judge(fault, told time.Time) (c count) {
	settled := time.Now()
	x.mu.Lock()
	flows := append([]*flow(nil), x.flows...)
	x.mu.Unlock()
	for _, f := range flows {
		from, last, done, lost := f.state()
		if lost != nil && !from.IsZero() && !from.Before(fault) {
			c.newLost++ // in what the fault led to: it began when nobody served, or as one gave way
			c.why = append(c.why, fmt.Sprintf("%s, begun %v after it: %v", f.kind, from.Sub(fault), lost))
		}
		if from.IsZero() || !from.Before(fault) || done && (lost == nil || f.gone.Before(fault)) {
			continue // not there yet, or ended before
		}
		for ; !done && !last.After(settled); time.Sleep(time.Millisecond) { // at most flowPatience: then it is lost
			_, last, done, _ = f.state()
		}
		_, _, _, lost = f.state()
		all, gone := &c.old, &c.oldLost
		if told.Sub(from) < margin {
			all, gone = &c.young, &c.youngLost
		}
		*all++
		if lost != nil {
			*gone++
			c.why = append(c.why, fmt.Sprintf("%s, begun %v before, lost %v after it: %v", f.kind, fault.Sub(from),
				f.gone.Sub(fault), lost))
		}
	}
	x.forget()
	return c
}

// forget drops flows that have ended.
func (x *traffic) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	var left []*flow
	for _, f := range x.flows {
		if _, _, done, _ := f.state(); !done {
			left = append(left, f)
		}
	}
	x.flows = left
}

// ready waits until sessions of all kinds go on.
func (x *traffic) ready(t *testing.T) {
	t.Helper()
	testutil.Await(t, "sessions of all kinds", func() bool {
		going := map[string]int{}
		x.mu.Lock()
		defer x.mu.Unlock()
		for _, f := range x.flows {
			if from, _, done, _ := f.state(); !from.IsZero() && !done {
				going[f.kind]++
			}
		}
		return going["http"] >= httpFlows/2 && going["tcp"] == transfers && going["udp"] == datagrams
	})
}
