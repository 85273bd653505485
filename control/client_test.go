package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestTheClientGetsWhatTheBackendSays(t *testing.T) {
	b := newFake()
	c := NewClient(serve(t, b))
	st, err := c.Status(t.Context())
	b.status.Ports = []PortStatus{}
	if err != nil || !reflect.DeepEqual(st, b.status) {
		t.Errorf("status\n got %+v, %v\nwant %+v", st, err, b.status)
	}
	list, err := c.Services(t.Context(), ServiceFilter{Protocol: "TCP"})
	if err != nil || len(list) != 1 || list[0].VIP != b.services[0].VIP {
		t.Errorf("services: got %+v, %v", list, err)
	}
	if list, err = c.Services(t.Context(), ServiceFilter{}); err != nil || len(list) != 2 {
		t.Errorf("all services: got %+v, %v", list, err)
	}
}

func clients(t *testing.T, c *Client, f ConnFilter) (got []string) {
	t.Helper()
	err := c.Conns(t.Context(), f, func(c Conn) bool {
		got = append(got, c.Client.String())
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestTheClientGetsTheSessionsItAsksFor(t *testing.T) {
	c := NewClient(serve(t, newFake()))
	first, second, third := "198.51.100.1:1000", "198.51.100.2:1000", "[2001:db8:1::1]:1000"
	vip, _ := ParseMatch("192.0.2.10:80")
	real, _ := ParseMatch("2001:db8:2::1")
	client, _ := ParseMatch("198.51.100.2")
	cases := []struct {
		name   string
		filter ConnFilter
		want   []string
	}{
		{"all", ConnFilter{}, []string{first, second, third}},
		{"by VIP", ConnFilter{VIP: vip}, []string{first, second}},
		{"by real server", ConnFilter{RealServer: real}, []string{third}},
		{"by client", ConnFilter{Client: client}, []string{second}},
		{"by state", ConnFilter{State: "established"}, []string{first}},
		{"by protocol", ConnFilter{Protocol: "UDP"}, []string{third}},
		{"with a limit", ConnFilter{Limit: 2}, []string{first, second}},
		{"none", ConnFilter{State: "CLOSE"}, nil},
	}
	for _, tc := range cases {
		if got := clients(t, c, tc.filter); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestAClientThatHasEnoughEndsTheStream(t *testing.T) {
	b := newFake()
	for range 100_000 {
		b.conns = append(b.conns, b.conns[0])
	}
	seen := 0
	err := NewClient(serve(t, b)).Conns(t.Context(), ConnFilter{}, func(Conn) bool { seen++; return seen < 3 })
	if err != nil || seen != 3 {
		t.Errorf("got %d sessions, %v; want 3", seen, err)
	}
}

// answering is something else on a socket: it sends raw to everybody.
func answering(t *testing.T, raw string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			_, _ = conn.Read(buf) // the request; what it is does not matter
			_, _ = io.WriteString(conn, raw)
			_ = conn.Close()
		}
	}()
	return path
}

func TestErrorsSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	leaveSocket(t, stale)
	cut := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"pro\r\n"
	cases := []struct{ name, path, want string }{
		{"nobody", dir + "/none", "no ulvs answers on PATH: is it running? start it with: ulvs run FILE"},
		{"a stale socket", stale, "no ulvs answers on PATH: is it running? start it with: ulvs run FILE"},
		{"not HTTP", answering(t, "SSH-2.0\r\n"), "ask PATH: Get "},
		{"not JSON", answering(t, "HTTP/1.0 200 OK\r\n\r\nhello"), "what answers on PATH is not this version's ulvs: "},
		{"not ours", answering(t, "HTTP/1.0 404 Not Found\r\n\r\nhello"),
			"what answers on PATH is not this version's ulvs: it answers 404 Not Found"},
		{"a refusal", answering(t, "HTTP/1.0 400 Bad Request\r\n\r\n{\"error\":\"no\"}"), "ulvs refuses: no"},
		{"an answer cut off", answering(t, cut), "the list of sessions from PATH is cut off: unexpected EOF"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := NewClient(c.path).Conns(t.Context(), ConnFilter{}, func(Conn) bool { return true })
			got := strings.ReplaceAll(fmt.Sprint(err), c.path, "PATH")
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestADeadDirectorIsErrNotRunning(t *testing.T) {
	_, err := NewClient(filepath.Join(t.TempDir(), "none")).Status(t.Context())
	if !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v", err)
	}
}

func TestADirectorThatHangsIsGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = NewClient(path).Status(ctx)
	if err == nil || !strings.Contains(err.Error(), "did not answer in time") {
		t.Errorf("got %v", err)
	}
}

// leaveSocket makes a socket file that nobody listens on, as a crash does.
func leaveSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	leaveSocket(t, path)
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode: got %v, %v, want 0660", info.Mode(), err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket outlives its listener: %v", err)
	}
}

func TestASecondDirectorIsToldWhoRuns(t *testing.T) {
	path := serve(t, newFake())
	_, err := Listen(path)
	want := fmt.Sprintf("another ulvs is running: process %d answers on %s; stop it, or set another node.control_socket",
		os.Getpid(), path)
	if !errors.Is(err, ErrInUse) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if _, err := NewClient(path).Status(t.Context()); err != nil {
		t.Errorf("the first one is gone: %v", err)
	}
}

func TestAFileThatIsNoSocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "exists and is no socket; remove it") {
		t.Errorf("got %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file is changed: %q, %v", text, err)
	}
}

func TestHugeRequestsAreRefused(t *testing.T) {
	path := serve(t, newFake())
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		_, _ = io.WriteString(conn, "GET /v1/status HTTP/1.1\r\nHost: a\r\nX: "+strings.Repeat("x", 1<<20))
	}()
	text, _ := io.ReadAll(conn) // the server may reset after its answer
	if !strings.HasPrefix(string(text), "HTTP/1.1 431 ") {
		t.Errorf("got %.80q, want %d", text, http.StatusRequestHeaderFieldsTooLarge)
	}
}
