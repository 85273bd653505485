package sched

import (
	"fmt"

	"ulvs/lvs"
	"ulvs/packet"
)

// table holds every scheduler by its ipvsadm name, in the order of its man page.
var table = [...]struct {
	name  string
	build func(lvs.SchedFlags, Options) policy
}{
	{"rr", newRR},
	{"wrr", newWRR},
	{"lc", newLC},
	{"wlc", newWLC},
	{"lblc", newLBLC},
	{"lblcr", newLBLCR},
	{"dh", newDH},
	{"sh", newSH},
	{"sed", newSED},
	{"nq", newNQ},
	{"fo", newFO},
	{"ovf", newOVF},
	{"mh", newMH},
	{"twos", newTWOS},
	{"none", newNone},
}

// Names returns every name that New knows, in the order of ipvsadm's man page,
// and last "none", the service without a scheduler.
func Names() []string {
	names := make([]string, len(table))
	for i := range table {
		names[i] = table[i].name
	}
	return names
}

// Known reports whether New knows the name.
func Known(name string) bool { return builder(name) != nil }

// UsesWeights reports whether the scheduler gives a real server its share by its weight. ovf's weight is
// a number of sessions, fo's an order.
func UsesWeights(name string) bool {
	switch name {
	case "wrr", "wlc", "lblc", "lblcr", "sh", "sed", "nq", "mh", "twos":
		return true
	}
	return false
}

func builder(name string) func(lvs.SchedFlags, Options) policy {
	for i := range table {
		if table[i].name == name {
			return table[i].build
		}
	}
	return nil
}

// unknown is New's error. A name that is long or nothing like any other gets no
// suggestion.
func unknown(name string) error {
	const maxEdits, maxLen = 2, 16
	if len(name) > maxLen {
		return fmt.Errorf("%w of %d bytes", ErrUnknown, len(name))
	}
	best, edits := "", min(maxEdits, len(name)-1)+1
	for i := range table {
		if e := distance(name, table[i].name); e < edits {
			best, edits = table[i].name, e
		}
	}
	if best == "" {
		return fmt.Errorf("%w %q", ErrUnknown, name)
	}
	return fmt.Errorf("%w %q (did you mean %s?)", ErrUnknown, name, best)
}

// distance counts the bytes to insert, delete, replace or swap with their
// neighbour to turn a into b (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			rows[i][j] = min(replace, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// none is ipvsadm's -s none: no scheduler, so every new session is refused.
type none struct{}

func newNone(lvs.SchedFlags, Options) policy { return none{} }

func (none) update(*change) error { return nil }

func (none) pick(*packet.Tuple, int64) (lvs.DestID, bool) { return 0, false }
