package measure

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Work returns the CPU seconds since boot of everything that may be a benchmark's: the machine's busy time,
// soft interrupts and kernel threads included, less what foreign processes used: those that neither are this
// one nor descend from it. On a machine of one's own it is the machine's busy time.
func Work() float64 { return MachineCPU().Busy - foreign() }

// process is a line of /proc/PID/stat: its CPU time includes that of its children that ended.
type process struct {
	pid, parent int
	seconds     float64
}

// kthreadd is the parent of all kernel threads.
const kthreadd = 2

// foreign sums the CPU time of processes that are no kernel threads and not of this process's family.
func foreign() (seconds float64) {
	list := processes()
	parent := make(map[int]int, len(list))
	for _, p := range list {
		parent[p.pid] = p.parent
	}
	self := os.Getpid()
	for _, p := range list {
		if at := p.pid; at != kthreadd && p.parent != kthreadd {
			for at > 1 && at != self {
				at = parent[at]
			}
			if at != self {
				seconds += p.seconds
			}
		}
	}
	return seconds
}

func processes() (list []process) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it ended
		}
		if p, ok := parseProcess(string(text)); ok {
			list = append(list, p)
		}
	}
	return list
}

// parseProcess reads /proc/PID/stat, whose second field is a name in brackets that may contain anything.
func parseProcess(text string) (p process, ok bool) {
	id, rest, _ := strings.Cut(text, " (")
	end := strings.LastIndex(rest, ") ")
	if end < 0 {
		return p, false
	}
	f := strings.Fields(rest[end+2:])
	if len(f) < 15 {
		return p, false
	}
	p.pid, _ = strconv.Atoi(id)
	p.parent, _ = strconv.Atoi(f[1])
	for _, ticks := range f[11:15] { // utime stime cutime cstime
		n, _ := strconv.ParseFloat(ticks, 64)
		p.seconds += n / userHz
	}
	return p, p.pid > 0
}
