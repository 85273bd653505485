package ipvsadm

import (
	"fmt"
	"strings"

	"ulvs/control"
	"ulvs/lvs"
)

// listConns is -Lc.
func (r *runner) listConns(q *request) error {
	st := style{given: q.given}
	first := true
	err := r.b.Conns(func(c control.ListedConn) bool {
		if first {
			r.printConnTitle(st)
			first = false
		}
		r.printConn(&c, st)
		return true
	})
	if err == nil && first {
		r.printConnTitle(st)
	}
	return err
}

func (r *runner) printConnTitle(st style) {
	fmt.Fprintln(r.out, "IPVS connection entries")
	if st.has(tagPersistentConn) {
		fmt.Fprintf(r.out, "pro expire %-11s %-18s %-18s %-18s %-16s %s\n",
			"state", "source", "virtual", "destination", "pe name", "pe_data")
		return
	}
	fmt.Fprintf(r.out, "pro expire %-11s %-18s %-18s %s\n", "state", "source", "virtual", "destination")
}

func (r *runner) printConn(c *control.ListedConn, st style) {
	proto := c.Protocol
	if proto != lvs.ProtoTCP && proto != lvs.ProtoUDP {
		proto = lvs.ProtoIP // the original knows no other's service names
	}
	expires := fmt.Sprintf("%02d:%02d", c.ExpiresSeconds/60, c.ExpiresSeconds%60)
	fmt.Fprintf(r.out, "%-3s %-6s %-11s %-18s %-18s %s\n", protoWord(c.Protocol), expires, c.State,
		r.addrPort(c.Client, proto, st), r.addrPort(c.VIP, proto, st), r.addrPort(c.Dest, proto, st))
}

// protoWord is ip_vs_proto_name.
func protoWord(proto uint8) string {
	switch proto {
	case lvs.ProtoIP:
		return "IP"
	case lvs.ProtoTCP, lvs.ProtoUDP, lvs.ProtoSCTP:
		return strings.ToUpper(lvs.ProtoName(proto))
	case 1:
		return "ICMP"
	case 58:
		return "ICMPv6"
	}
	return fmt.Sprintf("IP_%d", proto)
}
