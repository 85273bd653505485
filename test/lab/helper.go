package lab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// helperVariable makes a test binary act as "ulvs lab"; see RunHelper.
const helperVariable = "ULVS_LAB_HELPER"

// RunHelper lets a test binary be the servers and clients of a lab: TestMain calls it
// first. In a process that the lab started it runs the sub-command and does not
// return; in any other it does nothing.
func RunHelper() {
	if os.Getenv(helperVariable) == "" {
		return
	}
	cmd := Command()
	cmd.SetArgs(os.Args[2:]) // after "lab"
	if err := cmd.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Helper returns a command that runs "lab args..." of this very executable in the
// namespace: ulvs itself, or a test binary whose TestMain calls RunHelper.
func (l *Lab) Helper(ns string, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := l.Command(ns, self, append([]string{"lab"}, args...)...)
	cmd.Env = append(os.Environ(), helperVariable+"=1")
	return cmd, nil
}

// Server is a process that serves inside a namespace.
type Server struct {
	cmd    *exec.Cmd
	stdin  io.Closer // its end tells the process to end; so does our own
	stderr *bytes.Buffer
}

// Serve starts a server in the namespace and returns when it listens, or with what it
// said when it does not. ctx bounds the wait only; Stop ends the server.
func (l *Lab) Serve(ctx context.Context, ns string, o ServeOptions) (*Server, error) {
	cmd, err := l.Helper(ns, "serve", "--until-eof",
		"--name", o.Name, "--http", o.HTTP, "--tcp", o.TCP, "--udp", o.UDP)
	if err != nil {
		return nil, err
	}
	s := &Server{cmd: cmd, stderr: &bytes.Buffer{}}
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	cmd.Stderr = s.stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a server in %s: %w", l.Netns(ns), err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	if strings.TrimSpace(line) != readyLine {
		_ = s.stdin.Close()
		err := cmd.Wait()
		return nil, fmt.Errorf("server in %s did not start: %v: %s", l.Netns(ns), err, s.stderr)
	}
	return s, nil
}

// Stop ends the server and waits for it.
func (s *Server) Stop() error {
	_ = s.stdin.Close()
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("server: %w: %s", err, s.stderr)
	}
	return nil
}

// ServeAll starts a server on every real server, on the ports that Config balances:
// HTTP on PortHTTP, echoes on PortEcho. stop ends them all.
func (l *Lab) ServeAll(ctx context.Context) (stop func() error, err error) {
	var running []*Server
	stop = func() error {
		var errs []error
		for _, s := range running {
			errs = append(errs, s.Stop())
		}
		return errors.Join(errs...)
	}
	for _, r := range l.addrs.Reals {
		s, err := l.Serve(ctx, r.Name, ServeOptions{
			Name: r.Name, HTTP: fmt.Sprintf(":%d", PortHTTP),
			TCP: fmt.Sprintf(":%d", PortEcho), UDP: fmt.Sprintf(":%d", PortEcho),
		})
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		running = append(running, s)
	}
	return stop, nil
}

// clientSlack is what a client may take beyond its own timeouts before it is ended.
const clientSlack = 5 * time.Minute

// Load runs a client in the namespace and returns its report. Failed requests are in
// the report (see Report.Err); the error means that the client did not run.
func (l *Lab) Load(ctx context.Context, ns string, o LoadOptions) (*Report, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	cmd, err := l.Helper(ns, append([]string{"client", string(o.Kind), o.Target.String()}, o.flags()...)...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, clientSlack)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a client in %s: %w", l.Netns(ns), err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	waitErr := cmd.Wait() // not 0 for failed requests as well: then there is a report
	var r Report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("client in %s: %v: %s", l.Netns(ns), waitErr, stderr.String())
	}
	return &r, nil
}

// flags is the command line of o, which clientCommand reads back.
func (o LoadOptions) flags() []string {
	list := []string{
		"--json", "--connections", strconv.Itoa(o.Connections), "--parallel", strconv.Itoa(o.Parallel),
		"--requests", strconv.Itoa(o.Requests), "--download", strconv.FormatInt(o.Download, 10),
		"--upload", strconv.FormatInt(o.Upload, 10), "--timeout", o.Timeout.String(),
		"--together=" + strconv.FormatBool(o.Together),
	}
	if o.Source.IsValid() {
		list = append(list, "--source", o.Source.String())
	}
	return list
}
