package userstack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ulvs/dataplane"
	"ulvs/internal/testutil"
	"ulvs/lvs"
)

func family(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is6() {
		return header.IPv6ProtocolNumber
	}
	return header.IPv4ProtocolNumber
}

// serveTCP has the host answer every connection to at with what it says and the address that it was called by.
func (w *world) serveTCP(at netip.AddrPort) {
	w.tb.Helper()
	l, err := gonet.ListenTCP(w.host, tcpip.FullAddress{NIC: 1, Port: at.Port()}, family(at.Addr()))
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				says := " at " + c.LocalAddr().String() + " from " + c.RemoteAddr().(*net.TCPAddr).IP.String()
				b := make([]byte, 100)
				n, _ := c.Read(b)
				c.Write(append(b[:n:n], says...))
			}()
		}
	}()
}

// serveUDP does the same for datagrams.
func (w *world) serveUDP(at netip.AddrPort) {
	w.tb.Helper()
	local := full(at) // a datagram needs a source, and the host has no address that is its own
	c, err := gonet.DialUDP(w.host, &local, nil, family(at.Addr()))
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			c.WriteTo(append(b[:n:n], " from "+from.(*net.UDPAddr).IP.String()...), from)
		}
	}()
}

func ask(tb testing.TB, c net.Conn) string {
	tb.Helper()
	defer c.Close()
	c.SetDeadline(time.Now().Add(testutil.AwaitLimit))
	if _, err := c.Write([]byte("hello")); err != nil {
		tb.Fatal(err)
	}
	if c.RemoteAddr().Network() == "tcp" {
		b, err := io.ReadAll(c)
		if err != nil {
			tb.Fatal(err)
		}
		return string(b)
	}
	b := make([]byte, 2048)
	n, err := c.Read(b)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b[:n])
}

// path is one way to a real server.
type path struct {
	name      string
	vip, real string
	method    lvs.Method
	tunnel    lvs.Tunnel
	answers   string // where the real server is spoken to
	from      string
}

var paths = []path{
	{name: "dr", vip: "192.0.2.10:80", real: "10.0.0.1:80", method: lvs.MethodDR,
		answers: "192.0.2.10:80", from: "10.0.0.10"},
	{name: "dr6", vip: "[2001:db8::10]:80", real: "[fd00::1]:80", method: lvs.MethodDR,
		answers: "[2001:db8::10]:80", from: "fd00::10"},
	{name: "nat", vip: "192.0.2.10:80", real: "10.0.0.1:8080", method: lvs.MethodNAT,
		answers: "10.0.0.1:8080", from: "192.0.0.8"},
	{name: "nat6", vip: "[2001:db8::10]:80", real: "[fd00::1]:8080", method: lvs.MethodNAT,
		answers: "[fd00::1]:8080", from: "100::8"},
	{name: "ipip", vip: "192.0.2.10:80", real: "10.0.0.1:80", method: lvs.MethodTUN,
		answers: "192.0.2.10:80", from: "10.0.0.10"},
	{name: "gre", vip: "192.0.2.10:80", real: "10.0.0.1:80", method: lvs.MethodTUN,
		tunnel: lvs.Tunnel{Type: lvs.TunnelGRE}, answers: "192.0.2.10:80", from: "10.0.0.10"},
	{name: "gue", vip: "192.0.2.10:80", real: "10.0.0.1:80", method: lvs.MethodTUN,
		tunnel: lvs.Tunnel{Type: lvs.TunnelGUE, Port: 6080}, answers: "192.0.2.10:80", from: "10.0.0.10"},
	{name: "ipip6", vip: "[2001:db8::10]:80", real: "[fd00::1]:80", method: lvs.MethodTUN,
		answers: "[2001:db8::10]:80", from: "fd00::10"},
	{name: "4in6", vip: "192.0.2.10:80", real: "[fd00::1]:80", method: lvs.MethodTUN,
		answers: "192.0.2.10:80", from: "10.0.0.10"},
}

func (p path) spec(proto uint8) (dataplane.ProbeSpec, lvs.Service) {
	d := real(p.real, p.method)
	d.Tunnel = p.tunnel
	d.Weight = 0 // as that of a real server that is down
	return dataplane.ProbeSpec{
		Proto: proto, From: netip.MustParseAddr(p.from), To: netip.MustParseAddrPort(p.vip), Real: &d, Source: own(d.Addr),
	}, service(proto, p.vip, d)
}

func TestAProbeReachesTheRealServerByItsMethodAndIsAnswered(t *testing.T) {
	for _, p := range paths {
		for name, proto := range map[string]uint8{"tcp": lvs.ProtoTCP, "udp": lvs.ProtoUDP} {
			t.Run(p.name+"/"+name, func(t *testing.T) {
				spec, svc := p.spec(proto)
				w := newWorld(t, svc)
				w.repeatNothing()
				at := netip.MustParseAddrPort(p.answers)
				want := "hello from " + p.from
				if proto == lvs.ProtoTCP {
					w.serveTCP(at)
					want = "hello at " + p.answers + " from " + p.from
				} else {
					w.serveUDP(at)
				}
				c, err := w.stack.Dial(context.Background(), spec)
				if err != nil {
					t.Fatal(err)
				}
				if got := ask(t, c); got != want {
					t.Errorf("the real server said %q, want %q", got, want)
				}
				w.awaitEnd()
				w.leftNothing()
			})
		}
	}
}

// awaitEnd waits until the last probe has given its port back.
func (w *world) awaitEnd() {
	w.tb.Helper()
	testutil.Await(w.tb, "the probe's port to be free", func() bool {
		open, _, _ := w.stack.Probes().Stats()
		return open == 0
	})
}

// leftNothing checks that the probe was no session and counted for no service, and that no frame was lost.
func (w *world) leftNothing() {
	w.tb.Helper()
	st := w.worker.Stats()
	if d := st.Service(1); d != (dataplane.DestStats{}) {
		w.tb.Errorf("the probe counted for the service: %+v", d)
	}
	for v := range dataplane.NumCounters {
		if v := dataplane.Verdict(v); v.IsDrop() && st.Verdict(v) != 0 {
			w.tb.Errorf("%d times %s", st.Verdict(v), v)
		}
	}
	testutil.Await(w.tb, "a verdict for each frame", func() bool { // the last may be under way
		var sum uint64
		for v := range dataplane.NumCounters {
			sum += st.Verdict(dataplane.Verdict(v))
		}
		return st.Received()+st.Own() == sum
	})
	if w.verdict(dataplane.TxProbe) == 0 || w.verdict(dataplane.ProbeAnswer) == 0 {
		w.tb.Errorf("%d probe packets went, %d came", w.verdict(dataplane.TxProbe), w.verdict(dataplane.ProbeAnswer))
	}
	testutil.Await(w.tb, "the worker to keep no frame", func() bool { return w.queue.Lent() == 0 })
}

func TestAProbeIsRefusedWhereNobodyListens(t *testing.T) {
	for _, p := range paths {
		t.Run(p.name, func(t *testing.T) {
			spec, svc := p.spec(lvs.ProtoTCP)
			w := newWorld(t, svc)
			_, err := w.stack.Dial(context.Background(), spec)
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatalf("the error is %v, want connection refused", err)
			}
			w.awaitEnd()
		})
	}
}

func TestAUDPProbeHearsOfAClosedPort(t *testing.T) {
	for _, p := range paths {
		t.Run(p.name, func(t *testing.T) {
			spec, svc := p.spec(lvs.ProtoUDP)
			w := newWorld(t, svc)
			at := netip.MustParseAddrPort(p.answers).Addr()
			if err := w.host.AddProtocolAddress(1, tcpip.ProtocolAddress{ // errors come from an address of one's own
				Protocol: family(at), AddressWithPrefix: tcpip.AddrFromSlice(at.AsSlice()).WithPrefix(),
			}, stack.AddressProperties{}); err != nil {
				t.Fatal(err)
			}
			c, err := w.stack.Dial(context.Background(), spec)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(testutil.AwaitLimit))
			c.Write([]byte("hello"))
			if _, err := c.Read(make([]byte, 10)); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatalf("the error is %v, want connection refused", err)
			}
		})
	}
}

func TestAProbeThatIsLostEndsWithItsContext(t *testing.T) {
	spec, svc := paths[0].spec(lvs.ProtoTCP)
	w := newWorld(t, svc)
	ctx, cancel := context.WithCancel(context.Background())
	lose := func([]byte) bool { cancel(); return false }
	w.seen.Store(&lose)
	if _, err := w.stack.Dial(ctx, spec); !errors.Is(err, context.Canceled) {
		t.Fatalf("the error is %v", err)
	}
}

func TestAProbeThatCouldNotBeSentSaysWhy(t *testing.T) {
	spec, svc := paths[0].spec(lvs.ProtoTCP)
	w := newWorld(t, svc)
	next := *w.snap.Load()
	next.Hops = []dataplane.Hop{{}, {State: dataplane.HopUnresolved}}
	next.Generation++
	w.snap.Store(&next)
	ctx := overtaken{t.Context(), make(chan struct{})}
	go func() {
		for w.verdict(dataplane.DropNeighbour) == 0 && t.Context().Err() == nil { // the worker tried, and gave up
			time.Sleep(time.Millisecond)
		}
		close(ctx.done)
	}()
	_, err := w.stack.Dial(ctx, spec)
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("not sent, drop_neighbour")) {
		t.Fatalf("the error is %v", err)
	}
}

// overtaken is a context whose time is over when done is closed.
type overtaken struct {
	context.Context
	done chan struct{}
}

func (o overtaken) Done() <-chan struct{} { return o.done }

func (o overtaken) Err() error {
	select {
	case <-o.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestProbesAreAsManyAsThereArePorts(t *testing.T) {
	probes := dataplane.NewProbes(61440, 61441)
	spec, _ := paths[0].spec(lvs.ProtoTCP)
	first, err := probes.Open(spec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := probes.Open(spec); err != nil {
		t.Fatal(err)
	}
	if _, err := probes.Open(spec); !errors.Is(err, dataplane.ErrProbeLimit) {
		t.Fatalf("a third probe of two ports: %v", err)
	}
	probes.Close(first)
	if again, err := probes.Open(spec); err != nil || again.From.Port() != 61440 {
		t.Fatalf("the port that was given back: %v, %v", again, err)
	}
	if open, limit, refused := probes.Stats(); open != 2 || limit != 2 || refused != 1 {
		t.Errorf("%d of %d open, %d refused", open, limit, refused)
	}
}
