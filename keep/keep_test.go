package keep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ulvs/internal/sdnotify"
	"ulvs/internal/testutil"
)

// started runs a keeper in this process. done is closed when it has ended.
func started(t *testing.T) (path string, done <-chan struct{}) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keep.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := Serve(ctx, l); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return path, ended
}

func dial(t *testing.T, path string) *Client {
	t.Helper()
	c, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// fileWith is a file whose contents tell it from others.
func fileWith(t *testing.T, text string) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return f
}

// keeps fails unless the keeper has files with these contents, given as name=text.
func keeps(t *testing.T, path string, want ...string) {
	t.Helper()
	c := dial(t, path)
	defer c.Close()
	files, err := c.Files()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for name, f := range files {
		b := make([]byte, 64)
		n, _ := f.ReadAt(b, 0)
		got[name+"="+string(b[:n])] = true
		f.Close()
	}
	for _, w := range want {
		if !got[w] {
			t.Errorf("%s is not kept: %v", w, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%v is kept, want %v", got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFilesOutliveTheirDirector(t *testing.T) {
	path, _ := started(t)
	c := dial(t, path)
	keeps(t, path)
	must(t, c.Store("table.1", fileWith(t, "one")))
	must(t, c.Store("other", fileWith(t, "two")))
	must(t, c.Close()) // kill -9
	keeps(t, path, "table.1=one", "other=two")
	c = dial(t, path)
	must(t, c.Store("table.1", fileWith(t, "three")))
	must(t, c.Forget("other"))
	must(t, c.Forget("other"))
	keeps(t, path, "table.1=three")
}

func TestAKeeperEndsWithItsDirectorIfThatWants(t *testing.T) {
	path, done := started(t)
	c := dial(t, path)
	must(t, c.Store("a", fileWith(t, "x")))
	must(t, c.Stay(time.Hour))
	must(t, c.Leave(0))
	<-done
	if _, err := Dial(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestAKeeperStaysForAsLongAsItWasToldAndForAsLongAsAnybodyIsThere(t *testing.T) {
	path, done := started(t)
	c, other := dial(t, path), dial(t, path)
	must(t, other.Store("b", fileWith(t, "y"))) // the keeper knows of it
	must(t, c.Leave(time.Second))
	must(t, other.Store("a", fileWith(t, "x")))
	select {
	case <-done:
		t.Fatal("it ended although somebody was there")
	default:
	}
	must(t, other.Close())
	<-done
}

func TestWhatIsNoRequestIsRefused(t *testing.T) {
	path, _ := started(t)
	c := dial(t, path)
	f := fileWith(t, "x")
	for _, bad := range []struct {
		r     request
		files []*os.File
	}{
		{request{Do: "burn"}, nil}, {request{}, nil}, {request{Do: "store", Name: "a"}, nil},
		{request{Do: "store", Name: "a"}, []*os.File{f, f}}, {request{Do: "list"}, []*os.File{f}},
		{request{Do: "store", Name: "../a"}, []*os.File{f}}, {request{Do: "store"}, []*os.File{f}},
		{request{Do: "store", Name: strings.Repeat("a", 65)}, []*os.File{f}}, {request{Do: "forget", Name: "a b"}, nil},
		{request{Do: "stay", Seconds: -1}, nil}, {request{Do: "leave", Seconds: 1 << 40}, nil},
	} {
		if _, _, err := c.ask(bad.r, bad.files); !errors.Is(err, ErrRefused) {
			t.Errorf("%+v with %d files: %v", bad.r, len(bad.files), err)
		}
	}
	for i := range maxFiles {
		must(t, c.Store("f"+strconv.Itoa(i), f))
	}
	if err := c.Store("more", f); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "16 files") {
		t.Errorf("a file too many: %v", err)
	}
	must(t, c.Store("f3", f)) // instead of the one that is there
	for _, raw := range []string{"", "x", `{"do":"list"`, strings.Repeat("x", maxMessage+1)} {
		bad := dial(t, path)
		_, _, err := bad.conn.WriteMsgUnix([]byte(raw), nil, nil)
		must(t, err)
		must(t, bad.conn.SetReadDeadline(time.Now().Add(30*time.Second)))
		if b, _, err := receive(bad.conn, maxFiles); err == nil && !strings.Contains(string(b), "not a message") {
			t.Errorf("%.20q was answered by %s", raw, b)
		}
	}
	if files, err := c.Files(); len(files) != maxFiles || err != nil {
		t.Errorf("%d files after all that: %v", len(files), err)
	}
}

func TestThereAreNotMoreClientsThanItMayHave(t *testing.T) {
	path, _ := started(t)
	for range maxClients {
		c := dial(t, path)
		if _, err := c.Files(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := dial(t, path).Files(); err == nil {
		t.Error("one more was served")
	}
}

func TestASocketThatNobodyListensOnIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keep.sock")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	must(t, err)
	l.SetUnlinkOnClose(false)
	must(t, l.Close())
	if _, err := Dial(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
	l, err = Listen(path)
	must(t, err)
	defer l.Close()
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

// TestAKeeperOfItsOwnOutlivesWhoStartedIt runs itself as director and as keeper.
func TestAKeeperOfItsOwnOutlivesWhoStartedIt(t *testing.T) {
	switch path := os.Getenv("KEEP_PATH"); os.Getenv("KEEP_ROLE") {
	case "director":
		runAsDirector(t, path)
		return
	case "keeper":
		l, err := Inherited()
		must(t, err)
		must(t, Serve(t.Context(), l))
		return
	}
	path := filepath.Join(t.TempDir(), "deep", "keep.sock")
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "KEEP_ROLE=director", "KEEP_PATH="+path, "TMPDIR="+t.TempDir()) // it is killed
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the director: %v\n%s", err, out)
	}
	keeps(t, path, "table=sessions")
	c := dial(t, path)
	must(t, c.Leave(0))
	testutil.Await(t, "the keeper to end", func() bool {
		c, err := Dial(path)
		if errors.Is(err, fs.ErrNotExist) {
			return true
		}
		must(t, err)
		must(t, c.Close())
		return false
	})
}

func runAsDirector(t *testing.T, path string) {
	t.Helper()
	must(t, os.Setenv("KEEP_ROLE", "keeper"))
	c, err := Start(path, os.Args[0], "-test.run", "^"+t.Name()+"$")
	must(t, err)
	again, err := Start(path, "/no/such/binary") // it is there
	must(t, err)
	must(t, again.Close())
	must(t, c.Store("table", fileWith(t, "sessions")))
	p, err := os.FindProcess(os.Getpid())
	must(t, err)
	must(t, p.Kill())
	select {}
}

func TestSystemdKeepsFilesByTheirNames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	defer l.Close()
	m, err := sdnotify.Open(func(name string) string { return map[string]string{"NOTIFY_SOCKET": path}[name] }, 1)
	must(t, err)
	s := NewSystemd(m, map[string][]*os.File{"a": {fileWith(t, "x"), fileWith(t, "y")}})
	files, err := s.Files()
	if err != nil || len(files) != 1 || files["a"] == nil {
		t.Fatalf("got %v, %v", files, err)
	}
	must(t, s.Store("b", files["a"]))
	must(t, s.Forget("a"))
	for _, want := range []string{"FDSTORE=1\nFDPOLL=0\nFDNAME=b", "FDSTOREREMOVE=1\nFDNAME=a"} {
		b := make([]byte, 100)
		must(t, l.SetReadDeadline(time.Now().Add(30*time.Second)))
		n, err := l.Read(b)
		if err != nil || string(b[:n]) != want {
			t.Errorf("got %q, %v; want %q", b[:n], err, want)
		}
	}
}

func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		`{"do":"list"}`, `{"do":"store","name":"a"}`, `{"do":"stay","seconds":3}`, `{`, "null", "[]",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parse(b)
		if err != nil {
			return
		}
		timed := r.Do == "stay" || r.Do == "leave"
		if timed && (r.Seconds < 0 || r.Seconds > int64(maxStay/time.Second)) {
			t.Fatal(fmt.Sprint(r))
		}
		if strings.ContainsAny(r.Name, "/\x00") && (r.Do == "store" || r.Do == "forget") {
			t.Fatal(fmt.Sprint(r))
		}
	})
}
