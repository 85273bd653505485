package control

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"ulvs/internal/testutil"
)

// nobody is a user that is in no group of ulvs's.
const nobody = 65534

// dialAsNobody connects on a thread that is somebody else, and ends.
func dialAsNobody(t *testing.T, path string) net.Conn {
	t.Helper()
	type result struct {
		conn net.Conn
		err  error
	}
	made := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked
		for _, call := range []uintptr{syscall.SYS_SETRESGID, syscall.SYS_SETRESUID} {
			if _, _, errno := syscall.RawSyscall(call, nobody, nobody, nobody); errno != 0 {
				made <- result{nil, errno}
				return
			}
		}
		conn, err := net.Dial("unix", path)
		made <- result{conn, err}
	}()
	r := <-made
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { _ = r.conn.Close() })
	return r.conn
}

// request asks on a connection and returns status and body.
func request(t *testing.T, conn net.Conn, method, path, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://ulvs"+path, strings.NewReader(body))
	if err == nil {
		err = r.Write(conn)
	}
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

func TestWhoIsNotRootLooksAndAdminsChange(t *testing.T) {
	if os.Geteuid() != 0 {
		testutil.Require(t, testutil.NeedNetNS, "only root can be somebody else")
	}
	dir, err := os.MkdirTemp("", "ulvs-peer") // t.TempDir is for its owner alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "control.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket is %v, %v", info, err)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(path, 0o666)); err != nil { // an administrator's mistake
		t.Fatal(err)
	}
	var log bytes.Buffer
	e := newEditor()
	s := NewServer(e, slog.New(slog.NewTextHandler(&log, nil)))
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()

	conn := dialAsNobody(t, path)
	if code, body := request(t, conn, "GET", "/v1/status", ""); code != http.StatusOK {
		t.Errorf("looking: %d %s", code, body)
	}
	code, body := request(t, conn, "POST", "/v1/ipvs/edit", `{"op":7}`)
	if code != http.StatusForbidden || !strings.Contains(body, "only root and the group ulvs-admin may change") {
		t.Errorf("changing: %d %s", code, body)
	}
	var asked peer
	s.isAdmin = func(p peer) bool { asked = p; return true }
	if code, body := request(t, conn, "POST", "/v1/ipvs/edit", `{"op":7}`); code != http.StatusOK || len(e.edits) != 1 {
		t.Errorf("changing as an administrator: %d %s", code, body)
	}
	_ = s.Close()
	<-ended
	if asked != (peer{nobody, nobody, uint32(os.Getpid())}) {
		t.Errorf("the kernel says that %+v asks", asked)
	}
	if !strings.Contains(log.String(), "uid=65534") {
		t.Errorf("the log does not tell who changed something: %s", &log)
	}
}

func TestStrangersAreNoAdministrators(t *testing.T) {
	if inAdmins(peer{uid: 4_000_000_000, gid: 4_000_000_000}) {
		t.Error("a user whom nobody knows")
	}
}
