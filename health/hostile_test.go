package health

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"ulvs/internal/runner"
	"ulvs/internal/testutil"
	"ulvs/lvs"
)

// prober asks through the kernel.
func prober() *Prober { return &Prober{Dialer: AddressDialer{}, Runner: runner.New(4)} }

const patience = 300 * time.Millisecond // of a check whose server hangs

// patienceWith is how long a check waits that is to find want: what waits for nothing gets all the time that a busy
// machine may need.
func patienceWith(s *Spec, want Reason) time.Duration {
	silent := s.Kind == KindUDP && !s.RequireReply && want == "" // no answer is a good one
	if want == ReasonTimeout || silent {
		return patience
	}
	return testutil.AwaitLimit
}

// askAt resolves a check and asks the server at addr once; want is the reason that it is to find.
func askAt(t *testing.T, s Spec, addr netip.AddrPort, want Reason) Result {
	t.Helper()
	s.Via = ViaAddress
	if !s.Kind.connects() {
		s.Via = ""
	}
	if !s.ConnectTimeout.Set {
		s.ConnectTimeout = Some(patienceWith(&s, want))
	}
	c, err := NewCheck(s, Common{}, web())
	if err != nil {
		t.Fatal(err)
	}
	r := prober().Ask(t.Context(), Probe{Check: c, Target: TargetOf(&c.Spec, web(), addr, lvs.MethodDR)})
	if len(r.Detail) > MaxDetail || strings.ContainsAny(r.Detail, "\r\n\x00\x1b") {
		t.Errorf("detail is not one short line: %q", r.Detail)
	}
	if r.Latency > s.ConnectTimeout.Value+testutil.AwaitLimit {
		t.Errorf("it took %v", r.Latency)
	}
	return r
}

// serve accepts connections on loopback until the test ends, each with fn, and waits for all.
func serve(t *testing.T, fn func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(time.Minute)) // a probe that never ends fails the test by itself
				fn(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// serveUDP answers each datagram with what fn returns.
func serveUDP(t *testing.T, fn func(question []byte) [][]byte) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			b := make([]byte, 2048)
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			for _, reply := range fn(b[:n]) {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// closedPort is one where nobody listens.
func closedPort(t *testing.T) netip.AddrPort {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func wantReason(t *testing.T, what string, r Result, want Reason) {
	t.Helper()
	if r.Reason != want || r.OK != (want == "") {
		t.Errorf("%s: got %v (%s), want %q", what, r.OK, r.Words(), want)
	}
}

// say writes text and closes.
func say(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, text) }
}

// hang reads whatever comes and says nothing.
func hang(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// after reads a question first, so that closing is no reset.
func after(fn func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		fn(c)
	}
}

// flood writes text over and over, until the other side has enough.
func flood(head, text string) func(net.Conn) {
	return func(c net.Conn) {
		_, err := io.WriteString(c, head)
		for block := strings.Repeat(text, 1+4096/len(text)); err == nil; {
			_, err = io.WriteString(c, block)
		}
	}
}

// drip writes one byte at a time.
func drip(text string) func(net.Conn) {
	return func(c net.Conn) {
		for i := 0; ; i++ {
			if _, err := c.Write([]byte{text[i%len(text)]}); err != nil {
				return
			}
			time.Sleep(patience / 20)
		}
	}
}

// reset ends the connection with an RST.
func reset(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }

func TestTCPChecks(t *testing.T) {
	wantReason(t, "open", askAt(t, Spec{Kind: KindTCP}, serve(t, hang), ""), "")
	wantReason(t, "closed", askAt(t, Spec{Kind: KindTCP}, closedPort(t), ReasonRefused), ReasonRefused)
	wantReason(t, "flooding", askAt(t, Spec{Kind: KindTCP}, serve(t, flood("", "x")), ""), "")
	bound := Spec{Kind: KindTCP, BindTo: netip.MustParseAddr("127.0.0.7")}
	from := make(chan string, 1)
	wantReason(t, "bound", askAt(t, bound, serve(t, func(c net.Conn) { from <- c.RemoteAddr().String() }), ""), "")
	if got := <-from; !strings.HasPrefix(got, "127.0.0.7:") {
		t.Errorf("bound to 127.0.0.7, came from %s", got)
	}
	bound.BindTo = netip.MustParseAddr("192.0.2.77")
	wantReason(t, "bound to another host's address", askAt(t, bound, serve(t, hang), ReasonLocal), ReasonLocal)
}

// stuckDialer never connects.
type stuckDialer struct{}

func (stuckDialer) DialContext(ctx context.Context, _ string, _ Target) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAConnectionThatHangsTimesOut(t *testing.T) {
	for _, kind := range []Kind{KindTCP, KindHTTP, KindSMTP, KindDNS} {
		c := mustCheck(Spec{Kind: kind, URLs: urlsOf(kind), Common: Common{ConnectTimeout: Some(10 * time.Millisecond)}})
		p := &Prober{Dialer: stuckDialer{}}
		wantReason(t, string(kind), p.Ask(t.Context(), Probe{Check: c}), ReasonTimeout)
	}
}

func urlsOf(kind Kind) []URL {
	if kind == KindHTTP {
		return []URL{{Path: "/"}}
	}
	return nil
}

func TestTheEndOfTheEngineEndsAProbeWithoutBlame(t *testing.T) {
	for name, fn := range map[string]func(net.Conn){"hanging": hang, "dripping": drip("x")} {
		ctx, stop := context.WithCancel(t.Context())
		addr := serve(t, func(c net.Conn) { stop(); fn(c) })
		c := mustCheck(Spec{Kind: KindHTTP, URLs: urlsOf(KindHTTP), Common: Common{
			ConnectTimeout: Some(time.Minute), Via: ViaAddress,
		}})
		r := prober().Ask(ctx, Probe{Check: c, Target: TargetOf(&c.Spec, web(), addr, lvs.MethodDR)})
		wantReason(t, name, r, ReasonLocal)
	}
}

func TestSMTPChecks(t *testing.T) {
	t.Parallel()
	type step struct{ expect, answer string }
	play := func(banner string, steps ...step) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = io.WriteString(c, banner)
			for _, s := range steps {
				b := make([]byte, 512)
				n, err := c.Read(b)
				if err != nil || !strings.HasPrefix(string(b[:n]), s.expect) {
					return
				}
				_, _ = io.WriteString(c, s.answer)
			}
			hang(c)
		}
	}
	const banner = "220 mail.example ESMTP\r\n"
	ehlo := step{"EHLO me.example\r\n", "250-mail.example\r\n250-SIZE 1000\r\n250 HELP\r\n"}
	quit := step{"QUIT\r\n", "221 bye\r\n"}
	for _, c := range []struct {
		name string
		fn   func(net.Conn)
		want Reason
	}{
		{"good", play(banner, ehlo, quit), ""},
		{"only HELO", play(banner, step{"EHLO", "502 what?\r\n"}, step{"HELO me.example", "250 hello\r\n"}, quit), ""},
		{"busy", play("421 too busy\r\n"), ReasonRefusal},
		{"refuses names", play(banner, step{"EHLO", "550 no\r\n"}, step{"HELO", "550 no\r\n"}), ReasonRefusal},
		{"refuses to end", play(banner, ehlo, step{"QUIT", "500 stay\r\n"}), ReasonRefusal},
		{"silent", hang, ReasonTimeout},
		{"silent after the banner", play(banner), ReasonTimeout},
		{"drips", drip("220-x\r\n"), ReasonTimeout},
		{"garbage", say("\x00\xff\x80 nonsense\r\n"), ReasonGarbage},
		{"http", say("HTTP/1.0 200 OK\r\n\r\n"), ReasonGarbage},
		{"closes", func(net.Conn) {}, ReasonClosed},
		{"resets", reset, ReasonReset},
		{"endless banner", flood("", "220-more\r\n"), ReasonTooLong},
		{"endless line", flood("220 ", "x"), ReasonTooLong},
		{"endless EHLO", play(banner, step{"EHLO", strings.Repeat("250-x\r\n", 20000)}), ReasonTooLong},
	} {
		wantReason(t, c.name, askAt(t, Spec{Kind: KindSMTP, HeloName: "me.example"}, serve(t, c.fn), c.want), c.want)
	}
}

func TestUDPChecks(t *testing.T) {
	t.Parallel()
	reply := func(b ...string) func([]byte) [][]byte {
		return func([]byte) (list [][]byte) {
			for _, text := range b {
				list = append(list, []byte(text))
			}
			return list
		}
	}
	must := Spec{Kind: KindUDP, RequireReply: true, Payload: "70696e67"}
	match := must
	match.Reply = "706f6eX7"
	for _, c := range []struct {
		name string
		spec Spec
		fn   func([]byte) [][]byte
		want Reason
	}{
		{"silence is good", Spec{Kind: KindUDP}, reply(), ""},
		{"a reply is good", Spec{Kind: KindUDP}, reply("x"), ""},
		{"a reply is needed", must, reply(), ReasonTimeout},
		{"any reply", must, reply("x"), ""},
		{"an empty reply", must, reply(""), ""},
		{"the right reply", match, reply("pong and more"), ""},
		{"the wrong reply", match, reply("pony"), ReasonReply},
		{"a short reply", match, reply("pon"), ReasonReply},
		{"an empty reply to a pattern", match, reply(""), ReasonReply},
		{"a reply of 255 bytes", must, reply(strings.Repeat("x", 255)), ""},
		{"a longer reply", must, reply(strings.Repeat("x", 256)), ReasonTooLong},
	} {
		wantReason(t, c.name, askAt(t, c.spec, serveUDP(t, c.fn), c.want), c.want)
	}
	got := make(chan string, 2)
	keep := func(b []byte) [][]byte { got <- string(b); return [][]byte{b} }
	askAt(t, must, serveUDP(t, keep), "")
	askAt(t, Spec{Kind: KindUDP}, serveUDP(t, keep), "")
	if a, b := <-got, <-got; a != "ping" || len(b) != randomPayload {
		t.Errorf("sent %q and %d bytes", a, len(b))
	}
	wantReason(t, "port unreachable", askAt(t, Spec{Kind: KindUDP}, closedPort(t), ReasonRefused), ReasonRefused)
}

func TestDNSChecks(t *testing.T) {
	t.Parallel()
	// answer turns a question around: QR, and the code in the flags.
	answer := func(q []byte, code byte) []byte {
		a := bytes.Clone(q)
		a[2] |= 0x80
		a[3] = a[3]&0xf0 | code
		return a
	}
	other := func(q []byte) []byte {
		a := answer(q, 0)
		binary.BigEndian.PutUint16(a, binary.BigEndian.Uint16(a)+1)
		return a
	}
	many := func(one []byte) (list [][]byte) {
		for range 200 {
			list = append(list, one)
		}
		return list
	}
	asked := make(chan []byte, 1)
	for _, c := range []struct {
		name string
		fn   func(q []byte) [][]byte
		want Reason
	}{
		{"empty NOERROR", func(q []byte) [][]byte { asked <- q; return [][]byte{answer(q, 0)} }, ""},
		{"SERVFAIL", func(q []byte) [][]byte { return [][]byte{answer(q, 2)} }, ReasonRefusal},
		{"NXDOMAIN", func(q []byte) [][]byte { return [][]byte{answer(q, 3)} }, ReasonRefusal},
		{"unknown code", func(q []byte) [][]byte { return [][]byte{answer(q, 15)} }, ReasonRefusal},
		{"silence", func([]byte) [][]byte { return nil }, ReasonTimeout},
		{"the question itself", func(q []byte) [][]byte { return [][]byte{q} }, ReasonTimeout},
		{"another id, then ours", func(q []byte) [][]byte { return [][]byte{other(q), {}, {1}, answer(q, 0)} }, ""},
		{"garbage", func([]byte) [][]byte { return many([]byte("garbage")) }, ReasonGarbage},
		{"a flood of other ids", func(q []byte) [][]byte { return many(other(q)) }, ReasonGarbage},
	} {
		s := Spec{Kind: KindDNS, Name: "example.org", Record: "AAAA"}
		wantReason(t, c.name, askAt(t, s, serveUDP(t, c.fn), c.want), c.want)
	}
	if q := <-asked; !bytes.Contains(q, []byte("\x07example\x03org\x00\x00\x1c\x00\x01")) {
		t.Errorf("asked %q", q)
	}
	wantReason(t, "port unreachable", askAt(t, Spec{Kind: KindDNS}, closedPort(t), ReasonRefused), ReasonRefused)
}

func TestDetailsAreOneShortLine(t *testing.T) {
	for in, want := range map[string]string{
		"a\r\nb\x00\x1b[31mc": "a  b  [31mc", "\xff\xfe": "?", " x ": "x",
		strings.Repeat("é", 200): strings.Repeat("é", 98) + "...",
	} {
		if got := oneLine(in); got != want || len(got) > MaxDetail {
			t.Errorf("%q: got %q", in, got)
		}
	}
	got := (&Result{OK: true}).Words() + ", " + (&Result{Reason: ReasonTimeout}).Words()
	if got != "ok, timeout" {
		t.Errorf("got %q", got)
	}
}
