package health

import (
	"io"
	"net"
	"strings"
	"testing"
)

// FuzzHTTP: no answer makes a check panic, and none passes that does not begin with HTTP/.
func FuzzHTTP(f *testing.F) {
	f.Add([]byte(page200("x")))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 No\r\n\r\n"))
	f.Add([]byte{})
	c := mustCheck(Spec{Kind: KindHTTP, URLs: []URL{{Path: "/"}}})
	f.Fuzz(func(t *testing.T, answer []byte) {
		r := fetch(&canned{Reader: strings.NewReader(string(answer))}, &Probe{Check: c})
		if r.OK == (r.Reason != "") || len(r.Detail) > MaxDetail {
			t.Errorf("%+v", r)
		}
		if r.OK && !strings.HasPrefix(string(answer), "HTTP/") {
			t.Errorf("%q passes", answer)
		}
	})
}

// canned is a server whose answer is known before.
type canned struct {
	net.Conn
	io.Reader
}

func (c *canned) Read(b []byte) (int, error)  { return c.Reader.Read(b) }
func (c *canned) Write(b []byte) (int, error) { return len(b), nil }
func (c *canned) Close() error                { return nil }

// FuzzSMTP: no mail server makes a check panic, and none passes without a banner.
func FuzzSMTP(f *testing.F) {
	f.Add([]byte("220 x\r\n250 y\r\n221 z\r\n"))
	f.Add([]byte("220-x\r\n220 x\r\n500 y\r\n250-y\r\n250 y\r\n221 z\r\n"))
	f.Add([]byte("\r\n"))
	c := mustCheck(Spec{Kind: KindSMTP})
	f.Fuzz(func(t *testing.T, answer []byte) {
		r := mail(&canned{Reader: strings.NewReader(string(answer))}, c)
		if r.OK == (r.Reason != "") || len(r.Detail) > MaxDetail {
			t.Errorf("%+v", r)
		}
		if r.OK && !strings.HasPrefix(string(answer), "220") {
			t.Errorf("%q passes", answer)
		}
	})
}

// FuzzDNS: no datagram makes a check panic, and one passes only if it has our id and no error.
func FuzzDNS(f *testing.F) {
	f.Add([]byte{0x12, 0x34, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0x12, 0x34, 0x81, 0x82, 0, 1, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0x12})
	f.Fuzz(func(t *testing.T, reply []byte) {
		r, ours := answerOf(reply, 0x1234)
		long := len(reply) >= 12
		isOurs := long && reply[0] == 0x12 && reply[1] == 0x34 && reply[2]&0x80 != 0
		if ours != isOurs || ours && r.OK != (reply[3]&0xf == 0) {
			t.Errorf("%x: %v, ours %v", reply, r, ours)
		}
	})
}

// FuzzPattern: a pattern that parses matches itself, and what follows does not matter.
func FuzzPattern(f *testing.F) {
	f.Add("0aXXf", []byte("abc"))
	f.Add("xX", []byte{})
	f.Add("", []byte{1})
	f.Fuzz(func(t *testing.T, text string, tail []byte) {
		p, err := parsePattern(text)
		if err != nil {
			return
		}
		if !p.matches(append(append([]byte{}, p.want...), tail...)) || len(p.want) != len(text)/2 {
			t.Errorf("%q does not match itself", text)
		}
	})
}
