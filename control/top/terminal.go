package top

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminal is a screen in raw mode, the other one of xterm and its kin: what was there before comes back.
type terminal struct {
	in, out *os.File
	before  unix.Termios
	resized chan os.Signal
	last    []string // lines on the screen
}

const (
	enter  = "\x1b[?1049h\x1b[?25l" // alternate screen, no cursor
	empty  = "\x1b[2J"
	leave  = "\x1b[?25h\x1b[?1049l"
	toEnd  = "\x1b[K"     // erase the rest of the line
	noWrap = "\x1b[?7l"   // a line that is too wide ends at the edge
	wrap   = "\x1b[?7h"   // ... as usual again
	belowX = "\x1b[J"     // erase below
	goTo   = "\x1b[%d;1H" // first column of a line, from 1
)

// isTerminal reports whether f is one.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// openTerminal switches to raw mode and to the alternate screen.
func openTerminal(in, out *os.File) (*terminal, error) {
	before, err := unix.IoctlGetTermios(int(in.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("read the terminal's mode: %w", err)
	}
	raw := *before // as cfmakeraw(3), but that output is still processed
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, &raw); err != nil {
		return nil, fmt.Errorf("set the terminal's mode: %w", err)
	}
	t := &terminal{in: in, out: out, before: *before, resized: make(chan os.Signal, 1)}
	signal.Notify(t.resized, syscall.SIGWINCH)
	if _, err := out.WriteString(enter + noWrap); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

// close brings back what was there.
func (t *terminal) close() error {
	signal.Stop(t.resized)
	_, err := t.out.WriteString(wrap + leave)
	return errors.Join(err, unix.IoctlSetTermios(int(t.in.Fd()), unix.TCSETS, &t.before))
}

// size returns columns and rows; 80 by 24 where nobody knows.
func (t *terminal) size() (width, height int) {
	ws, err := unix.IoctlGetWinsize(int(t.out.Fd()), unix.TIOCGWINSZ)
	if err != nil || ws.Col == 0 || ws.Row == 0 {
		return 80, 24
	}
	return int(ws.Col), int(ws.Row)
}

// show writes the lines that differ from those on the screen, in one write: nothing flickers.
func (t *terminal) show(lines []string, all bool) error {
	var b strings.Builder
	if all {
		b.WriteString(empty)
		t.last = t.last[:0]
	}
	for i, text := range lines {
		if i < len(t.last) && t.last[i] == text {
			continue
		}
		fmt.Fprintf(&b, goTo+"%s"+toEnd, i+1, text)
	}
	if len(lines) < len(t.last) {
		fmt.Fprintf(&b, goTo+belowX, len(lines)+1)
	}
	t.last = append(t.last[:0], lines...)
	_, err := t.out.WriteString(b.String())
	return err
}
