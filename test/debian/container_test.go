//go:build debian

package debian

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ulvs/internal/testutil"
	"ulvs/test/lab"
)

// machine is a Debian that booted in a director's namespace.
type machine struct {
	t      *testing.T
	root   string
	leader string // pid of its init
}

// boot unpacks a root and starts its systemd, in d1's network.
func boot(t *testing.T, l *lab.Lab) *machine {
	t.Helper()
	root, err := os.MkdirTemp("/var/tmp", "ulvs-debian-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	m := &machine{t: t, root: root}
	if out, err := exec.Command("tar", "xf", os.Getenv("ULVS_DEBIAN_ROOT"), "-C", root).CombinedOutput(); err != nil {
		t.Fatalf("unpack: %v\n%s", err, out)
	}
	m.put("ULVS_DEB_OLD", "old.deb")
	m.put("ULVS_DEB_NEW", "new.deb")
	var log bytes.Buffer
	cmd := exec.Command("systemd-nspawn", "-D", root, "--boot", "--keep-unit", "--register=no", "--capability=all",
		"--system-call-filter=bpf", // which a container has not, and a machine has
		"--network-namespace-path=/run/netns/"+l.Netns("d1"), "--console=pipe")
	cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network") // sysctls of its own network
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { m.halt(cmd, ended) })
	await(t, "the machine to be up", time.Minute, func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("systemd-nspawn ended: %v\n%s", err, &log)
		default:
		}
		return m.up(cmd.Process.Pid)
	})
	return m
}

// up finds the machine's init, and asks whether it is done.
func (m *machine) up(nspawn int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", nspawn, nspawn))
	if pids := strings.Fields(string(text)); err == nil && len(pids) > 0 {
		m.leader = pids[0]
	} else {
		return false
	}
	out, _ := m.try("systemctl is-system-running")
	return strings.Contains(out, "running") || strings.Contains(out, "degraded")
}

// halt ends the machine's init, and everything in it with it.
func (m *machine) halt(cmd *exec.Cmd, ended chan error) {
	if pid, err := strconv.Atoi(m.leader); err == nil {
		if init, err := os.FindProcess(pid); err == nil {
			_ = init.Kill()
		}
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		<-ended
	}
}

// put copies the file that a variable of the environment names into the machine's /var/tmp.
func (m *machine) put(variable, name string) {
	m.t.Helper()
	text, err := os.ReadFile(os.Getenv(variable))
	if err == nil {
		err = os.WriteFile(filepath.Join(m.root, "var/tmp", name), text, 0o644)
	}
	if err != nil {
		m.t.Fatalf("%s: %v", variable, err)
	}
}

// write makes a file on the machine.
func (m *machine) write(path, text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.root, path), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// try runs a script on the machine.
func (m *machine) try(script string) (string, error) {
	cmd := exec.Command("nsenter", "-t", m.leader, "-m", "-u", "-i", "-n", "-p", "--", "sh", "-c", script)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "HOME=/root"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// sh is try for a script that has to work.
func (m *machine) sh(script string) string {
	m.t.Helper()
	out, err := m.try(script)
	if err != nil {
		journal, _ := m.try("journalctl -u ulvs --no-pager -n 50")
		m.t.Fatalf("%s: %v\n%s\njournal:\n%s", script, err, out, journal)
	}
	return out
}

// wants fails the test unless the text has each of the words.
func wants(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s: no %q in:\n%s", what, w, text)
		}
	}
}

// await is testutil.Await with a limit of its own, for what a machine takes its time for.
func await(t *testing.T, what string, limit time.Duration, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(limit - testutil.AwaitLimit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if cond() {
			return
		}
	}
	testutil.Await(t, what, cond)
}
