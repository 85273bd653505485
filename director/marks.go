package director

import (
	"slices"

	"ulvs/config"
	"ulvs/dataplane"
	"ulvs/dataplane/afxdp"
	"ulvs/lvs"
)

// markRules returns the rules as workers know them: SetMarks's, then the file's. A rule for an
// interface that is gone is left out: nothing arrives there.
func (n *Node) markRules() []dataplane.MarkRule {
	rules := slices.Clone(n.marks)
	ports := n.network.Ports()
	for _, m := range n.fileMarks {
		port := slices.IndexFunc(ports, func(p dataplane.Port) bool { return p.Name == m.Interface }) + 1
		if m.Interface != "" && port == 0 {
			continue
		}
		if m.Interface == "" {
			port = 0
		}
		rules = append(rules, dataplane.MarkRule{
			Mark: m.Mark, Port: port, Src: m.Source, Dst: m.Destination, Proto: m.Protocol, DstPorts: m.Ports,
		})
	}
	return rules
}

// markVIPs returns the rules that name one address as the destination and whose mark has a service:
// that address is a VIP as others are. What is for a network reaches us by another service's VIP.
func (n *Node) markVIPs() (rules []config.Mark) {
	for _, m := range n.fileMarks {
		if m.Destination.IsValid() && m.Destination.IsSingleIP() && n.hasMark(m.Mark) {
			rules = append(rules, m)
		}
	}
	return rules
}

// markSteering is what the XDP program takes for services of marks.
func (n *Node) markSteering() (rules []afxdp.Rule) {
	seen := map[afxdp.Rule]bool{}
	for _, m := range n.markVIPs() {
		r := afxdp.Rule{Addr: m.Destination.Addr(), Proto: m.Protocol}
		if m.Ports[0] == m.Ports[1] {
			r.Port = m.Ports[0]
		}
		if !seen[r] && n.own.of(r.Addr) != HoldNone {
			seen[r] = true
			rules = append(rules, r)
		}
	}
	return rules
}

// hasMark reports whether a service is for packets with the mark.
func (n *Node) hasMark(mark uint32) bool {
	return slices.ContainsFunc(n.services, func(s lvs.Service) bool { return s.Key.Mark == mark })
}
