// Package site is a lab (test/lab) with what benchmarks need in it: servers, a director under test, clients, and
// the counters that say who carried the traffic.
//
// It owns the processes it starts: all of them are this very executable, or the ulvs that it is told. It does
// not measure anything.
package site

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
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ulvs/test/lab"
)

// Limits of waiting.
const (
	readyLimit = time.Minute
	endLimit   = time.Minute
)

// Site is a lab that stands, with its processes.
type Site struct {
	*lab.Lab
	Binary string // ulvs
	dir    string // for configurations
	stops  []func() error
}

// Up makes a site; an empty binary is this executable. What an earlier run left under the prefix is removed.
func Up(ctx context.Context, binary string, o lab.Options) (*Site, error) {
	if binary == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		binary = self
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("this makes network namespaces and needs root: run it with sudo")
	}
	if _, err := lab.Down(ctx, o.Prefix); err != nil {
		return nil, err
	}
	l, err := lab.Up(ctx, o)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "ulvs-bench")
	if err != nil {
		return nil, errors.Join(err, l.Down(ctx))
	}
	return &Site{Lab: l, Binary: binary, dir: dir}, nil
}

// Close ends every process and takes the lab down.
func (s *Site) Close() error {
	var errs []error
	for i := len(s.stops) - 1; i >= 0; i-- {
		errs = append(errs, s.stops[i]())
	}
	errs = append(errs, s.Down(context.Background()), os.RemoveAll(s.dir))
	return errors.Join(errs...)
}

// AtClose has fn called by Close, before what was added earlier.
func (s *Site) AtClose(fn func() error) { s.stops = append(s.stops, fn) }

// Write puts a file into the site's folder and returns its path.
func (s *Site) Write(name, text string) (string, error) {
	path := filepath.Join(s.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o644)
}

// Process is one that runs in a namespace of the site.
type Process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	log   *lab.Log
	ended chan error
}

// Start runs a program in a namespace. With a ready line it returns when the program has printed that to its
// standard output; the process ends with its standard input, or by Stop.
func (s *Site) Start(ns, ready string, argv ...string) (*Process, error) {
	p := &Process{cmd: s.Command(ns, argv[0], argv[1:]...), log: &lab.Log{}, ended: make(chan error, 1)}
	p.cmd.Stderr = p.log
	var stdout io.Reader
	var err error
	if ready != "" {
		if stdout, err = p.cmd.StdoutPipe(); err != nil {
			return nil, err
		}
	} else {
		p.cmd.Stdout = p.log
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s in %s: %w", argv[0], ns, err)
	}
	said := make(chan error, 1)
	go p.watch(stdout, ready, said)
	if ready == "" {
		return p, nil
	}
	select {
	case err := <-said:
		if err == nil {
			return p, nil
		}
		return nil, errors.Join(fmt.Errorf("%s in %s: %w: %s", filepath.Base(argv[0]), ns, err, p.log), p.Stop())
	case <-time.After(readyLimit):
		return nil, errors.Join(fmt.Errorf("%s in %s is not ready: %s", filepath.Base(argv[0]), ns, p.log), p.Stop())
	}
}

// watch reads the process's output and waits for its end.
func (p *Process) watch(stdout io.Reader, ready string, said chan<- error) {
	if stdout != nil {
		r := bufio.NewReader(stdout)
		line, err := r.ReadString('\n')
		if err == nil && !strings.HasPrefix(line, ready) {
			err = fmt.Errorf("it said %q", strings.TrimSpace(line))
		}
		said <- err
		_, _ = io.Copy(p.log, r)
	}
	p.ended <- p.cmd.Wait()
}

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Family lists the process and its children, and theirs.
func (p *Process) Family() []int { return family(p.PID()) }

func family(pid int) []int {
	list := []int{pid}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		for _, word := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				list = append(list, family(child)...)
			}
		}
	}
	return list
}

// Log is what the process said.
func (p *Process) Log() string { return p.log.String() }

// Signal sends one.
func (p *Process) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// Alive reports whether the process runs.
func (p *Process) Alive() bool {
	select {
	case err := <-p.ended:
		p.ended <- err
		return false
	default:
		return true
	}
}

// Stop ends the process, by force if it has to be, and waits for it. How it ended is of no interest: a signal.
func (p *Process) Stop() error {
	if !p.Alive() {
		return nil
	}
	_ = p.stdin.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.ended:
		p.ended <- err
		return nil
	case <-time.After(endLimit):
		_ = p.cmd.Process.Kill()
		err := <-p.ended
		p.ended <- err
		return fmt.Errorf("%s did not end within %s of SIGTERM", p.cmd.Path, endLimit)
	}
}

// Serve starts n of the benchmark's servers on every real server, until Close.
func (s *Site) Serve(port uint16, n int) error {
	for _, r := range s.Addresses().Reals {
		for range n {
			p, err := s.Start(r.Name, "ready", s.Binary, "bench", "load", "serve", "--port", fmt.Sprint(port))
			if err != nil {
				return err
			}
			s.stops = append(s.stops, p.Stop)
		}
	}
	return nil
}

// Run runs "ulvs bench load args..." in a namespace and decodes what it prints.
func (s *Site) Run(ctx context.Context, ns string, into any, args ...string) error {
	cmd := s.Command(ns, s.Binary, append([]string{"bench", "load"}, args...)...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("bench load %s in %s: %w: %s", args[0], ns, err, strings.TrimSpace(said.String()))
	}
	if err := json.Unmarshal(out.Bytes(), into); err != nil {
		return fmt.Errorf("bench load %s in %s: %w", args[0], ns, err)
	}
	return nil
}

// Shell runs a command in a namespace.
func (s *Site) Shell(ns string, argv ...string) error {
	if out, err := s.Command(ns, argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s in %s: %w: %s", strings.Join(argv, " "), ns, err, strings.TrimSpace(string(out)))
	}
	return nil
}
