package health

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/md5"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func page200(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func md5Of(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestHTTPChecksJudgeTheAnswer(t *testing.T) {
	redirect := "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
	chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n6\r\n good!\r\n0\r\n\r\n"
	for _, c := range []struct {
		name   string
		url    URL
		answer string
		want   Reason
	}{
		{"200", URL{}, page200(""), ""},
		{"204 without length", URL{}, "HTTP/1.0 204 No Content\r\n\r\n", ""},
		{"299", URL{}, "HTTP/1.1 299 Odd\r\n\r\n", ""},
		{"300", URL{}, "HTTP/1.1 300 Odd\r\n\r\n", ReasonStatus},
		{"a redirect is not followed", URL{}, redirect, ReasonStatus},
		{"a redirect can be right", URL{StatusCode: "302"}, redirect, ""},
		{"500", URL{}, "HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n", ReasonStatus},
		{"503 is asked for", URL{StatusCode: "200-299 500-503"}, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", ""},
		{"interim answers", URL{}, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n" + page200("x"), ""},
		{"digest", URL{Digest: strings.ToUpper(md5Of("all good!"))}, page200("all good!"), ""},
		{"digest of chunks", URL{Digest: md5Of("all good!")}, chunked, ""},
		{"digest until close", URL{Digest: md5Of("all")}, "HTTP/1.0 200 OK\r\n\r\nall", ""},
		{"another digest", URL{Digest: md5Of("x")}, page200("y"), ReasonDigest},
		{"regex", URL{Regex: `(?i)GOOD[!]`}, page200("all\ngood!"), ""},
		{"no match", URL{Regex: `bad`}, page200("all good!"), ReasonRegex},
		{"HTTP/0.9", URL{}, "hello", ReasonGarbage},
		{"binary", URL{}, "\x16\x03\x01\x00\xff\xfe", ReasonGarbage},
		{"a broken header", URL{}, "HTTP/1.1 200 OK\r\nno colon here\r\n\r\n", ReasonGarbage},
		{"a broken length", URL{}, "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", ReasonGarbage},
		{"broken chunks", URL{}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ReasonGarbage},
		{"closes in the header", URL{}, "HTTP/1.1 200 OK\r\nA: b", ReasonClosed},
		{"closes in the body", URL{}, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", ReasonClosed},
		{"closes", URL{}, "", ReasonClosed},
	} {
		c.url.Path = "/health"
		r := askAt(t, Spec{Kind: KindHTTP, URLs: []URL{c.url}}, serve(t, after(say(c.answer))), c.want)
		wantReason(t, c.name, r, c.want)
	}
}

func TestHTTPChecksSurviveHostileServers(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\n"
	for _, c := range []struct {
		name string
		fn   func(net.Conn)
		want Reason
	}{
		{"silence", hang, ReasonTimeout},
		{"a reset", after(reset), ReasonReset},
		{"silence in the body", after(func(c net.Conn) {
			say(head + "Content-Length: 9\r\n\r\nx")(c)
			hang(c)
		}), ReasonTimeout},
		{"a dripping header", after(drip("HTTP/1.1 200 OK")), ReasonTimeout},
		{"a dripping body", after(func(c net.Conn) { say(head + "\r\n")(c); drip("x")(c) }), ReasonTimeout},
		{"endless headers", flood(head, "A: b\r\n"), ReasonTooLong},
		{"an endless header", flood(head+"A: ", "x"), ReasonTooLong},
		{"an endless status", flood("HTTP/1.1 200 ", "x"), ReasonTooLong},
		{"endless interim answers", flood("", "HTTP/1.1 100 Continue\r\n\r\n"), ReasonTooLong},
		{"an endless body", flood(head+"\r\n", "x"), ReasonTooLong},
		{"endless chunks", flood(head+"Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"), ReasonTooLong},
		{"a huge length", flood(head+"Content-Length: 999999999999\r\n\r\n", "x"), ReasonTooLong},
	} {
		s := Spec{Kind: KindHTTP, URLs: []URL{{Path: "/", Digest: md5Of("")}}}
		began := time.Now()
		wantReason(t, c.name, askAt(t, s, serve(t, c.fn), c.want), c.want)
		if took := time.Since(began); c.want == ReasonTimeout && took < patience {
			t.Errorf("%s: gave up after %v", c.name, took)
		}
	}
}

func TestHTTPRequestsAreKeepalived(t *testing.T) {
	request := func(s Spec) string {
		got := make(chan string, 1)
		addr := serve(t, func(c net.Conn) {
			b := make([]byte, 1024)
			n, _ := c.Read(b)
			got <- string(b[:n])
			say(page200(""))(c)
		})
		s.Kind = KindHTTP
		wantReason(t, "request", askAt(t, s, addr, ""), "")
		return strings.ReplaceAll(<-got, addr.String(), "ADDRESS")
	}
	const agent = "User-Agent: KeepAliveClient\r\n"
	for _, c := range []struct {
		spec Spec
		want string
	}{
		{Spec{URLs: []URL{{Path: "/a?b"}}}, "GET /a?b HTTP/1.0\r\n" + agent + "Host: ADDRESS\r\n\r\n"},
		{Spec{URLs: []URL{{Path: "/", VirtualHost: "w.example:81"}}},
			"GET / HTTP/1.0\r\n" + agent + "Host: w.example:81\r\n\r\n"},
		{Spec{URLs: []URL{{Path: "/"}}, HTTPProtocol: "1.0C", Common: Common{VirtualHost: "v"}},
			"GET / HTTP/1.0\r\n" + agent + "Connection: close\r\nHost: v\r\n\r\n"},
		{Spec{URLs: []URL{{Path: "/"}}, HTTPProtocol: "1.1"},
			"GET / HTTP/1.1\r\n" + agent + "Connection: close\r\nHost: ADDRESS\r\n\r\n"},
	} {
		if got := request(c.spec); got != c.want {
			t.Errorf("got %q\nwant %q", got, c.want)
		}
	}
	for addr, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "192.0.2.1:81": "192.0.2.1:81", "[2001:db8::1]:80": "[2001:db8::1]",
		"[2001:db8::1]:443": "[2001:db8::1]:443",
	} {
		if got := hostOf(netip.MustParseAddrPort(addr), KindHTTP); got != want {
			t.Errorf("%s: %s", addr, got)
		}
	}
}

func TestHTTPChecksPassARealServer(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "fine at ", r.Host) })
	for _, tlsServer := range []bool{false, true} {
		server, kind := httptest.NewUnstartedServer(mux), KindHTTP
		server.Config.ErrorLog = nil
		if server.Start(); tlsServer {
			server.Close()
			server, kind = httptest.NewTLSServer(mux), KindHTTPS
		}
		addr := server.Listener.Addr().(*net.TCPAddr).AddrPort()
		u := URL{Path: "/health", VirtualHost: "w.example", Digest: md5Of("fine at w.example"), Regex: "^fine"}
		wantReason(t, string(kind), askAt(t, Spec{Kind: kind, URLs: []URL{u}}, addr, ""), "")
		u.Path = "/other"
		wantReason(t, string(kind)+" 404", askAt(t, Spec{Kind: kind, URLs: []URL{u}}, addr, ReasonStatus), ReasonStatus)
		server.Close()
	}
}

// certificate makes one for the test, valid until expires.
func certificate(t *testing.T, expires time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: expires.Add(-time.Hour), NotAfter: expires}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestHTTPSChecksSeeTheCertificateAndNameTheHost(t *testing.T) {
	for _, c := range []struct {
		spec Spec
		sni  string
	}{
		{Spec{}, ""}, {Spec{SNI: "s.example"}, "s.example"},
		{Spec{Common: Common{VirtualHost: "v.example:444"}}, "v.example"},
		{Spec{SNI: "s.example", Common: Common{VirtualHost: "v"}}, "s.example"},
	} {
		expires := time.Now().Add(-time.Minute).Truncate(time.Second) // expired: the check passes nevertheless
		sni := make(chan string, 1)
		config := &tls.Config{Certificates: []tls.Certificate{certificate(t, expires)}}
		config.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			sni <- h.ServerName
			return nil, nil
		}
		addr := serve(t, func(conn net.Conn) {
			s := tls.Server(conn, config)
			after(say("HTTP/1.0 200 OK\r\n\r\nno close_notify"))(s) // the end of the connection ends the body
		})
		c.spec.Kind, c.spec.ExpiryWarning, c.spec.URLs = KindHTTPS, time.Hour, []URL{{Path: "/"}}
		r := askAt(t, c.spec, addr, "")
		wantReason(t, "https", r, "")
		if got := <-sni; got != c.sni {
			t.Errorf("asked for %q, want %q", got, c.sni)
		}
		if check := mustCheck(c.spec); !r.Expires.Equal(expires) || !check.ExpiringSoon(&r, time.Now()) {
			t.Errorf("expires %v, want %v", r.Expires, expires)
		}
	}
}

func TestHTTPSChecksSurviveHostileServers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		fn   func(net.Conn)
		want Reason
	}{
		{"plain http", after(say("HTTP/1.0 400 Bad Request\r\n\r\n")), ReasonTLS},
		{"garbage", after(say(strings.Repeat("\xff", 100))), ReasonTLS},
		{"silence", hang, ReasonTimeout},
		{"close", after(func(net.Conn) {}), ReasonClosed},
		{"reset", after(reset), ReasonReset},
		{"a drip", after(drip("\x16\x03\x03\x40\x00")), ReasonTimeout},
		{"a flood", flood("", "\x16\x03\x03\x00\x04\x02\xff\xff\xff"), ReasonTLS},
		{"an alert", after(func(c net.Conn) { say("\x15\x03\x03\x00\x02\x02\x28")(c); hang(c) }), ReasonTLS},
	} {
		r := askAt(t, Spec{Kind: KindHTTPS, URLs: []URL{{Path: "/"}}}, serve(t, c.fn), c.want)
		wantReason(t, c.name, r, c.want)
	}
}
