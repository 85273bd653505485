// Package ipvsadm is a drop-in for ipvsadm 1.31 in front of a running director: the same
// commands and options, the same output byte for byte, the same messages and exit codes.
//
// It owns the command line (as popt reads it), the words for a kernel's error numbers, how listings
// look, the format of -S and -R, and the shapes of /proc/net/ip_vs*. It decides nothing: what is
// added, refused or counted is the Backend's matter. It opens no socket; names are looked up
// through Names, and only where the original does (a host in an address, a listing without -n).
//
// Where the original is silent or only crashes, we differ: masks with holes and a /0 are refused
// as a kernel refuses an invalid service, since sessions know prefixes only.
package ipvsadm

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"ulvs/control"
	"ulvs/lvs"
)

// Exit codes of ipvsadm. Missing is that of listing a service that there is not.
const (
	ExitOK      = 0
	ExitMissing = 1
	ExitUsage   = 2   // the command line, or nobody answers
	ExitRefused = 255 // by the director, or popt does not understand the command line
)

// IO is what a command reads and writes. Names may be nil: then the system is asked.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
	Names    Names
	// LineNumbers puts "line 3: " before what -R says about its input's third line. The original
	// does not.
	LineNumbers bool
}

// Backend is the director as ipvsadm needs it.
type Backend interface {
	// Edit makes one change. A refusal is a *lvs.EditError with the kernel's error number.
	Edit(e *lvs.Edit) error
	// Listing returns everything but the sessions.
	Listing() (control.Listing, error)
	// Conns calls fn for each session until fn returns false.
	Conns(fn func(control.ListedConn) bool) error
}

// Run executes one command line, args being what follows the program's name, and returns the exit
// code. Output is complete when it returns.
func Run(args []string, std IO, b Backend) (exitCode int) {
	if std.Names == nil {
		std.Names = SystemNames()
	}
	out := bufio.NewWriter(std.Out)
	r := &runner{out: out, err: std.Err, in: std.In, names: std.Names, b: b, numbers: std.LineNumbers}
	code := r.run(args)
	if err := out.Flush(); err != nil && code == ExitOK {
		fmt.Fprintf(std.Err, "ipvsadm: %v\n", err)
		return ExitUsage
	}
	return code
}

// runner is one call of Run.
type runner struct {
	out     *bufio.Writer
	err     io.Writer
	in      io.Reader
	names   Names
	b       Backend
	restore bool // inside -R
	line    int  // of its input
	numbers bool // IO.LineNumbers
}

// exit ends a command with a message, if there is one, and a code.
type exit struct {
	code int
	msg  string
	// all ends -R, too; a refusal by the Backend ends only its line.
	all bool
}

// Error returns the message.
func (e *exit) Error() string { return e.msg }

// fail is a wrong command line: code 2, and the end of a -R.
func fail(format string, args ...any) error {
	return &exit{ExitUsage, fmt.Sprintf(format, args...), true}
}

func tryHelp() error {
	return &exit{ExitRefused, "Try `ipvsadm -h' or 'ipvsadm --help' for more information.", true}
}

// run does what args say.
func (r *runner) run(args []string) int {
	var err error
	if len(args) == 0 {
		err = r.listAll(0)
	} else {
		err = r.command(args)
	}
	return r.report(err)
}

// command parses and executes one line.
func (r *runner) command(args []string) error {
	q, err := r.parse(args)
	if err != nil {
		return err
	}
	return r.execute(q)
}

// report prints an error's message and returns its code.
func (r *runner) report(err error) int {
	if err == nil {
		return ExitOK
	}
	// What was printed before must be seen before.
	_ = r.out.Flush()
	var e *exit
	if errors.As(err, &e) {
		if e.msg != "" {
			r.complain(e.msg)
		}
		return e.code
	}
	r.complain(err.Error())
	if errors.Is(err, control.ErrNotRunning) {
		return ExitUsage
	}
	return ExitRefused
}

func (r *runner) complain(msg string) {
	if r.restore && r.numbers {
		msg = fmt.Sprintf("line %d: %s", r.line, msg)
	}
	fmt.Fprintln(r.err, msg)
}
