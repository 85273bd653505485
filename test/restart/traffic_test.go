package restart

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
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
const answerLimit = 20 * time.Second

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
		if err := errors.Join(f.conn.SetDeadline(time.Now().Add(200*time.Millisecond)), f.write(text)); err != nil {
			return err
		}
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
	conn     net.Conn
	stop     chan struct{}
	done     chan struct{}
	answered chan struct{} // closed by the first answer
	sent     []time.Time
	back     []time.Time // zero: lost
}

const probeEvery = time.Millisecond

// startProbe returns once the first answer is back: from then on the probe's session is in the table.
func startProbe(t *testing.T, l *lab.Lab, m lvs.Method) *probe {
	t.Helper()
	p := &probe{stop: make(chan struct{}), done: make(chan struct{}), answered: make(chan struct{})}
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
	_ = p.conn.SetReadDeadline(time.Now().Add(time.Second)) // for what is still on its way
	got := <-received
	p.back = make([]time.Time, len(p.sent))
	for i, at := range got {
		p.back[i] = at
	}
}

func (p *probe) receive() map[int]time.Time {
	got, buf := map[int]time.Time{}, make([]byte, 256)
	for {
		n, err := p.conn.Read(buf)
		if errors.Is(err, net.ErrClosed) || err != nil && strings.Contains(err.Error(), "timeout") {
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
