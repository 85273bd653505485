package sdnotify

import (
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func envOf(kv ...string) Env {
	m := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return func(name string) string { return m[name] }
}

// manager is systemd's end.
func manager(t *testing.T) (*net.UnixConn, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn, path
}

// heard returns the next message and the descriptors in it.
func heard(t *testing.T, conn *net.UnixConn) (string, []int) {
	t.Helper()
	b, oob := make([]byte, 4096), make([]byte, 4096)
	n, oobn, _, _, err := conn.ReadMsgUnix(b, oob)
	if err != nil {
		t.Fatal(err)
	}
	var fds []int
	messages, err := syscall.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		t.Fatal(err)
	}
	for i := range messages {
		got, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, got...)
	}
	return string(b[:n]), fds
}

func TestWithoutAManagerNothingHappens(t *testing.T) {
	n, err := Open(envOf(), 7)
	if n != nil || err != nil {
		t.Fatalf("got %v, %v", n, err)
	}
	for _, err := range []error{n.Ready("x"), n.Stopping(), n.Watchdog(), n.Status("x"), n.MainPID(1),
		n.StoreFDs("x", os.Stdin), n.RemoveFDs("x")} {
		if err != nil {
			t.Error(err)
		}
	}
	if n.Managed() || n.StoreRoom() != 0 || n.WatchdogInterval() != 0 {
		t.Error("a manager that is not there wants something")
	}
}

func TestTheManagerHearsWhatItIsTold(t *testing.T) {
	conn, path := manager(t)
	n, err := Open(envOf("NOTIFY_SOCKET", path), 7)
	if err != nil {
		t.Fatal(err)
	}
	pid := "\nMAINPID=" + strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		tell func() error
		want string
	}{
		{func() error { return n.Ready("forwarding,\n3 services") }, "READY=1\nSTATUS=forwarding, 3 services" + pid},
		{n.Stopping, "STOPPING=1"},
		{n.Watchdog, "WATCHDOG=1"},
		{func() error { return n.Status("a\nREADY=1") }, "STATUS=a READY=1"},
		{func() error { return n.MainPID(12) }, "MAINPID=12"},
		{func() error { return n.RemoveFDs("table") }, "FDSTOREREMOVE=1\nFDNAME=table"},
	} {
		if err := c.tell(); err != nil {
			t.Fatal(err)
		}
		if got, _ := heard(t, conn); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestStoredDescriptorsArriveAsTheSameFiles(t *testing.T) {
	conn, path := manager(t)
	n, err := Open(envOf("NOTIFY_SOCKET", path, "FDSTORE", "4"), 7)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := n.StoreFDs("ulvs-table", f); err != nil {
		t.Fatal(err)
	}
	state, fds := heard(t, conn)
	if state != "FDSTORE=1\nFDPOLL=0\nFDNAME=ulvs-table" || len(fds) != 1 || n.StoreRoom() != 4 {
		t.Fatalf("got %q with %d descriptors, room %d", state, len(fds), n.StoreRoom())
	}
	got := os.NewFile(uintptr(fds[0]), "got")
	defer got.Close()
	a, _ := f.Stat()
	b, err := got.Stat()
	if err != nil || !os.SameFile(a, b) {
		t.Fatalf("another file came: %v", err)
	}
}

func TestWhatIsWrongIsRefusedWithItsReason(t *testing.T) {
	if _, err := Open(envOf("NOTIFY_SOCKET", "relative"), 1); err == nil {
		t.Error("a relative socket was taken")
	}
	n, _ := Open(envOf("NOTIFY_SOCKET", "/nowhere/at/all"), 1)
	if err := n.Watchdog(); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"", "a:b", "a b", "a\nb", strings.Repeat("x", 256)} {
		if err := n.StoreFDs(name, os.Stdin); err == nil || strings.Contains(err.Error(), "/nowhere") {
			t.Errorf("name %.20q: got %v", name, err)
		}
	}
	if err := n.StoreFDs("x"); err == nil || strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("no files: got %v", err)
	}
}

func TestTheWatchdogIsFedTwiceAsOftenAsAsked(t *testing.T) {
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"2000000", "7", time.Second}, {"2000000", "", time.Second}, {"2000000", "8", 0},
		{"", "", 0}, {"-5", "", 0}, {"x", "", 0}, {"999999999999999999", "", 0},
	} {
		n, _ := Open(envOf("NOTIFY_SOCKET", "@x", "WATCHDOG_USEC", c.usec, "WATCHDOG_PID", c.pid), 7)
		if got := n.WatchdogInterval(); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}

func TestInheritedIgnoresWhatIsForAnotherProcess(t *testing.T) {
	fail := func(string) error { t.Error("the environment was changed"); return nil }
	for _, env := range []Env{envOf(), envOf("LISTEN_FDS", "1", "LISTEN_PID", "8"), envOf("LISTEN_FDS", "1")} {
		if got, err := Inherited(env, 7, fail); len(got) != 0 || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
	}
	for _, n := range []string{"-1", "x", "99999999"} {
		if _, err := Inherited(envOf("LISTEN_FDS", n, "LISTEN_PID", "7"), 7, fail); err == nil {
			t.Errorf("LISTEN_FDS=%s was taken", n)
		}
	}
}

// TestInheritedFindsDescriptorsByName runs itself as the service, as systemd would.
func TestInheritedFindsDescriptorsByName(t *testing.T) {
	if os.Getenv("SDNOTIFY_CHILD") != "" {
		inheritAsChild(t)
		return
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	// LISTEN_PID has to be the child's: sh knows it.
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run '^TestInheritedFindsDescriptorsByName$'`,
		os.Args[0])
	cmd.Env = append(os.Environ(), "SDNOTIFY_CHILD=1", "LISTEN_FDS=3", "LISTEN_FDNAMES=table:table")
	cmd.ExtraFiles = []*os.File{w, w, w}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b := make([]byte, 8)
	if n, _ := r.Read(b); string(b[:n]) != "hello" {
		t.Fatalf("got %q", b[:n])
	}
}

func inheritAsChild(t *testing.T) {
	got, err := Inherited(os.Getenv, os.Getpid(), os.Unsetenv)
	if err != nil || len(got["table"]) != 2 || len(got["unknown"]) != 1 || len(got) != 2 {
		t.Fatalf("got %v, %v", maps.Keys(got), err)
	}
	if os.Getenv("LISTEN_FDS") != "" || os.Getenv("LISTEN_PID") != "" {
		t.Fatal("children would believe the descriptors theirs")
	}
	if _, err := got["table"][1].WriteString("hello"); err != nil {
		t.Fatal(err)
	}
}
