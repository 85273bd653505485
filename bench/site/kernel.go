package site

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// UDPArrived returns how many datagrams reached the UDP sockets of the real servers, read or not.
func (s *Site) UDPArrived() (sum uint64, err error) {
	for _, r := range s.Addresses().Reals {
		for _, name := range []string{"InDatagrams", "RcvbufErrors"} {
			n, err := s.Counter(r.Name, "/proc/thread-self/net/snmp", "Udp:", name)
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
