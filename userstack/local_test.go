package userstack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ulvs/dataplane"
	"ulvs/internal/testutil"
	"ulvs/lvs"
)

// localWorld has a service whose only real server is at address on this host.
func localWorld(tb testing.TB, proto uint8, vip, address string) *world {
	return newWorld(tb, service(proto, vip, real(address, lvs.MethodNAT)))
}

// dialVIP connects the host to a VIP as a client does.
func (w *world) dialVIP(proto uint8, from, vip string) (net.Conn, error) {
	src, dst := full(netip.MustParseAddrPort(from)), full(netip.MustParseAddrPort(vip))
	network := family(netip.MustParseAddrPort(vip).Addr())
	if proto == lvs.ProtoUDP {
		return gonet.DialUDP(w.host, &src, &dst, network)
	}
	ctx, cancel := context.WithTimeout(context.Background(), testutil.AwaitLimit)
	defer cancel()
	return gonet.DialTCPWithBind(ctx, w.host, src, dst, network)
}

func TestAClientTalksToAServerOnThisHost(t *testing.T) {
	for name, at := range map[string]struct {
		vip, client, real string
		method            lvs.Method
	}{
		"ipv4":     {"192.0.2.10", "198.51.100.7:40000", "127.0.0.1", lvs.MethodDR},
		"ipv6":     {"[2001:db8::10]", "[2001:db8::7]:40000", "[::1]", lvs.MethodDR}, // the bed dials 127.0.0.1
		"ipv4 nat": {"192.0.2.10", "198.51.100.7:40000", "127.0.0.1", lvs.MethodNAT},
		"ipv4 tun": {"192.0.2.10", "198.51.100.7:40000", "127.0.0.1", lvs.MethodTUN},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go answerUpper(l)
			port := l.Addr().String()[len("127.0.0.1"):]
			w := newWorld(t, service(lvs.ProtoTCP, at.vip+port, real(at.real+port, at.method)))
			c, err := w.dialVIP(lvs.ProtoTCP, at.client, at.vip+port)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			said := bytes.Repeat([]byte("the quick brown fox "), 20000)
			go func() {
				c.Write(said)
				c.(*gonet.TCPConn).CloseWrite()
			}()
			c.SetReadDeadline(time.Now().Add(testutil.AwaitLimit))
			heard, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(heard, bytes.ToUpper(said)) {
				t.Fatalf("%d bytes came back of %d, %v", len(heard), len(said), err)
			}
			w.checkLocal()
		})
	}
}

// answerUpper answers each connection with what it said, in capitals.
func answerUpper(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			b, _ := io.ReadAll(c)
			c.Write(bytes.ToUpper(b))
		}()
	}
}

// checkLocal checks that a session counted for its service both ways and that every packet has a verdict.
func (w *world) checkLocal() {
	w.tb.Helper()
	testutil.Await(w.tb, "the local session to end", func() bool { return w.stack.LocalStats().Open == 0 })
	var d dataplane.DestStats
	testutil.Await(w.tb, "packets counted as they went", func() bool { // the last of them may be under way
		d = w.worker.Stats().Service(1)
		return d.InPackets == w.verdict(dataplane.Local) && d.OutPackets == w.verdict(dataplane.TxLocal)
	})
	if d.Conns != 1 {
		w.tb.Errorf("counted %+v", d)
	}
	if s := w.stack.LocalStats(); s.Accepted != 1 || s.Refused != 0 || s.Unreachable != 0 {
		w.tb.Errorf("the stack counted %+v", s)
	}
}

func TestAClientIsResetWhenTheServerOnThisHostIsDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // its port is closed now
	w := localWorld(t, lvs.ProtoTCP, "192.0.2.10:80", l.Addr().String())
	c, err := w.dialVIP(lvs.ProtoTCP, "198.51.100.7:40000", "192.0.2.10:80")
	if err == nil { // the reset may come before the client sees that it is connected
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(testutil.AwaitLimit))
		_, err = c.Read(make([]byte, 1))
	}
	if err == nil || !strings.Contains(err.Error(), "reset") {
		t.Fatalf("the client sees %v, want a reset", err)
	}
	if s := w.stack.LocalStats(); s.Unreachable != 1 {
		t.Errorf("the stack counted %+v", s)
	}
}

func TestDatagramsReachAServerOnThisHost(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			server.WriteTo(bytes.ToUpper(b[:n]), from)
		}
	}()
	w := localWorld(t, lvs.ProtoUDP, "192.0.2.10:53", server.LocalAddr().String())
	c, err := w.dialVIP(lvs.ProtoUDP, "198.51.100.7:40000", "192.0.2.10:53")
	if err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{"one", "two"} {
		c.Write([]byte(says))
		b := make([]byte, 100)
		c.SetReadDeadline(time.Now().Add(testutil.AwaitLimit))
		if n, err := c.Read(b); err != nil || string(b[:n]) != strings.ToUpper(says) {
			t.Fatalf("answered %q, %v", b[:n], err)
		}
	}
	if s := w.stack.LocalStats(); s.Open != 1 || s.Accepted != 1 {
		t.Errorf("two datagrams of one client: %+v", s)
	}
}

func TestSessionsBeyondTheLimitAreReset(t *testing.T) {
	w := localWorld(t, lvs.ProtoTCP, "192.0.2.10:80", "127.0.0.1:9")
	l := &w.stack.local
	l.mu.Lock()
	for i := range LocalLimit {
		l.sessions[stack.TransportEndpointID{RemotePort: uint16(i)}] = netip.MustParseAddrPort("127.0.0.1:9")
	}
	l.mu.Unlock()
	_, err := w.dialVIP(lvs.ProtoTCP, "198.51.100.7:40000", "192.0.2.10:80")
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Fatalf("one more than %d: %v, want refused", LocalLimit, err)
	}
	if s := w.stack.LocalStats(); s.Refused != 1 {
		t.Errorf("the stack counted %+v", s)
	}
}

func TestAStackThatIsClosedEndsItsSessions(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w := localWorld(t, lvs.ProtoTCP, "192.0.2.10:80", l.Addr().String())
	c, err := w.dialVIP(lvs.ProtoTCP, "198.51.100.7:40000", "192.0.2.10:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	w.stack.Close()
	server.SetReadDeadline(time.Now().Add(testutil.AwaitLimit))
	if _, err := server.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the server sees %v, want the end", err)
	}
}
