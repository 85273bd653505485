package restart

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/test/lab"
)

// flow is a connection to an echo behind a VIP, which says whose it is.
type flow struct {
	network string
	conn    net.Conn
	r       *bufio.Reader
	server  string // who answered first
	said    int
}

// answerLimit bounds one answer; TCP sends again after the director was away.
const answerLimit = testutil.AwaitLimit

// open makes n flows over a network through the service of a method.
func open(t *testing.T, l *lab.Lab, network string, m lvs.Method, n int) (flows []*flow) {
	t.Helper()
	addrs := l.Addresses()
	to := netip.AddrPortFrom(addrs.VIP(m).IPv4, lab.PortEcho).String()
	for range n {
		f := &flow{network: network}
		if err := l.Do("c1", func() (err error) {
			f.conn, err = net.Dial(network, to)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.conn.Close() })
		f.r = bufio.NewReaderSize(f.conn, 1<<12)
		if err := f.exchange(); err != nil {
			t.Fatalf("%s through %s: %v", network, m, err)
		}
		flows = append(flows, f)
	}
	return flows
}

// exchange says something and wants it back from the server that answered first.
func (f *flow) exchange() error {
	f.said++
	text := fmt.Sprintf("line %d\n", f.said)
	if f.network == "udp" {
		return f.datagram(text)
	}
	if err := errors.Join(f.conn.SetDeadline(time.Now().Add(answerLimit)), f.write(text)); err != nil {
		return err
	}
	if f.server == "" {
		name, err := f.r.ReadString('\n')
		if err != nil {
			return err
		}
		f.server = name
	}
	back, err := f.r.ReadString('\n')
	if err == nil && back != text {
		err = fmt.Errorf("said %q, and %q came back", text, back)
	}
	return err
}

func (f *flow) write(text string) error {
	_, err := f.conn.Write([]byte(text))
	return err
}

// datagram asks until it is answered: one may be lost while there is no director.
func (f *flow) datagram(text string) error {
	buf := make([]byte, 256)
	for end := time.Now().Add(answerLimit); time.Now().Before(end); {
		if err := f.conn.SetDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			return err
		}
		_ = f.write(text) // refused now and then while there is no director
		n, err := f.conn.Read(buf)
		name, back, ok := strings.Cut(string(buf[:n]), "\n")
		if err != nil || !ok || back != text {
			continue // lost, or the answer to an earlier one
		}
		if f.server == "" {
			f.server = name
		}
		if f.server != name {
			return fmt.Errorf("%s answered, and %s before", name, f.server)
		}
		return nil
	}
	return errors.New("no answer")
}

// goOn wants every flow to be answered by its server.
func goOn(t *testing.T, flows []*flow) {
	t.Helper()
	for i, f := range flows {
		if err := f.exchange(); err != nil {
			t.Errorf("flow %d (%s, to %s): %v", i, f.network, strings.TrimSpace(f.server), err)
		}
	}
}

// probe sends a numbered datagram every millisecond through one session, and notes what comes back.
type probe struct {
	lab      *lab.Lab
	conn     net.Conn
	stop     chan struct{}
	done     chan struct{}
	answered chan struct{} // closed by the first answer
	over     atomic.Int64  // how many were sent, once no more will be
	full     uint64        // datagrams that full sockets had lost before
	sent     []time.Time
	back     []time.Time // zero: lost
}

const probeEvery = time.Millisecond

// startProbe returns once the first answer is back: from then on the probe's session is in the table.
func startProbe(t *testing.T, l *lab.Lab, m lvs.Method) *probe {
	t.Helper()
	p := &probe{lab: l, stop: make(chan struct{}), done: make(chan struct{}), answered: make(chan struct{})}
	p.full = overflowed(t, l)
	addrs := l.Addresses()
	to := netip.AddrPortFrom(addrs.VIP(m).IPv4, lab.PortEcho).String()
	if err := l.Do("c1", func() (err error) { p.conn, err = net.Dial("udp", to); return err }); err != nil {
		t.Fatal(err)
	}
	received := make(chan map[int]time.Time, 1)
	go func() { received <- p.receive() }()
	go p.run(received)
	select {
	case <-p.answered:
	case <-time.After(testutil.AwaitLimit):
		t.Fatal("the probe was never answered")
	}
	return p
}

func (p *probe) run(received <-chan map[int]time.Time) {
	defer close(p.done)
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-p.stop:
			running = false
		case <-tick.C:
			p.sent = append(p.sent, time.Now())
			_, _ = fmt.Fprintf(p.conn, "%d", len(p.sent)-1)
		}
	}
	p.over.Store(int64(len(p.sent)))
	_ = p.conn.SetReadDeadline(time.Now()) // receive looks whether something is still on its way
	got := <-received
	p.back = make([]time.Time, len(p.sent))
	for i, at := range got {
		p.back[i] = at
	}
}

// receive ends when everything is back, or when nothing more comes for a second.
func (p *probe) receive() map[int]time.Time {
	got, buf, late := map[int]time.Time{}, make([]byte, 256), -1
	for {
		n, err := p.conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if len(got) >= int(p.over.Load()) || len(got) == late {
				return got
			}
			late = len(got)
			_ = p.conn.SetReadDeadline(time.Now().Add(time.Second))
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return got
		}
		_, text, ok := strings.Cut(string(buf[:n]), "\n")
		var i int
		if _, err := fmt.Sscan(text, &i); ok && err == nil {
			if len(got) == 0 {
				close(p.answered)
			}
			got[i] = time.Now()
		}
	}
}

// end stops the probe, and returns how many datagrams were sent and lost, and the longest time without an answer.
func (p *probe) end() (sent, lost int, gap time.Duration) {
	close(p.stop)
	<-p.done
	p.conn.Close()
	last := p.sent[0]
	for i, at := range p.back {
		if at.IsZero() {
			lost++
			continue
		}
		gap = max(gap, p.sent[i].Sub(last))
		last = p.sent[i]
	}
	return len(p.sent), lost, gap
}

// overflowed counts datagrams that a kernel threw away in c1 or at a real server because nobody read them in time:
// a busy machine's matter, and not the director's.
func overflowed(t *testing.T, l *lab.Lab) (n uint64) {
	t.Helper()
	names := []string{"c1"}
	for _, r := range l.Addresses().Reals {
		names = append(names, r.Name)
	}
	for _, ns := range names {
		one, err := l.Counter(ns, "/proc/thread-self/net/snmp", "Udp:", "RcvbufErrors")
		if err != nil {
			t.Fatal(err)
		}
		n += one
	}
	return n
}

// wantsFew wants no more datagrams lost than a busy machine's links may lose by themselves, 0 being what is seen. New
// sockets lose a hundred. It ends the probe.
func (p *probe) wantsFew(t *testing.T, what string) {
	t.Helper()
	sent, lost, gap := p.end()
	full := int(overflowed(t, p.lab) - p.full)
	t.Logf("%s; probe: %d of %d lost, %d of them by full sockets, %v without an answer", what, lost, sent, full, gap)
	if lost-full > 5+sent/200 {
		t.Errorf("%d of %d datagrams lost, %d of them by full sockets", lost, sent, full)
	}
}
