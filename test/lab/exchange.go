package lab

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// maxName bounds what a real server may call itself, in bytes.
const maxName = 64

// exchange is one connection on which requests are made.
type exchange struct {
	o    *LoadOptions
	conn net.Conn
	r    *bufio.Reader
	name string // TCP: the peer's, said once
}

// do makes one request, checks its answer, and returns who gave it.
func (x *exchange) do() (name string, err error) {
	switch x.o.Kind {
	case KindTCP:
		return x.tcp()
	case KindUDP:
		return x.udp()
	}
	return x.http()
}

func (x *exchange) http() (string, error) {
	req, err := x.request()
	if err != nil {
		return "", err
	}
	if err := req.Write(x.conn); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(x.r, req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		return "", fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	if x.o.Upload == 0 && x.o.Download > 0 {
		return resp.Header.Get(nameHeader), CheckPayload(resp.Body, x.o.Download)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxName))
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(body)), nil
}

// request is an upload, a download, or a question for the name.
func (x *exchange) request() (*http.Request, error) {
	base := "http://" + x.o.Target.String()
	switch {
	case x.o.Upload > 0:
		req, err := http.NewRequest(http.MethodPost, base+"/upload", io.NopCloser(NewPayload(x.o.Upload)))
		if err == nil {
			req.ContentLength = x.o.Upload
		}
		return req, err
	case x.o.Download > 0:
		return http.NewRequest(http.MethodGet, fmt.Sprintf("%s/bytes?n=%d", base, x.o.Download), nil)
	}
	return http.NewRequest(http.MethodGet, base+"/", nil)
}

// tcp sends a payload while it reads the echo: with windows full both ways, one
// after the other would never end. The name comes once, before the first echo.
func (x *exchange) tcp() (string, error) {
	if x.name == "" {
		line, err := x.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		x.name = strings.TrimSpace(line)
	}
	n := max(x.o.Upload, 1)
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(x.conn, NewPayload(n))
		sent <- err
	}()
	err := CheckPayload(io.LimitReader(x.r, n), n)
	if err != nil {
		_ = x.conn.Close() // so that the sender ends as well
	}
	return x.name, errors.Join(err, <-sent)
}

func (x *exchange) udp() (string, error) {
	out, err := io.ReadAll(NewPayload(x.o.Upload))
	if err != nil {
		return "", err
	}
	if _, err := x.conn.Write(out); err != nil {
		return "", err
	}
	in := make([]byte, len(out)+maxName+1)
	n, err := x.conn.Read(in)
	if err != nil {
		return "", err
	}
	name, echo, found := bytes.Cut(in[:n], []byte{'\n'})
	if !found || !bytes.Equal(echo, out) {
		return "", fmt.Errorf("echo of %d bytes differs: got %d bytes", len(out), n)
	}
	return string(name), nil
}
