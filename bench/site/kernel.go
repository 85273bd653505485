package site

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// KernelForwarded returns how many packets the kernel of a namespace forwarded, both families.
func (s *Site) KernelForwarded(ns string) (n uint64, err error) {
	v4, err := s.counter(ns, "/proc/thread-self/net/snmp", "Ip:", "ForwDatagrams")
	if err != nil {
		return 0, err
	}
	err = s.Do(ns, func() error {
		text, err := os.ReadFile("/proc/thread-self/net/snmp6")
		n = v4 + lineOf(string(text), "Ip6OutForwDatagrams")
		return err
	})
	return n, err
}

// UDPArrived returns how many datagrams reached the UDP sockets of the real servers, read or not.
func (s *Site) UDPArrived() (sum uint64, err error) {
	for _, r := range s.Addresses().Reals {
		for _, name := range []string{"InDatagrams", "RcvbufErrors"} {
			n, err := s.counter(r.Name, "/proc/thread-self/net/snmp", "Udp:", name)
			if err != nil {
				return 0, err
			}
			sum += n
		}
	}
	return sum, nil
}

// TCPSockets returns how many TCP sockets the real servers have, those that listen included.
func (s *Site) TCPSockets() (sum int, err error) {
	for _, r := range s.Addresses().Reals {
		err := s.Do(r.Name, func() error {
			v4, err := os.ReadFile("/proc/thread-self/net/sockstat")
			if err != nil {
				return err
			}
			v6, err := os.ReadFile("/proc/thread-self/net/sockstat6") // a server for both families has these
			for line := range strings.Lines(string(v4) + string(v6)) {
				if f := strings.Fields(line); len(f) > 2 && (f[0] == "TCP:" || f[0] == "TCP6:") {
					n, _ := strconv.Atoi(f[2])
					sum += n
				}
			}
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("sockets of %s: %w", r.Name, err)
		}
	}
	return sum, nil
}

func (s *Site) counter(ns, file, prefix, name string) (n uint64, err error) {
	err = s.Do(ns, func() error {
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
