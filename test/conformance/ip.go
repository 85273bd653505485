package conformance

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ulvs/dataplane"
	"ulvs/packet"
)

// otherSysctls are the kernel's net.ipv4.vs settings that the director has none of, with the kernel's
// defaults. Lines may set and read them.
func otherSysctls() map[string]string {
	list := map[string]string{
		"backup_only": "0", "conntrack": "0", "debug_level": "0", "ignore_tunneled": "0", "lblc_expiration": "86400",
		"lblcr_expiration": "86400", "run_estimation": "1", "snat_reroute": "1", "sync_persist_mode": "0",
		"sync_ports": "1", "sync_qlen_max": "0", "sync_refresh_period": "0", "sync_retries": "0", "sync_sock_size": "0",
		"sync_threshold": "3\t50", "sync_version": "1",
	}
	out := make(map[string]string, len(list))
	for name, value := range list {
		out[vsPrefix+name] = value
	}
	return out
}

// ip is iproute2's, for what changes the recordings' network: link mtu, addresses, routes, neighbours.
func (d *desk) ip(args []string, err stream) int {
	what := "ip " + strings.Join(args, " ")
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		args = args[1:] // -4, -6, -batch is none of ours and fails below
	}
	if len(args) < 2 {
		return d.refuse(err, what)
	}
	n := d.bed.network.clone()
	object, verb, words := args[0], args[1], keyed(args[2:])
	ok := false
	switch {
	case strings.HasPrefix("link", object) && verb == "set":
		ok = n.setLink(words)
	case strings.HasPrefix("route", object) && verb == "flush":
		ok = true // learned path MTUs are forgotten with the new network
	case strings.HasPrefix("address", object):
		ok = n.setAddr(verb, words)
	case strings.HasPrefix("neighbour", object) || object == "neighbor":
		ok = n.setNeigh(verb, words)
	case strings.HasPrefix("route", object):
		ok = n.setRoute(verb, words)
	}
	if !ok {
		return d.refuse(err, what)
	}
	d.bed.reroute(n)
	return 0
}

// keyed turns "X mtu N dev D" into pairs; the word without a key gets "".
func keyed(args []string) map[string]string {
	words := map[string]string{}
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "dev", "mtu", "via", "lladdr", "nud", "src", "metric", "scope", "table", "proto":
			if i+1 < len(args) {
				words[args[i]] = args[i+1]
				i++
			}
		case "up", "nodad", "permanent", "onlink", "local":
			words[args[i]] = "yes"
		default:
			words[""] = args[i]
		}
	}
	return words
}

func (n *Network) setLink(words map[string]string) bool {
	name := words["dev"]
	if name == "" {
		name = words[""]
	}
	i, ok := n.port(name)
	if !ok {
		return name == "lo"
	}
	if text, given := words["mtu"]; given {
		mtu, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return false
		}
		n.ports[i].MTU = uint16(mtu)
		return true
	}
	return words["up"] != ""
}

func (n *Network) setAddr(verb string, words map[string]string) bool {
	text, _, _ := strings.Cut(words[""], "/")
	a, err := netip.ParseAddr(text)
	if err != nil {
		return false
	}
	n.addrs = slices.DeleteFunc(n.addrs, func(x netip.Addr) bool { return x == a })
	if verb == "add" || verb == "replace" {
		n.addrs = append(n.addrs, a)
		return true
	}
	return strings.HasPrefix("delete", verb)
}

func (n *Network) setNeigh(verb string, words map[string]string) bool {
	a, err := netip.ParseAddr(words[""])
	port, ok := n.port(words["dev"])
	if err != nil || !ok {
		return false
	}
	key := dataplane.HopKey{Port: port, Addr: a}
	if strings.HasPrefix("delete", verb) {
		delete(n.neighs, key)
		return true
	}
	mac, ok := parseMAC(words["lladdr"])
	n.neighs[key] = mac
	return ok
}

func parseMAC(text string) (mac packet.MAC, ok bool) {
	parts := strings.Split(text, ":")
	if len(parts) != len(mac) {
		return mac, false
	}
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 16, 8)
		if err != nil {
			return mac, false
		}
		mac[i] = byte(v)
	}
	return mac, true
}

func (n *Network) setRoute(verb string, words map[string]string) bool {
	prefix, ok := parsePrefix(words[""], words["via"])
	if !ok {
		return false
	}
	if words["local"] != "" {
		n.local = append(n.local, prefix)
		return verb == "add"
	}
	if verb != "add" {
		n.routes = slices.DeleteFunc(n.routes, func(r route) bool { return r.prefix == prefix })
	}
	if strings.HasPrefix("delete", verb) {
		return true
	}
	r := route{prefix: prefix}
	if r.via, _ = netip.ParseAddr(words["via"]); r.via.IsValid() {
		key, source, ok := n.NextHop(r.via)
		if !ok {
			return false
		}
		r.port, r.source = key.Port, source
	}
	if port, ok := n.port(words["dev"]); ok {
		r.port = port
	} else if !r.via.IsValid() {
		return false
	}
	if a, err := netip.ParseAddr(words["src"]); err == nil {
		r.source = a
	}
	n.routes = append(n.routes, r)
	return true
}

func parsePrefix(text, via string) (netip.Prefix, bool) {
	if text == "default" {
		text = "0.0.0.0/0"
		if strings.Contains(via, ":") {
			text = "::/0"
		}
	}
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err == nil
}
