// Package runner runs commands of the operator's so that none of them can harm the director: so many
// at once, so long each, so much output.
//
// It owns the process group of a command from its start to its end: what the command
// leaves running in it is killed. It does not know what commands are for.
package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Defaults of a Command.
const (
	DefaultGrace     = 2 * time.Second // keepalived's, from SIGTERM to SIGKILL
	DefaultMaxOutput = 16 << 10        // bytes: enough for any message, too little to hurt
)

// ErrBusy says that ctx ended while as many commands ran as may.
var ErrBusy = errors.New("too many commands run already")

// Command is what to run.
type Command struct {
	Args      []string      // the program and its arguments; no shell is involved
	Env       []string      // "NAME=value", besides the director's own
	Timeout   time.Duration // then SIGTERM to the group; 0: as long as ctx
	Grace     time.Duration // after that SIGKILL; 0: DefaultGrace
	MaxOutput int           // bytes of stdout and stderr that are kept, the rest is read and dropped; 0: DefaultMaxOutput
	// KeepChildren spares what a command that ended by itself left running in its group.
	KeepChildren bool
}

// Outcome is how a command ended.
type Outcome struct {
	Code     int            // exit code; -1: Signal ended it
	Signal   syscall.Signal // valid iff Code is -1
	TimedOut bool           // it was still running after Timeout, or when ctx ended
	Output   []byte         // stdout and stderr as they came
	Dropped  int64          // bytes of output that were not kept
	Took     time.Duration
}

// Runner bounds how many commands run at once. The zero Runner runs none.
type Runner struct{ slots chan struct{} }

// New returns a Runner for up to concurrent commands at once.
func New(concurrent int) *Runner { return &Runner{make(chan struct{}, concurrent)} }

// Run runs a command to its end. It waits for its turn until ctx ends: ErrBusy. Other errors say why
// the command could not be started. When ctx ends, the command does too.
func (r *Runner) Run(ctx context.Context, c Command) (Outcome, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return Outcome{}, ErrBusy
	}
	if len(c.Args) == 0 {
		return Outcome{}, errors.New("no command given")
	}
	return c.run(ctx)
}

func (c *Command) run(ctx context.Context) (Outcome, error) {
	said, w, err := listen(c.MaxOutput)
	if err != nil {
		return Outcome{}, fmt.Errorf("start %s: %w", c.Args[0], err)
	}
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Stdout, cmd.Stderr = w, w
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	began := time.Now()
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		said.end()
		return Outcome{}, fmt.Errorf("start %s: %w", c.Args[0], err)
	}
	group := cmd.Process.Pid
	timedOut := c.await(ctx, group)
	if timedOut || !c.KeepChildren {
		_ = syscall.Kill(-group, syscall.SIGKILL) // the leader is not reaped yet: the number is ours
	}
	_ = cmd.Wait() // ProcessState says it better
	out := Outcome{Code: cmd.ProcessState.ExitCode(), TimedOut: timedOut, Took: time.Since(began)}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		out.Signal = status.Signal()
	}
	out.Output, out.Dropped = said.end()
	return out, nil
}

// await returns when the group's leader has ended, by itself or because it was told to.
func (c *Command) await(ctx context.Context, group int) (timedOut bool) {
	ended := make(chan struct{})
	go runWait(group, ended)
	var timeout <-chan time.Time
	if c.Timeout > 0 {
		t := time.NewTimer(c.Timeout)
		defer t.Stop()
		timeout = t.C
	}
	select {
	case <-ended:
		return false
	case <-timeout:
	case <-ctx.Done():
	}
	_ = syscall.Kill(-group, syscall.SIGTERM)
	grace := c.Grace
	if grace == 0 {
		grace = DefaultGrace
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-ended:
	case <-t.C:
		_ = syscall.Kill(-group, syscall.SIGKILL)
		<-ended
	}
	return true
}

// runWait closes ended when the process has ended, and leaves it unreaped, so that its number is nobody else's yet.
func runWait(pid int, ended chan<- struct{}) {
	defer close(ended)
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
