package ipvsadm

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"
)

// maxRestoreLine bounds a line of -R, in bytes.
const maxRestoreLine = 64 << 10

// programName may begin a line of -R.
const programName = "ipvsadm"

// restoreAll is -R: a command on each line of the input. As the original does, a line that the
// director refuses or popt does not understand is reported and the next one is read; a line that
// is wrong otherwise ends it all. The exit code is the last line's.
func (r *runner) restoreAll() error {
	if r.restore {
		return tryHelp()
	}
	r.restore = true
	var last error
	r.line = 0
	lines := bufio.NewReaderSize(r.in, maxRestoreLine)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return fail("a line is longer than %d bytes", maxRestoreLine)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fail("read: %v", err)
		}
		r.line++
		if args := restoreWords(string(line)); len(args) > 0 {
			if last = r.command(args); endsAll(last) {
				return last
			}
			// Printed now, but for the last line's, which Run reports, too: its code counts.
			if last != nil {
				last = &exit{r.report(last), "", false}
			}
		}
		if err != nil {
			return last
		}
	}
}

func endsAll(err error) bool {
	var e *exit
	return err != nil && (!errors.As(err, &e) || e.all)
}

// restoreWords splits a line. There are no quotes and no comments; the program's name counts nowhere.
func restoreWords(line string) []string {
	words := strings.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' })
	return slices.DeleteFunc(words, func(w string) bool { return w == programName })
}
