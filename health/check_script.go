package health

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"

	"ulvs/internal/runner"
)

// Exit codes of a script with dynamic weights: 0 leaves the weight as it is, 1 is a failure, from 2 on
// the weight is the code less 2.
const dynamicBase = 2

// script runs a command and judges how it ends.
func (p *Prober) script(ctx context.Context, q *Probe) Result {
	c := q.Check
	out, err := p.Runner.Run(ctx, runner.Command{
		Args: append([]string{c.Path}, c.Args...), Timeout: c.Timeout.Value, MaxOutput: MaxDetail,
		Env: []string{"ULVS_SERVICE=" + q.Target.Service.String(), "ULVS_REAL_SERVER=" + q.Target.Real.String()},
	})
	said := ""
	if text := oneLine(string(out.Output)); text != "" {
		said = ": " + text
	}
	switch {
	case errors.Is(err, runner.ErrBusy):
		return failed(ReasonLocal, "%v", err)
	case err != nil:
		return failed(ReasonExit, "%v", err)
	case out.TimedOut:
		return failed(ReasonTimeout, "stopped after %v%s", c.Timeout.Value, said)
	case out.Code < 0:
		return failed(ReasonSignal, "%v%s", out.Signal, said)
	case c.Dynamic && out.Code >= dynamicBase:
		return Result{OK: true, Dynamic: true, Weight: int64(out.Code - dynamicBase)}
	case out.Code != 0:
		return failed(ReasonExit, "%d%s", out.Code, said)
	}
	return good()
}

const maxFileBytes = 64 // room for any number

// file reads a number. Weight 0: it has to be 0. Otherwise it counts Weight times; the result fails
// only below the lowest weight that there is, and is added to the configured one if the check is
// dynamic. A file that is not there holds 0, as in keepalived.
func file(c *Check) Result {
	f, err := os.OpenFile(c.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would wait for its writer
	if errors.Is(err, os.ErrNotExist) {
		return c.judgeFile(0)
	}
	if err != nil {
		return failed(ReasonFile, "%v", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return failed(ReasonFile, "%s is not a regular file", c.Path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return failed(ReasonFile, "%v", err)
	}
	value, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 32)
	if err != nil || len(text) > maxFileBytes {
		return failed(ReasonFile, "%q is no number", text)
	}
	return c.judgeFile(value)
}

func (c *Check) judgeFile(value int64) Result {
	sum := value * int64(c.Weight)
	switch {
	case c.Weight == 0 && value != 0, sum < -math.MaxInt32:
		return failed(ReasonFile, "%s holds %d", c.Path, value)
	case c.Dynamic:
		return Result{OK: true, Dynamic: true, Weight: sum}
	}
	return good()
}
