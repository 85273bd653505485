package main

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ulvs/control"
)

func (a *app) servicesCommand() *cobra.Command {
	var vip, protocol string
	var stats, hops bool
	cmd := &cobra.Command{
		Use:   "services",
		Short: "List services and real servers, as ipvsadm -Ln",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := control.ParseMatch(vip)
			if err != nil {
				return misuse{fmt.Errorf("--vip: %w", err)}
			}
			f := control.ServiceFilter{Protocol: protocol, VIP: m}
			list, err := control.NewClient(a.socket).Services(cmd.Context(), f)
			if err != nil {
				return err
			}
			sortServices(list)
			if a.json {
				return printJSON(a.out, list)
			}
			printServices(a.out, list, columnsOf(stats, hops))
			return nil
		},
	}
	cmd.Flags().StringVar(&vip, "vip", "", "only services of this address, prefix or address:port")
	cmd.Flags().StringVar(&protocol, "protocol", "", "only tcp or only udp")
	cmd.Flags().BoolVar(&stats, "stats", false, "show connections, packets and bytes")
	cmd.Flags().BoolVar(&hops, "next-hops", false, "show where frames to each real server go")
	cmd.MarkFlagsMutuallyExclusive("stats", "next-hops")
	return cmd
}

// sortServices orders as ipvsadm does: protocol and family, then address and port.
func sortServices(list []control.Service) {
	slices.SortStableFunc(list, func(a, b control.Service) int {
		return cmp.Or(
			cmp.Compare(a.VIP.Addr().BitLen(), b.VIP.Addr().BitLen()),
			cmp.Compare(protocolRank(a.Protocol), protocolRank(b.Protocol)),
			a.VIP.Compare(b.VIP), cmp.Compare(a.Mark, b.Mark))
	})
	for i := range list {
		slices.SortStableFunc(list[i].RealServers, func(a, b control.RealServer) int {
			return a.Address.Compare(b.Address)
		})
	}
}

// protocolRank orders as the protocols' numbers do.
func protocolRank(protocol string) int {
	return slices.Index([]string{"tcp", "udp", "sctp", "fwm"}, protocol)
}

// columns is one of the listings: what stands behind an address.
type columns struct {
	names   []string
	service func(s *control.Service) []any
	real    func(r *control.RealServer) []any
}

func columnsOf(stats, hops bool) columns {
	switch {
	case stats:
		return columns{
			[]string{">Conns", ">InPkts", ">OutPkts", ">InBytes", ">OutBytes"},
			func(s *control.Service) []any { return statCells(&s.Stats) },
			func(r *control.RealServer) []any { return statCells(&r.Stats) },
		}
	case hops:
		return columns{[]string{"Forward", "NextHop", "MAC", "Interface", "State"}, noCells, hopCells}
	}
	return columns{[]string{"Forward", ">Weight", ">ActiveConn", ">InActConn", "State"}, noCells,
		func(r *control.RealServer) []any {
			return []any{forward(r.Method), r.Weight, r.Active, r.Inactive, serverState(r)}
		}}
}

// serverState says how a real server is, and why it has not the weight that is configured.
func serverState(r *control.RealServer) string {
	word := orDash(r.State)
	if r.Since != nil {
		word += " since " + clock(*r.Since)
	}
	if r.Reason != "" {
		word += ": " + r.Reason
	}
	if r.Weight != r.ConfiguredWeight && (r.State == control.StateUp || r.State == control.StateRising) {
		word += fmt.Sprintf(", of weight %d", r.ConfiguredWeight)
	}
	return word
}

func noCells(*control.Service) []any { return nil }

func statCells(s *control.Stats) []any {
	return []any{s.Conns, s.InPackets, s.OutPackets, s.InBytes, s.OutBytes}
}

func hopCells(r *control.RealServer) []any {
	h := r.NextHop
	if h == nil {
		return []any{forward(r.Method), "-", "-", "-", "unknown"}
	}
	address := "-"
	if h.Address.IsValid() {
		address = h.Address.String()
	}
	return []any{forward(r.Method), address, orDash(h.MAC), orDash(h.Port), h.State}
}

// printServices writes the headings of ipvsadm, numbers to the right.
func printServices(w io.Writer, list []control.Service, c columns) {
	g := newGrid(append([]string{"  -> RemoteAddress:Port"}, c.names...)...)
	for i := range list {
		s := &list[i]
		if cells := c.service(s); cells != nil {
			g.row(append([]any{serviceName(s)}, cells...)...)
		} else {
			g.title(serviceTitle(s))
		}
		for k := range s.RealServers {
			r := &s.RealServers[k]
			g.row(append([]any{"  -> " + addressOf(r.Address)}, c.real(r)...)...)
		}
	}
	fmt.Fprintln(w, "Prot LocalAddress:Port Scheduler Flags")
	g.print(w)
}

func serviceName(s *control.Service) string {
	switch {
	case s.Mark != 0 && s.VIP.Addr().Is6():
		return fmt.Sprintf("FWM  %d IPv6", s.Mark)
	case s.Mark != 0:
		return fmt.Sprintf("FWM  %d", s.Mark)
	}
	return fmt.Sprintf("%-4s %s", strings.ToUpper(s.Protocol), addressOf(s.VIP))
}

// serviceTitle is a service's line in ipvsadm's words.
func serviceTitle(s *control.Service) string {
	parts := []string{serviceName(s), s.Scheduler}
	if len(s.Flags) > 0 {
		parts = append(parts, "("+strings.Join(s.Flags, ",")+")")
	}
	if s.PersistenceSeconds > 0 {
		parts = append(parts, fmt.Sprintf("persistent %d", s.PersistenceSeconds))
	}
	switch {
	case s.PersistenceMask != "":
		parts = append(parts, "mask "+s.PersistenceMask)
	case s.PersistenceBits > 0:
		parts = append(parts, "mask "+maskWord(s.VIP.Addr(), s.PersistenceBits))
	}
	if s.OnePacket {
		parts = append(parts, "ops")
	}
	switch s.State {
	case control.StateQuorumLost:
		parts = append(parts, "QUORUM LOST")
	case control.StateSorry:
		parts = append(parts, "QUORUM LOST, sorry server")
	}
	return strings.Join(parts, " ")
}

// maskWord is a dotted mask for IPv4 and a prefix length for IPv6, as in ipvsadm.
func maskWord(vip netip.Addr, bits int) string {
	ones := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if mask, err := ones.Prefix(bits); vip.Is4() && err == nil {
		return mask.Addr().String()
	}
	return fmt.Sprint(bits)
}

func addressOf(ap netip.AddrPort) string {
	if !ap.Addr().IsValid() {
		return "-"
	}
	return ap.String()
}

// forward is ipvsadm's word for a method.
func forward(method string) string {
	switch method {
	case "dr":
		return "Route"
	case "nat":
		return "Masq"
	case "tun":
		return "Tunnel"
	}
	return method
}
