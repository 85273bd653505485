package load

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ulvs/internal/testutil"
)

// serve starts a server on a free port: TCP's is free, and UDP's may be somebody else's.
func serve(t *testing.T) (at netip.AddrPort) {
	t.Helper()
	var s *Server
	var err error
	for range 10 {
		l, lerr := net.Listen("tcp", "127.0.0.1:0")
		if lerr != nil {
			t.Fatal(lerr)
		}
		at = netip.MustParseAddrPort(l.Addr().String())
		_ = l.Close()
		if s, err = Listen(at.Port()); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.Close()
	})
	return at
}

// tries is how often something short is made again, each time twice as long: a busy machine may let all of its time
// pass. Of ten runs on a CPU that ten processes wanted, three let 0.3 s pass so.
const tries = 5

// runAnswered is Run, until something is answered; nothing is given up that only is late.
func runAnswered(t *testing.T, o Options) (r *Report, err error) {
	o.Timeout = testutil.AwaitLimit
	for range tries {
		if r, err = Run(t.Context(), o); err != nil || r.Ops > 0 {
			break
		}
		o.Duration *= 2
	}
	return r, err
}

func TestConnectionsAndRequestsAreAnswered(t *testing.T) {
	at := serve(t)
	for _, m := range []Mode{Connect, Request} {
		for _, size := range []int{1, 1000} {
			o := Options{Targets: []netip.AddrPort{at}, Mode: m, Parallel: 8, Size: size, Duration: 300 * time.Millisecond}
			o.Sources = []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")}
			r, err := runAnswered(t, o)
			if err != nil || r.Ops == 0 || r.Failed != 0 || r.Latency.P50 <= 0 || r.Latency.Max < r.Latency.P999 {
				t.Errorf("%s of %d bytes: %+v, %v", m, size, r, err)
			}
		}
	}
}

func TestIdleConnectionsStay(t *testing.T) {
	at := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready := 0
	r, err := Hold(ctx, Options{Targets: []netip.AddrPort{at}, Parallel: 500}, func(n int) { ready = n; cancel() })
	if err != nil || ready != 500 || r.Ops != 500 || r.Failed != 0 {
		t.Errorf("%d ready: %+v, %v", ready, r, err)
	}
}

func TestHTTPServersAreDriven(t *testing.T) {
	for _, size := range []int{0, 10, 100_000} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			_, _ = w.Write(make([]byte, size))
		}))
		at := netip.MustParseAddrPort(srv.Listener.Addr().String())
		for _, m := range []Mode{Connect, Request} {
			o := Options{Targets: []netip.AddrPort{at}, Mode: m, Parallel: 4, HTTP: true, Duration: 300 * time.Millisecond}
			if r, err := runAnswered(t, o); err != nil || r.Ops == 0 || r.Failed != 0 {
				t.Errorf("%s of %d bytes: %+v, %v", m, size, r, err)
			}
		}
		srv.Close()
	}
}

func TestNobodyThereIsCounted(t *testing.T) {
	o := Options{Targets: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}, Duration: 250 * time.Millisecond}
	for _, m := range []Mode{Connect, Request, Idle} {
		o.Mode = m
		r, err := Run(t.Context(), o)
		if err != nil || r.Ops != 0 || r.Failed == 0 || r.Errors["connection refused"] == 0 {
			t.Errorf("%s: %+v, %v", m, r, err)
		}
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	at := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:80")}
	for _, o := range []Options{
		{}, {Targets: []netip.AddrPort{{}}}, {Targets: at, Mode: "x"}, {Targets: at, Parallel: -1},
		{Targets: at, Size: maxSize + 1},
	} {
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

func TestDatagramsAreSentAtTheRate(t *testing.T) {
	at := serve(t)
	o := SendOptions{Targets: []netip.AddrPort{at}, Rate: 20_000, Flows: 4, Size: 18, Duration: 200 * time.Millisecond}
	r, err := Send(t.Context(), o)
	for i := 0; i < tries && err == nil && r.Sent == 0; i++ {
		o.Duration *= 2
		r, err = Send(t.Context(), o)
	}
	if err != nil || r.Sent == 0 || r.Sent > int(o.Duration.Seconds()*float64(o.Rate))+100 {
		t.Errorf("%+v, %v; want at most the rate", r, err)
	}
	if _, err := Send(t.Context(), SendOptions{}); err == nil {
		t.Error("nothing to send is taken")
	}
}

// FuzzAnswerLength: no answer makes a client panic or wait for less than it has read.
func FuzzAnswerLength(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
	f.Add("HTTP/1.1 200 OK\r\ncontent-length:-3\r\n\r\n")
	f.Add("\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		n := answerLength([]byte(text))
		head := strings.Index(text, "\r\n\r\n")
		if (head < 0) != (n == 0) || head >= 0 && n < head+4 {
			t.Errorf("%q: %d bytes, the header ends at %d", text, n, head)
		}
	})
}
