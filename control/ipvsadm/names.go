package ipvsadm

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"ulvs/lvs"
)

// nameTimeout ends one look-up. The original waits for as long as the resolver does.
const nameTimeout = 15 * time.Second

// Names turns names into numbers and back. ok is false where there is no answer.
type Names interface {
	// Address returns an IPv4 address of a host.
	Address(host string) (addr netip.Addr, ok bool)
	// Host returns the name of an address.
	Host(addr netip.Addr) (name string, ok bool)
	// Port returns the port of a service name.
	Port(service string, proto uint8) (port uint16, ok bool)
	// Service returns the name of a port.
	Service(port uint16, proto uint8) (name string, ok bool)
}

// SystemNames asks the resolver for hosts and /etc/services for ports. Answers about addresses
// are kept for as long as the value lives, and after one look-up that timed out no address is
// asked for: a listing of a thousand sessions must not wait a thousand times.
func SystemNames() Names { return &systemNames{hosts: map[netip.Addr]string{}} }

type systemNames struct {
	hosts    map[netip.Addr]string
	gaveUp   bool
	services map[string]uint16 // "http/tcp"
	ports    map[string]string // "80/tcp"
}

func (n *systemNames) Address(host string) (netip.Addr, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), nameTimeout)
	defer cancel()
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil || len(list) == 0 {
		return netip.Addr{}, false
	}
	return list[0].Unmap(), true
}

func (n *systemNames) Host(addr netip.Addr) (string, bool) {
	if name, known := n.hosts[addr]; known || n.gaveUp {
		return name, name != ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), nameTimeout)
	defer cancel()
	list, err := net.DefaultResolver.LookupAddr(ctx, addr.String())
	n.gaveUp = ctx.Err() != nil
	name := ""
	if err == nil && len(list) > 0 {
		name = strings.TrimSuffix(list[0], ".")
	}
	n.hosts[addr] = name
	return name, name != ""
}

func (n *systemNames) Port(service string, proto uint8) (uint16, bool) {
	n.load()
	port, ok := n.services[service+"/"+lvs.ProtoName(proto)]
	return port, ok
}

func (n *systemNames) Service(port uint16, proto uint8) (string, bool) {
	n.load()
	name, ok := n.ports[strconv.Itoa(int(port))+"/"+lvs.ProtoName(proto)]
	return name, ok
}

// load reads /etc/services once; without the file there are no service names.
func (n *systemNames) load() {
	if n.services != nil {
		return
	}
	n.services, n.ports = map[string]uint16{}, map[string]string{}
	f, err := os.Open("/etc/services")
	if err != nil {
		return
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		n.line(lines.Text())
	}
}

// line reads "http 80/tcp www # comment". The first line about a name or a port counts.
func (n *systemNames) line(text string) {
	text, _, _ = strings.Cut(text, "#")
	words := strings.Fields(text)
	if len(words) < 2 {
		return
	}
	number, proto, _ := strings.Cut(words[1], "/")
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return
	}
	if _, known := n.ports[words[1]]; !known {
		n.ports[words[1]] = words[0]
	}
	for i, name := range words {
		if i == 1 {
			continue
		}
		if key := name + "/" + proto; n.services[key] == 0 {
			n.services[key] = uint16(port)
		}
	}
}
