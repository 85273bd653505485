package lvs

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ParseServiceKey reads what people call a service: "tcp 192.0.2.10:80" as String writes it, with a slash for the
// blank, or without "tcp"; "fwm 7" and "fwm 7 ipv6" for a mark.
func ParseServiceKey(text string) (k ServiceKey, err error) {
	words := strings.Fields(strings.ReplaceAll(text, "/", " "))
	if len(words) == 1 {
		words = []string{"tcp", words[0]}
	}
	const want = `give one like "tcp/192.0.2.10:80", "udp/[2001:db8::10]:53", "192.0.2.10:80" or "fwm/7"`
	if len(words) >= 2 && words[0] == "fwm" {
		mark, err := strconv.ParseUint(words[1], 10, 32)
		six := len(words) == 3 && words[2] == "ipv6"
		if err != nil || mark == 0 || len(words) > 2 && !six {
			return k, fmt.Errorf("%.60q is no service; %s", text, want)
		}
		k = ServiceKey{Addr: netip.IPv4Unspecified(), Mark: uint32(mark)}
		if six {
			k.Addr = netip.IPv6Unspecified()
		}
		return k, nil
	}
	protos := map[string]uint8{"tcp": ProtoTCP, "udp": ProtoUDP, "sctp": ProtoSCTP}
	if len(words) != 2 || protos[strings.ToLower(words[0])] == 0 {
		return k, fmt.Errorf("%.60q is no service; %s", text, want)
	}
	vip, err := netip.ParseAddrPort(words[1])
	if err != nil {
		return k, fmt.Errorf("%.60q is no service; %s", text, want)
	}
	return ServiceKey{Addr: vip.Addr(), Port: vip.Port(), Proto: protos[strings.ToLower(words[0])]}, nil
}

// Name is String with the family of a mark that is not for IPv4: what ParseServiceKey reads.
func (k ServiceKey) Name() string {
	if k.Mark != 0 && k.Addr.Is6() {
		return k.String() + " ipv6"
	}
	return k.String()
}
