package realserver

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// tablePart is the way by which replies leave that have a gateway of their own.
func tablePart(gw netip.Addr, table int) part {
	id := fmt.Sprintf("table:%d:%v", table, gw)
	return part{
		id: id, what: fmt.Sprintf("default route by %v in table %d", gw, table),
		look: func() ([]Finding, error) { return lookTable(gw, table) },
		mend: func(j *journal) error {
			link, err := linkTo(gw)
			if err != nil {
				return err
			}
			return addRoute(j, id, &savedRoute{Dst: anywhere(family(gw)), Gateway: gw, Link: link, Table: table})
		},
	}
}

func lookTable(gw netip.Addr, table int) ([]Finding, error) {
	if f := lookReach(gw); f != nil {
		return []Finding{*f}, nil
	}
	best, err := defaultRouteOf(family(gw), table)
	if err != nil || best != nil && fromSlice(best.Gw) == gw {
		return nil, err
	}
	return []Finding{{Code: CodeGateway, Subject: gw.String(),
		Problem: fmt.Sprintf("table %d has no default route by %v for replies", table, gw),
		Remedy:  fmt.Sprintf("ip route replace default via %v table %d", gw, table)}}, nil
}

// replyPart sends what leaves as the VIP by the table: the line of the carrier whose address it is, or
// the router, on a host whose default gateway is a NAT director.
func replyPart(vip netip.Addr, table int) part {
	id := "reply:" + vip.String()
	return part{
		id: id, what: fmt.Sprintf("replies from %v by table %d", vip, table),
		look: func() ([]Finding, error) {
			ruled, err := hasRule(vip, table)
			if err != nil || ruled {
				return nil, err
			}
			return []Finding{{Code: CodeGateway, Subject: vip.String(),
				Problem: fmt.Sprintf("no rule sends replies from the VIP by table %d", table),
				Remedy:  fmt.Sprintf("ip rule add from %v table %d priority %d", vip, table, rulePriority)}}, nil
		},
		mend: func(j *journal) error {
			if err := j.note(change{ID: id, Kind: kindRule, Key: vip.String(), Table: table}); err != nil {
				return err
			}
			if err := netlink.RuleAdd(rule(vip, table)); err != nil {
				return fmt.Errorf("rule from %v to table %d: %w", vip, table, err)
			}
			return nil
		},
	}
}

func rule(vip netip.Addr, table int) *netlink.Rule {
	r := netlink.NewRule()
	r.Family, r.Src, r.Table, r.Priority = family(vip), ipNet(netip.PrefixFrom(vip, vip.BitLen())), table, rulePriority
	return r
}

func hasRule(vip netip.Addr, table int) (bool, error) {
	want := rule(vip, table)
	rules, err := netlink.RuleListFiltered(family(vip), want, netlink.RT_FILTER_SRC|netlink.RT_FILTER_TABLE)
	if err != nil {
		return false, fmt.Errorf("list routing rules: %w", err)
	}
	return len(rules) > 0, nil
}
