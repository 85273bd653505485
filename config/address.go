package config

import (
	"encoding/binary"
	"errors"
	"fmt"

	"net"
	"net/netip"
	"strconv"
	"strings"

	"ulvs/lvs"
)

// parseAddress reads "192.0.2.1:80", "192.0.2.1", "[2001:db8::1]:80" or
// "2001:db8::1". hasPort is false when there is none.
func parseAddress(s string) (ap netip.AddrPort, hasPort bool, err error) {
	host, port := s, ""
	if addr, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(addr, 0), false, plainAddress(addr)
	}
	if strings.Contains(s, ":") {
		if host, port, err = net.SplitHostPort(s); err != nil {
			return ap, false, fmt.Errorf("%.60q is no address", s)
		}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return ap, false, fmt.Errorf("%.60q is no IP address", host)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return ap, false, fmt.Errorf("%.60q is no port from 0 to 65535", port)
	}
	return netip.AddrPortFrom(addr, uint16(n)), true, plainAddress(addr)
}

// plainAddress refuses what no host on a wire can have as its own address.
func plainAddress(a netip.Addr) error {
	switch {
	case a.Zone() != "":
		return fmt.Errorf("%s has a zone", a)
	case a.Is4In6():
		return fmt.Errorf("%s is an IPv4 address in IPv6 form (write %s)", a, a.Unmap())
	case a.IsUnspecified(), a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%s is not the address of a host", a)
	case a.IsLoopback():
		return fmt.Errorf("%s is a loopback address, which never leaves this machine", a)
	}
	return nil
}

// parseGranularity sets a service's mask: an IPv4 mask "255.255.255.0" or a prefix length, 24 or "24" or "/24".
func parseGranularity(s *lvs.Service, v any) error {
	width := s.Key.Addr.BitLen()
	bits, ok := 0, false
	switch v := v.(type) {
	case int64:
		bits, ok = int(min(max(v, 0), 129)), true
	case string:
		if mask, err := netip.ParseAddr(v); err == nil && width == 32 && mask.Is4() {
			b := mask.As4()
			s.SetClientMask4(binary.BigEndian.Uint32(b[:]))
			return nil
		}
		n, err := strconv.Atoi(strings.TrimPrefix(v, "/"))
		bits, ok = n, err == nil
	}
	if !ok || bits < 1 || bits > width {
		return errors.New("not a mask of clients' addresses")
	}
	s.PersistBits = uint8(bits % width)
	return nil
}
