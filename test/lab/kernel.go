package lab

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// KernelForwarded returns how many packets the kernel of a namespace forwarded, both families.
func (l *Lab) KernelForwarded(ns string) (n uint64, err error) {
	v4, err := l.Counter(ns, "/proc/thread-self/net/snmp", "Ip:", "ForwDatagrams")
	if err != nil {
		return 0, err
	}
	err = l.Do(ns, func() error {
		text, err := os.ReadFile("/proc/thread-self/net/snmp6")
		n = v4 + lineOf(string(text), "Ip6OutForwDatagrams")
		return err
	})
	return n, err
}

// Counter reads a counter of a namespace's kernel from a file in the form of /proc/net/snmp.
func (l *Lab) Counter(ns, file, prefix, name string) (n uint64, err error) {
	err = l.Do(ns, func() error {
		text, err := os.ReadFile(file)
		n = columnOf(string(text), prefix, name)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("counters of %s: %w", ns, err)
	}
	return n, nil
}

// columnOf reads a counter of /proc/net/snmp: a line of names, then one of values.
func columnOf(text, prefix, name string) uint64 {
	var names []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != prefix {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i := range min(len(names), len(f)) {
			if names[i] == name {
				n, _ := strconv.ParseUint(f[i], 10, 64)
				return n
			}
		}
	}
	return 0
}

func lineOf(text, name string) uint64 {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			n, _ := strconv.ParseUint(f[1], 10, 64)
			return n
		}
	}
	return 0
}
