package keepalived

import (
	"net/netip"
	"strconv"
	"strings"
)

// group remembers a virtual_server_group; the services that use it are written out.
func (m *mapper) group(s *stmt) {
	if len(s.words) < 2 {
		return // wrong, and reported as not used
	}
	m.groups[s.words[1].text] = s
}

// members returns what a group stands for. Each entry is an address, or several, or a firewall mark.
func (m *mapper) members(group *stmt) (list []target) {
	group.arg(1)
	for _, s := range group.block {
		if s.name() == "fwmark" {
			s.used[0] = true
			if n, err := strconv.ParseUint(s.arg(1), 10, 32); err == nil {
				list = append(list, target{mark: strconv.FormatUint(n, 10), v6: s.arg(2) == "inet6"})
				m.tell(Finding{Pos: s.at(), Kind: Note, Word: s.name(),
					Text: "[[mark]] rules have to give packets this mark, as the firewall did"})
				continue
			}
			m.wrong(m.doc, s, "fwmark NUMBER")
			continue
		}
		first, last, ok := addressRange(s.name())
		port := "0"
		if len(s.words) > 1 {
			port = s.arg(1)
		}
		if _, good := address(first.String(), port); !ok || !good {
			m.wrong(m.doc, s, "an address, a range like 192.0.2.1-9, and a port")
			continue
		}
		s.used[0] = true
		for a := first; a.Compare(last) <= 0; a = a.Next() {
			if m.expanded++; m.expanded > m.limit {
				m.tell(Finding{Pos: s.at(), Kind: Unmapped, Word: s.name(),
					Text: "groups stand for more than " + strconv.Itoa(m.limit) + " services; the rest is left out"})
				return list
			}
			vip, _ := address(a.String(), port)
			list = append(list, target{vip: vip})
			if a == last {
				break // Next of the last address of all is none
			}
		}
	}
	return list
}

// addressRange reads 192.0.2.1, 192.0.2.1-9, 192.0.2.1-192.0.2.9, 2001:db8::1-ff or 192.0.2.0/28.
func addressRange(text string) (first, last netip.Addr, ok bool) {
	if p, err := netip.ParsePrefix(text); err == nil {
		last = p.Masked().Addr()
		for bit := p.Bits(); bit < last.BitLen(); bit++ {
			b := last.AsSlice()
			b[bit/8] |= 0x80 >> (bit % 8)
			last, _ = netip.AddrFromSlice(b)
		}
		return p.Masked().Addr(), last, true
	}
	from, to, ranged := strings.Cut(text, "-")
	first, err := netip.ParseAddr(from)
	if err != nil || first.Zone() != "" {
		return first, last, false
	}
	if !ranged {
		return first, first, true
	}
	if last, err = netip.ParseAddr(to); err != nil {
		separator := "."
		if first.Is6() {
			separator = ":"
		}
		last, err = netip.ParseAddr(from[:strings.LastIndex(from, separator)+1] + to)
	}
	return first, last, err == nil && last.BitLen() == first.BitLen() && last.Zone() == "" && first.Compare(last) <= 0
}

// unusedGroups reports the groups that no virtual_server names.
func (m *mapper) unusedGroups(block []*stmt) {
	for _, s := range block {
		if s.name() != "virtual_server_group" || len(s.words) > 1 && s.used[1] {
			continue
		}
		m.drop(m.doc, s, "no virtual_server uses this group")
	}
}
