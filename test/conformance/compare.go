package conformance

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// compareFrames returns "" if what came out is what the kernel sent, else one line that says both.
// The order holds on each interface; the recorder could not know it across them.
func compareFrames(m *masker, want, got []Frame) string {
	byName := func(list []Frame) []Frame {
		list = slices.Clone(list)
		slices.SortStableFunc(list, func(a, b Frame) int { return strings.Compare(a.If, b.If) })
		return list
	}
	want, got = byName(want), byName(got)
	if len(want) != len(got) {
		return fmt.Sprintf("want %s got %s", describeAll(want), describeAll(got))
	}
	for i := range want {
		if d := m.difference(&want[i], &got[i]); d != "" {
			return fmt.Sprintf("want %s got %s: %s", describeAll(want), describeAll(got), d)
		}
	}
	if !sameIDs(want, got) {
		return fmt.Sprintf("want %s got %s: fragments of one packet differ in their id", describeAll(want), describeAll(got))
	}
	return ""
}

func (m *masker) difference(want, got *Frame) string {
	if want.If != got.If {
		return fmt.Sprintf("out of %s, not %s", got.If, want.If)
	}
	w, g := m.masked(want.Hex, got.Hex)
	if bytes.Equal(w, g) {
		return ""
	}
	if len(w) != len(g) {
		return fmt.Sprintf("%d bytes, not %d", len(g), len(w))
	}
	at := 0
	for w[at] == g[at] {
		at++
	}
	end := min(at+8, len(w))
	return fmt.Sprintf("byte %d on: want %x got %x", at, want.Hex[at:end], got.Hex[at:end])
}

// sameIDs reports whether fragments that belong together in want do so in got, too.
func sameIDs(want, got []Frame) bool {
	ids := map[uint32]uint32{}
	for i := range want {
		w, ok := viewIP(want[i].Hex)
		g, okGot := viewIP(got[i].Hex)
		if !ok || !okGot || w.v6 != g.v6 || !w.fragment || !g.fragment {
			continue
		}
		key, id := w.id(want[i].Hex), g.id(got[i].Hex)
		if old, seen := ids[key]; seen && old != id {
			return false
		}
		ids[key] = id
	}
	return true
}

func describeAll(list []Frame) string {
	if len(list) == 0 {
		return "nothing"
	}
	var words []string
	for _, f := range list {
		words = append(words, "{"+f.If+" "+Describe(f.Hex)+"}")
	}
	return strings.Join(words, " ")
}

// connRow matches a row of ipvsadm -Lc, procRow one of /proc/net/ip_vs_conn: what is before the expiry,
// the expiry, what is after it.
var (
	connRow = regexp.MustCompile(`^([A-Z]+ +)(\d\d+):(\d\d)( .*)$`)
	procRow = regexp.MustCompile(`^((?:TCP|UDP|SCTP|IP|AH|ESP) +[0-9A-Fa-f:\[\]]+ [0-9A-F]{4} .* )()(\d+)( *\S*.*)$`)
)

// row is a line, and if it is a session's, when that expires.
type row struct {
	text    string // with the expiry taken out
	seconds int    // -1: no session's line
}

func rowOf(line string) row {
	m := connRow.FindStringSubmatch(line)
	if m == nil {
		m = procRow.FindStringSubmatch(line)
	}
	if m == nil {
		return row{line, -1}
	}
	minutes, _ := strconv.Atoi("0" + m[2])
	seconds, _ := strconv.Atoi(m[3])
	return row{m[1] + "|" + m[4], minutes*60 + seconds}
}

// compareText returns "" if got says what want does, else one line that says both. Expiry may differ by a
// second. Consecutive lines of sessions may come in any order: a kernel's hash has a random key.
func compareText(want, got string) string {
	if want == got {
		return ""
	}
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := 0; i < len(w); i++ {
		if i >= len(g) {
			return fmt.Sprintf("line %d: want %q got the end", i+1, w[i])
		}
		if n := sessions(w[i:]); n > 0 && n == sessions(g[i:]) {
			if d := compareSessions(w[i:i+n], g[i:i+n]); d != "" {
				return d
			}
			i += n - 1
			continue
		}
		if w[i] != g[i] {
			return fmt.Sprintf("line %d: want %q got %q", i+1, w[i], g[i])
		}
	}
	if len(g) > len(w) {
		return fmt.Sprintf("line %d: want the end got %q", len(w)+1, g[len(w)])
	}
	return ""
}

// sessions counts the sessions' lines at the start of lines.
func sessions(lines []string) (n int) {
	for n < len(lines) && rowOf(lines[n]).seconds >= 0 {
		n++
	}
	return n
}

func compareSessions(want, got []string) string {
	left := slices.Clone(got)
	for _, line := range want {
		w := rowOf(line)
		at := slices.IndexFunc(left, func(l string) bool {
			g := rowOf(l)
			return g.text == w.text && g.seconds >= w.seconds-1 && g.seconds <= w.seconds+1
		})
		if at < 0 {
			return fmt.Sprintf("want a session %q got %q", line, left)
		}
		left = slices.Delete(left, at, at+1)
	}
	return ""
}
