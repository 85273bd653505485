package ipvsadm

import (
	"net/netip"
	"strconv"
	"strings"
)

// address is what -t and -r take.
type address struct {
	addr    netip.Addr
	port    uint16
	hasPort bool
}

// parseAddress reads host, host:port or [IPv6]:port as ipvsadm does: an IPv6 address without
// brackets has no port, brackets need one, and brackets around anything else hide its port.
func parseAddress(text string, proto uint8, names Names) (a address, ok bool) {
	host, port, has := text, "", false
	if strings.HasPrefix(text, "[") {
		if host, port, has = strings.Cut(text[1:], "]"); !has || !strings.HasPrefix(port, ":") {
			return a, false
		}
		port = port[1:]
	}
	if a.addr, ok = parseIPv6(host); !ok {
		has = false
		if i := strings.LastIndexByte(host, ':'); i >= 0 {
			host, port, has = host[:i], host[i+1:], true
		}
		if a.addr, ok = parseHost(host, names); !ok {
			return a, false
		}
	}
	a.hasPort = has
	if has {
		a.port, ok = parsePort(port, proto, names)
	}
	return a, ok
}

func parsePort(text string, proto uint8, names Names) (uint16, bool) {
	if n, ok := parseNumber(text, 0, 65535); ok {
		return uint16(n), true
	}
	return names.Port(text, proto)
}

// parseIPv6 is inet_pton(AF_INET6).
func parseIPv6(text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	return a, err == nil && a.Is6() && a.Zone() == ""
}

// parseHost reads an IPv4 address, or asks for a name.
func parseHost(text string, names Names) (netip.Addr, bool) {
	if a, ok := inetAton(text); ok {
		return a, true
	}
	if text == "" {
		return netip.Addr{}, false
	}
	a, ok := names.Address(text)
	return a.Unmap(), ok && a.Unmap().Is4()
}

// inetAton is inet_aton(3): one to four numbers, decimal, octal or hexadecimal, the last of which
// fills the rest of the address. What follows a blank does not count.
func inetAton(text string) (a netip.Addr, ok bool) {
	if i := strings.IndexAny(text, " \t\n\v\f\r"); i >= 0 {
		text = text[:i]
	}
	parts := strings.Split(text, ".")
	if len(parts) > 4 {
		return a, false
	}
	var b [4]byte
	for i, part := range parts {
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (4 - i)
		}
		if !startsWithDigit(part) || strings.ContainsAny(part, "_oObB") && !strings.HasPrefix(strings.ToLower(part), "0x") {
			return a, false
		}
		n, err := strconv.ParseUint(part, 0, bits)
		if err != nil || strings.Contains(part, "_") {
			return a, false
		}
		for k := i; bits > 0; k++ {
			bits -= 8
			b[k] = byte(n >> bits)
		}
	}
	return netip.AddrFrom4(b), true
}

func startsWithDigit(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }

// parseNumber is strtol in base 10 of the whole text: blanks before it and a sign are fine.
func parseNumber(text string, low, high int64) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimLeft(text, " \t\n\v\f\r"), 10, 64)
	return n, err == nil && n >= low && n <= high
}

// atoi is C's: as many digits as there are, 0 without any.
func atoi(text string) int {
	text = strings.TrimLeft(text, " \t\n\v\f\r")
	end := 0
	for end < len(text) && (text[end] >= '0' && text[end] <= '9' || end == 0 && (text[0] == '-' || text[0] == '+')) {
		end++
	}
	n, err := strconv.Atoi(text[:end])
	if err != nil {
		return 0
	}
	return n
}
