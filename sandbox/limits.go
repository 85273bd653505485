package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Limits are what a process has let go for good, and with it the processes that it starts. The zero Limits are of one
// that has let nothing go.
type Limits struct {
	Kept    []int     `json:"kept,omitempty"`    // capabilities that it meant to keep
	Denied  []uintptr `json:"denied,omitempty"`  // system calls
	Filters int       `json:"filters,omitempty"` // of system calls, its own and those it was started under
}

// ErrLacks is in the error of a process that cannot have what it needs from the one that started it.
var ErrLacks = errors.New("the process before has given up for good what this program needs")

// denied are the numbers of the calls that the filter refuses.
func denied() (list []uintptr) {
	for _, calls := range [][]Call{Denied, archDenied} {
		for _, c := range calls {
			list = append(list, c.Number)
		}
	}
	return list
}

func keptNumbers() (list []int) {
	for _, c := range Kept {
		list = append(list, c.Number)
	}
	return list
}

// Lacks tells what this program needs and a process that was started by one with these limits cannot have: capabilities
// that are in Kept now and were not, calls that were in Denied and are not any more. Both would fail at night only.
func (l *Limits) Lacks() error {
	var lost []string
	for _, c := range Kept {
		if l.Kept != nil && !slices.Contains(l.Kept, c.Number) {
			lost = append(lost, fmt.Sprintf("capability %d (%s)", c.Number, c.Why))
		}
	}
	now := denied()
	for _, call := range l.Denied {
		if !slices.Contains(now, call) {
			lost = append(lost, fmt.Sprintf("system call %d", call))
		}
	}
	if lost == nil {
		return nil
	}
	return fmt.Errorf("%w: %s: restart instead", ErrLacks, strings.Join(lost, ", "))
}

// filtered reports whether the filter that this program would put on is there already: the process that started this
// one put it on, and nothing came in between. A filter of somebody else, systemd's for example, is one more or less.
func (l *Limits) filtered() bool {
	return l.Filters > 0 && l.Filters == filters() && slices.Equal(l.Denied, denied())
}

// filters is how many filters of system calls are on this process; 0: none, or the kernel does not say (before 5.9).
func filters() int {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "Seccomp_filters:"); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(text))
			return n
		}
	}
	return 0
}
