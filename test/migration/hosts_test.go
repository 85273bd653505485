package migration

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ulvs/test/lab"
)

// host is a director's namespace made a machine: with an /etc, a /run and a name of its own.
type host struct {
	name, dir string
	pid       string
	env       []string
}

// setUp makes the private parts of a host, and then holds them until its standard input ends.
const setUp = `set -e
hostname "$NAME"
mount --make-rprivate /
cp -a /etc "$HOME/etc"
mkdir -p "$HOME/etc/keepalived"
mount --bind "$HOME/etc" /etc
mount -t tmpfs tmpfs /run
for i in c0:eth0 s0:eth1; do
	ip link set "${i%:*}" down
	ip link set "${i%:*}" name "${i#*:}"
	ip link set "${i#*:}" up
done
echo ready
exec cat`

// newHost turns the lab's namespace ns into a host.
func newHost(t *testing.T, l *lab.Lab, ns, name, root, bin string) *host {
	t.Helper()
	commands, err := filepath.Abs("commands")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{name: name, dir: filepath.Join(root, name)}
	h.env = append(os.Environ(), "NAME="+name, "HOME="+h.dir, "HOSTS="+root,
		"PATH="+strings.Join([]string{commands, bin, os.Getenv("PATH"), "/usr/sbin", "/sbin"}, ":"))
	if err := os.Mkdir(h.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := l.Command(ns, "unshare", "--mount", "--uts", "bash", "-c", setUp)
	cmd.Env = h.env
	stdin, stdout := pipes(t, cmd)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("set up %s: %q %s", name, line, &said)
	}
	h.pid = strconv.Itoa(cmd.Process.Pid)
	if err := os.WriteFile(filepath.Join(h.dir, "pid"), []byte(h.pid), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

func pipes(t *testing.T, cmd *exec.Cmd) (io.Closer, io.Reader) {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	return stdin, stdout
}

// blockLimit bounds a block; the guide's own waits end after 30 s.
const blockLimit = 2 * time.Minute

// run has bash run a block on the host, and returns all it printed; the error says which line failed.
func (h *host) run(ctx context.Context, b Block) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, blockLimit)
	defer cancel()
	script := "trap 'echo \"failed: line $((LINENO-1))\" >&2' ERR\n" + b.Text
	cmd := exec.CommandContext(ctx, "nsenter", "-t", h.pid, "-m", "-n", "-u", "bash", "-c",
		"cd; exec bash -eEo pipefail -c \"$0\"", script)
	cmd.Env = h.env
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("the block of line %d, on %s: %w\n%s\n%s", b.Line, h.name, err, b.Text, out)
	}
	return string(out), nil
}

// write puts a file into the host's /etc.
func (h *host) write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, path), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// logs returns what the host's units wrote, and what its ulvs says.
func (h *host) logs() string {
	out, _ := h.run(context.Background(), Block{Text: "tail -n 60 /run/*.log; ulvs vrrp; ulvs sync; ulvs services"})
	return out
}
