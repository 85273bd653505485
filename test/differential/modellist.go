package differential

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// list is ipvsadm -L, -Lc and -S, always with -n.
func (m *model) list(args []string) result {
	has := func(o string) bool { return slices.Contains(args, o) }
	switch {
	case args[0] == "-Lcn":
		return result{m.listSessions(), 0}
	case args[0] == "-Sn":
		return result{m.listRules(), 0}
	case has("--timeout"):
		return result{fmt.Sprintf("Timeout (tcp tcpfin udp): %d %d %d\n",
			m.timeouts["ESTABLISHED"], m.timeouts["FIN_WAIT"], m.timeouts["UDP"]), 0}
	}
	view, title := "", "Prot LocalAddress:Port Scheduler Flags\n"+
		"  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
	for _, v := range views {
		if has(v.option) {
			view, title = v.option, v.title
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "IP Virtual Server version 1.2.1 (size=4096)\n%s", title)
	for _, s := range m.sorted(has("--nosort")) {
		b.WriteString(s.line(view))
		for _, d := range s.sorted(has("--nosort")) {
			fmt.Fprintf(&b, "  -> %-28s%s", d.addrPort(), d.columns(view))
		}
	}
	return result{b.String(), 0}
}

var views = []struct{ option, title string }{
	{"--stats", fmt.Sprintf("%-33s%9s%9s%9s%9s%9s\n  -> RemoteAddress:Port\n", "Prot LocalAddress:Port",
		"Conns", "InPkts", "OutPkts", "InBytes", "OutBytes")},
	{"--rate", fmt.Sprintf("%-33s%9s%9s%9s%9s%9s\n  -> RemoteAddress:Port\n", "Prot LocalAddress:Port",
		"CPS", "InPPS", "OutPPS", "InBPS", "OutBPS")},
	{"--thresholds", "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n" +
		"  -> RemoteAddress:Port\n"},
	{"--persistent-conn", "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n" +
		"  -> RemoteAddress:Port\n"},
	{"--tun-info", "Prot LocalAddress:Port Scheduler Flags\n" +
		"  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n"},
}

// sorted is the order of a listing: marks last, then family, protocol, address, port; or as they were added.
func (m *model) sorted(asAdded bool) []*service {
	list := slices.Clone(m.services)
	if asAdded {
		return list
	}
	slices.SortStableFunc(list, func(a, b *service) int {
		family := cmp.Compare(a.addr.BitLen(), b.addr.BitLen())
		return cmp.Or(cmp.Compare(a.mark, b.mark), family, cmp.Compare(a.proto, b.proto), a.addr.Compare(b.addr),
			cmp.Compare(a.port, b.port))
	})
	return list
}

func (s *service) sorted(asAdded bool) []*dest {
	list := slices.Clone(s.list)
	if asAdded {
		return list
	}
	slices.SortStableFunc(list, func(a, b *dest) int {
		return cmp.Or(byWords(a.addr.AsSlice(), b.addr.AsSlice()), cmp.Compare(a.port, b.port))
	})
	return list
}

// byWords is ipvsadm's order of addresses: word by word, by the sign of a 32-bit difference, and without telling the
// families apart.
func byWords(a, b []byte) int {
	for i := 0; i < min(len(a), len(b)); i += 4 {
		if c := int32(binary.BigEndian.Uint32(a[i:]) - binary.BigEndian.Uint32(b[i:])); c != 0 {
			return int(c)
		}
	}
	return 0
}

func protoName(proto byte) string {
	return map[byte]string{0: "IP", protoTCP: "TCP", protoUDP: "UDP"}[proto]
}

// name is a service's in a listing.
func (s *service) name() string {
	if s.mark != 0 {
		return fmt.Sprintf("FWM  %d", s.mark)
	}
	return fmt.Sprintf("%-4s %s", protoName(s.proto), netip.AddrPortFrom(s.addr, s.port))
}

func (s *service) line(view string) string {
	if view == "--stats" || view == "--rate" {
		return fmt.Sprintf("%-33s", s.name()) + s.counts.columns(view)
	}
	text := s.name() + " " + s.sched
	if len(s.flags) > 0 {
		text += " (" + strings.Join(s.flags, ",") + ")"
	}
	if s.persist != 0 {
		text += fmt.Sprintf(" persistent %d%s", s.persist, s.mask(" mask "))
	}
	if s.ops {
		text += " ops"
	}
	return text + "\n"
}

// mask is the persistence mask behind a word; nothing for the whole address.
func (s *service) mask(word string) string {
	switch {
	case s.bits == s.addr.BitLen():
		return ""
	case s.v6():
		return fmt.Sprint(word, s.bits)
	}
	ones, err := netip.IPv4Unspecified().Prefix(0)
	if err != nil {
		panic(err)
	}
	all := ones.Addr().As4()
	for i := range s.bits {
		all[i/8] |= 0x80 >> (i % 8)
	}
	return word + netip.AddrFrom4(all).String()
}

func (c *counts) columns(view string) (text string) {
	n := c.shown()
	if view == "--rate" {
		n = c.rates()
	}
	for _, v := range n {
		if v >= 1e8 {
			text += fmt.Sprintf(" %7dK", v/1000)
		} else {
			text += fmt.Sprintf(" %8d", v)
		}
	}
	return text + "\n"
}

var forwardWords = map[string]string{"-g": "Route", "-m": "Masq", "-i": "Tunnel"}

func (d *dest) columns(view string) string {
	switch view {
	case "--stats", "--rate":
		return d.counts.columns(view)
	case "--thresholds":
		return fmt.Sprintf(" %-10d %-10d %-10d %-10d\n", d.upper, d.lower, d.active, d.inactive)
	case "--persistent-conn":
		return fmt.Sprintf(" %-9d %-11d %-10d %-10d\n", d.weight, d.persist, d.active, d.inactive)
	case "--tun-info":
		return fmt.Sprintf(" %-7s %-13s %-6d %-10d %-10d\n", forwardWords[d.method], d.tunnelWord(), d.weight,
			d.active, d.inactive)
	}
	return fmt.Sprintf(" %-7s %-6d %-10d %-10d\n", forwardWords[d.method], d.weight, d.active, d.inactive)
}

func (d *dest) tunnelWord() string {
	sum := map[string]string{"nocsum": "-c", "csum": "+c", "remcsum": "r+c"}[d.tunnel.csum]
	switch {
	case d.method != "-i":
		return "n/a"
	case d.tunnel.kind == "gue":
		return fmt.Sprintf("gue:%d:%s", d.tunnel.port, sum)
	case d.tunnel.kind == "gre":
		return "gre:" + sum
	}
	return "ipip"
}

// listRules is -S.
func (m *model) listRules() string {
	var b strings.Builder
	for _, s := range m.sorted(false) {
		name := fmt.Sprintf("-f %d", s.mark)
		if s.mark == 0 {
			name = fmt.Sprintf("-%c %s", protoName(s.proto)[0]|0x20, netip.AddrPortFrom(s.addr, s.port))
		}
		fmt.Fprintf(&b, "-A %s -s %s", name, s.sched)
		if s.persist != 0 {
			fmt.Fprintf(&b, " -p %d%s", s.persist, s.mask(" -M "))
		}
		if s.ops {
			b.WriteString(" -o")
		}
		if len(s.flags) > 0 {
			fmt.Fprintf(&b, " -b %s", strings.Join(s.flags, ","))
		}
		b.WriteByte('\n')
		for _, d := range s.sorted(false) {
			fmt.Fprintf(&b, "-a %s -r %s %s -w %d", name, d.addrPort(), d.method, d.weight)
			if d.method == "-i" {
				b.WriteString(" --tun-type " + d.tunnel.kind)
				if d.tunnel.kind == "gue" {
					fmt.Fprintf(&b, " --tun-port %d", d.tunnel.port)
				}
				if d.tunnel.kind != "ipip" {
					b.WriteString(" --tun-" + d.tunnel.csum)
				}
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// listSessions is -Lc. Its order means nothing: lines are compared sorted.
func (m *model) listSessions() string {
	rows := []string{}
	for _, s := range m.sessions {
		rows = append(rows, m.row(s.flow, s.state, s.to, s.seen+s.timeout))
	}
	for _, t := range m.allTemplates() {
		rows = append(rows, m.templateRow(t))
	}
	slices.Sort(rows)
	return "IPVS connection entries\npro expire state       source             virtual            destination\n" +
		strings.Join(rows, "")
}

func (m *model) row(f flow, state string, to netip.AddrPort, expires int64) string {
	left := (expires - m.now) / ticks
	return fmt.Sprintf("%-3s %02d:%02d  %-11s %-18s %-18s %s\n",
		protoName(f.proto), left/60, left%60, state, f.client, f.vip, to)
}

func (m *model) templateRow(t *template) string {
	state, f, to := "NONE", t.flow, t.to
	if t.assured {
		state = "ASSURED"
	}
	if slices.Contains(m.dead, t) {
		f.vip, to = netip.AddrPortFrom(f.vip.Addr(), 0xffff), netip.AddrPortFrom(to.Addr(), 0xffff)
	}
	return m.row(f, state, to, t.seen+t.timeout)
}
