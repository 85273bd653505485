package conformance

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// Options of a replay.
type Options struct {
	Workers int       // frames are dealt to them by a hash; 0: 1
	Log     io.Writer // one line per failing step
	Verbose bool      // log every step
}

// Outcome is what became of a scenario.
type Outcome struct {
	Steps, Failed int
}

// Play replays a scenario. The error is about the replay itself; differences are counted and logged.
func Play(s *Scenario, o Options) (result Outcome, err error) {
	b, err := newBed(max(o.Workers, 1), true)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	d := &desk{bed: b, sysctls: otherSysctls()}
	sh, err := newShell(d.serve)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, sh.close()) }()
	d.proc = filepath.Join(sh.dir, "proc")
	p := player{bed: b, desk: d, shell: sh}
	for i := range s.Steps {
		step := &s.Steps[i]
		result.Steps++
		verdict := p.play(step)
		switch {
		case verdict != "":
			result.Failed++
			fmt.Fprintf(o.Log, "FAIL %s step %d: %s: %s\n", s.Name, i, p.describe(step), verdict)
		case o.Verbose:
			fmt.Fprintf(o.Log, "     %s step %d: %s\n", s.Name, i, p.describe(step))
		}
	}
	return result, nil
}

// player plays the steps of one scenario.
type player struct {
	bed   *bed
	desk  *desk
	shell *shell
	note  string // the last one: it says what the next steps are about
}

func (p *player) describe(s *Step) string {
	switch {
	case s.In != nil:
		what := "in " + s.In.If + " " + Describe(s.In.Hex)
		if p.note != "" {
			what = "(" + p.note + ") " + what
		}
		return what
	case s.Cmd != "":
		return "$ " + s.Cmd
	}
	return s.Note
}

// play does a step and returns what was wrong, in one line.
func (p *player) play(s *Step) string {
	switch {
	case s.In != nil:
		return p.inject(s)
	case s.Cmd != "":
		return p.command(s)
	}
	p.note = s.Note
	return ""
}

func (p *player) inject(s *Step) string {
	p.bed.pass(stepTime)
	got, err := p.bed.inject(s.In)
	if err != nil {
		return "replay: " + err.Error()
	}
	return compareFrames(&masker{s.In.Hex, p.bed.network.isLocal}, s.Out, got)
}

func (p *player) command(s *Step) string {
	p.note, p.desk.refused = "", nil
	text, rc, err := p.shell.run(s.Cmd)
	if err != nil {
		return "replay: " + err.Error()
	}
	if len(p.desk.refused) > 0 {
		return "replay: cannot do " + strings.Join(p.desk.refused, ", ")
	}
	if s.Text != nil {
		if d := compareText(*s.Text, text); d != "" {
			return d
		}
	}
	if s.RC != nil && *s.RC != rc {
		return fmt.Sprintf("exit status: want %d got %d", *s.RC, rc)
	}
	return ""
}

// PlayAll replays a folder, says how each scenario went and sums up in the last line.
func PlayAll(folder fs.FS, o Options) (passed, failed int, err error) {
	names, err := Names(folder)
	if err != nil {
		return 0, 0, err
	}
	for i, file := range names {
		if line, ok := playFile(folder, file, o); ok {
			passed++
			fmt.Fprintf(o.Log, "ok   %s (%d of %d)\n", line, i+1, len(names))
		} else {
			failed++
			fmt.Fprintf(o.Log, "FAIL %s (%d of %d)\n", line, i+1, len(names))
		}
	}
	fmt.Fprintf(o.Log, "conformance: %d passed, %d failed\n", passed, failed)
	return passed, failed, nil
}

// playFile plays one scenario. A panic is a failure of that one.
func playFile(folder fs.FS, file string, o Options) (line string, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			line, ok = fmt.Sprintf("%s: panic: %v\n%s", file, p, debug.Stack()), false
		}
	}()
	s, err := Load(folder, file)
	if err != nil {
		return file + ": " + err.Error(), false
	}
	r, err := Play(s, o)
	if err != nil {
		return s.Name + ": replay: " + err.Error(), false
	}
	if r.Failed > 0 {
		return fmt.Sprintf("%s: %d of %d steps", s.Name, r.Failed, r.Steps), false
	}
	return fmt.Sprintf("%s: %d steps", s.Name, r.Steps), true
}
