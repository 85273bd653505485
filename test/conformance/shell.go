package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

// lineLimit bounds how long a shell line may run: it waits for nothing.
const lineLimit = 60 * time.Second

// shell runs shell lines in which the stand-ins ask serve.
type shell struct {
	dir    string // holds bin, mnt, proc, cwd and the socket
	socket net.Listener
	env    []string
	serve  func(call) answer
	asked  chan net.Conn // a stand-in is there
	closed chan struct{}
}

// newShell makes a shell. The running program is started again as the stand-ins: it must call Main.
func newShell(serve func(call) answer) (*shell, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "ulvs-replay-")
	if err != nil {
		return nil, err
	}
	s := &shell{dir: dir, serve: serve, asked: make(chan net.Conn), closed: make(chan struct{})}
	if err := s.furnish(self); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	go s.runServer()
	return s, nil
}

func (s *shell) furnish(self string) (err error) {
	for _, sub := range []string{"bin", "mnt", "proc", "cwd"} {
		if err := os.Mkdir(filepath.Join(s.dir, sub), 0o755); err != nil {
			return err
		}
	}
	for _, name := range standIns {
		if err := os.Symlink(self, filepath.Join(s.dir, "bin", name)); err != nil {
			return err
		}
	}
	socket := filepath.Join(s.dir, "s")
	s.env = []string{
		"PATH=" + filepath.Join(s.dir, "bin") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LC_ALL=C", "TZ=UTC", "HOME=" + s.dir, socketEnv + "=" + socket,
		"GORACE=atexit_sleep_ms=0", // a stand-in with the race detector in it would wait a second
	}
	s.socket, err = net.Listen("unix", socket)
	return err
}

func (s *shell) close() error {
	close(s.closed)
	return errors.Join(s.socket.Close(), os.RemoveAll(s.dir))
}

// runServer hands stand-ins to the line that runs, until close.
func (s *shell) runServer() {
	for {
		conn, err := s.socket.Accept()
		if err != nil {
			return
		}
		select {
		case s.asked <- conn:
		case <-s.closed:
			conn.Close()
			return
		}
	}
}

func (s *shell) answer(conn net.Conn) {
	defer conn.Close()
	var c call
	if err := json.NewDecoder(conn).Decode(&c); err != nil {
		return // the stand-in was killed
	}
	// Who does not read its answer any more (| head -1) needs none.
	_ = json.NewEncoder(conn).Encode(s.serve(c))
}

// Places of a shell line that are not the machine's.
var (
	mntPath   = regexp.MustCompile(`/mnt\b`)
	procPath  = regexp.MustCompile(`/proc/(net/ip_vs\w*|sys/net/ipv4/vs/\w+)`)
	procWrite = regexp.MustCompile(`>\s*/proc/sys/net/ipv4/vs/(\w+)`)
	toolPath  = regexp.MustCompile(`(?:/usr)?/s?bin/(ipvsadm|ipvsadm-save|ipvsadm-restore|sysctl|ip|sleep)\b`)
)

// run runs a line and returns what it printed, both streams together, and its exit status.
func (s *shell) run(line string) (text string, rc int, err error) {
	line = mntPath.ReplaceAllLiteralString(line, filepath.Join(s.dir, "mnt"))
	line = procWrite.ReplaceAllString(line, "| "+sysctlFile+" $1")
	line = procPath.ReplaceAllString(line, "$$("+procFile+" $1)")
	line = toolPath.ReplaceAllString(line, "$1")
	ctx, cancel := context.WithTimeout(context.Background(), lineLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env, cmd.Dir = &out, &out, s.env, filepath.Join(s.dir, "cwd")
	cmd.WaitDelay = time.Second
	err = s.attend(cmd)
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return out.String(), exit.ExitCode(), nil
	}
	return out.String(), 0, err
}

// attend runs a command and meanwhile answers stand-ins, here and nowhere else: what they ask for touches
// the caller's director.
func (s *shell) attend(cmd *exec.Cmd) error {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Run() }()
	for {
		select {
		case conn := <-s.asked:
			s.answer(conn)
		case err := <-ended:
			return err
		}
	}
}
