package ipvsadm

import (
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"

	"ulvs/lvs"
)

// largeNumber is a counter's column: nine places, of which the last is the unit of large ones.
func largeNumber(n uint64, exact bool) string {
	switch {
	case exact:
		s := strconv.FormatUint(n, 10)
		return strings.Repeat(" ", max(9-len(s), 1)) + s
	case n < 1e8:
		return fmt.Sprintf("%9d", n)
	case n < 1e9:
		return fmt.Sprintf("%8dK", n/1e3)
	case n < 1e11:
		return fmt.Sprintf("%8dM", n/1e6)
	case n < 1e14:
		return fmt.Sprintf("%8dG", n/1e9)
	}
	return fmt.Sprintf("%8dT", n/1e12)
}

func forwardWord(m lvs.Method) string {
	switch m {
	case lvs.MethodNAT:
		return "Masq"
	case lvs.MethodTUN:
		return "Tunnel"
	}
	return "Route"
}

func methodOption(m lvs.Method) string {
	switch m {
	case lvs.MethodNAT:
		return "-m"
	case lvs.MethodTUN:
		return "-i"
	}
	return "-g"
}

func tunnelWord(t lvs.TunnelType) string {
	switch t {
	case lvs.TunnelGUE:
		return "gue"
	case lvs.TunnelGRE:
		return "gre"
	}
	return "ipip"
}

// tunnelInfo is the column of --tun-info: gue:6080:+c.
func tunnelInfo(d *lvs.Destination) string {
	if d.Method != lvs.MethodTUN {
		return "n/a"
	}
	sum := [...]string{"-c", "+c", "r+c"}[min(d.Tunnel.Checksum, 2)]
	switch d.Tunnel.Type {
	case lvs.TunnelGUE:
		return fmt.Sprintf("gue:%d:%s", d.Tunnel.Port, sum)
	case lvs.TunnelGRE:
		return "gre:" + sum
	}
	return "ipip"
}

// tunnelOptions is the same for -S.
func tunnelOptions(d *lvs.Destination) string {
	if d.Method != lvs.MethodTUN {
		return ""
	}
	sum := [...]string{" --tun-nocsum", " --tun-csum", " --tun-remcsum"}[min(d.Tunnel.Checksum, 2)]
	switch d.Tunnel.Type {
	case lvs.TunnelGUE:
		return fmt.Sprintf(" --tun-type gue --tun-port %d%s", d.Tunnel.Port, sum)
	case lvs.TunnelGRE:
		return " --tun-type gre" + sum
	}
	return " --tun-type ipip"
}

// flagWords are the scheduler flags as ipvsadm lists them: of sh and mh only those that these know.
func flagWords(s *lvs.Service) string {
	names := []string{"flag-1", "flag-2", "flag-3"}
	if s.Scheduler == "sh" || s.Scheduler == "mh" {
		names = []string{s.Scheduler + "-fallback", s.Scheduler + "-port"}
	}
	var words []string
	for bit, name := range names {
		if s.SchedFlags&(1<<bit) != 0 {
			words = append(words, name)
		}
	}
	return strings.Join(words, ",")
}

// maskWord is a dotted mask for IPv4 and a prefix length for IPv6.
func maskWord(s *lvs.Service) string {
	if s.Key.Addr.Is6() {
		return strconv.Itoa(int(s.PersistBits))
	}
	return lvs.DottedMask4(s.ClientMask4())
}

// Lengths to which the original cuts names.
const (
	maxName     = 59 // its buffer
	maxListName = 28 // a column; only for IPv4
)

// addrPort is an address with its port, as numbers or as names.
func (r *runner) addrPort(ap netip.AddrPort, proto uint8, st style) string {
	host, port := addrWord(ap.Addr()), strconv.Itoa(int(ap.Port()))
	if !st.has(tagNumeric) {
		if name, ok := r.names.Host(ap.Addr()); ok {
			host = name
		}
		if name, ok := r.names.Service(ap.Port(), proto); ok && ap.Port() != 0 {
			port = name
		}
	}
	text := host + ":" + port
	if ap.Addr().Is6() {
		text = "[" + host + "]:" + port
	}
	if !ap.Addr().Is6() && !st.rule && len(text) > maxListName && !st.has(tagConnection) {
		return text[:maxListName]
	}
	return text[:min(len(text), maxName)]
}

// addrWord is inet_ntop of the C library, which, unlike Go, writes ::a.b.c.d.
func addrWord(a netip.Addr) string {
	if !a.Is6() {
		return a.String()
	}
	b := a.As16()
	low := uint32(b[12])<<24 | uint32(b[13])<<16 | uint32(b[14])<<8 | uint32(b[15])
	if [12]byte(b[:12]) == [12]byte{} && bits.Len32(low) > 16 {
		return "::" + netip.AddrFrom4([4]byte(b[12:])).String()
	}
	return a.WithZone("").String()
}
