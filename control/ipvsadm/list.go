package ipvsadm

import (
	"fmt"
	"slices"
	"strings"

	"ulvs/control"
	"ulvs/lvs"
)

// style is how services and real servers are listed.
type style struct {
	given optionSet
	rule  bool // -S
}

func (s style) has(t tag) bool { return s.given.has(t) }

// list is -L.
func (r *runner) list(q *request) error {
	switch {
	case q.given.has(tagConnection):
		return r.listConns(q)
	case q.given.has(tagService):
		return r.listOne(q)
	case q.given.has(tagShowTimeout):
		return r.listTimeouts()
	case q.given.has(tagShowDaemon):
		return r.listDaemons()
	}
	return r.listAll(q.given)
}

func (r *runner) listAll(given optionSet) error {
	l, err := r.b.Listing()
	if err != nil {
		return err
	}
	fmt.Fprintf(r.out, "IP Virtual Server version 1.2.1 (size=%d)\n", l.Size)
	r.printTitle(style{given: given})
	r.printServices(&l, style{given: given})
	return nil
}

func (r *runner) listOne(q *request) error {
	l, err := r.b.Listing()
	if err != nil {
		return err
	}
	s, ok := find(&l, q.edit.Key)
	if !ok {
		return &exit{ExitMissing, "No such service", true}
	}
	r.printTitle(style{given: q.given})
	r.printService(s, style{given: q.given})
	return nil
}

func (r *runner) listTimeouts() error {
	l, err := r.b.Listing()
	if err == nil {
		fmt.Fprintf(r.out, "Timeout (tcp tcpfin udp): %d %d %d\n", l.Timeouts[0], l.Timeouts[1], l.Timeouts[2])
	}
	return err
}

func (r *runner) listDaemons() error {
	l, err := r.b.Listing()
	for _, d := range l.Daemons {
		fmt.Fprintf(r.out, "%s sync daemon (mcast=%s, syncid=%d, maxlen=%d, group=%s, port=%d, ttl=%d)\n",
			d.Role, d.Interface, d.SyncID, d.MaxLen, d.Group, d.Port, d.TTL)
	}
	return err
}

// save is -S.
func (r *runner) save(q *request) error {
	l, err := r.b.Listing()
	if err == nil {
		r.printServices(&l, style{given: q.given, rule: true})
	}
	return err
}

// printTitle writes the two heading lines.
func (r *runner) printTitle(st style) {
	const remote = "  -> RemoteAddress:Port"
	switch {
	case st.has(tagStats):
		fmt.Fprintf(r.out, "%-33s %8s %8s %8s %8s %8s\n", "Prot LocalAddress:Port",
			"Conns", "InPkts", "OutPkts", "InBytes", "OutBytes")
		fmt.Fprintln(r.out, remote)
	case st.has(tagRate):
		fmt.Fprintf(r.out, "%-33s %8s %8s %8s %8s %8s\n", "Prot LocalAddress:Port",
			"CPS", "InPPS", "OutPPS", "InBPS", "OutBPS")
		fmt.Fprintln(r.out, remote)
	case st.has(tagThresholds):
		fmt.Fprintf(r.out, "%-33s %-10s %-10s %-10s %-10s\n", "Prot LocalAddress:Port",
			"Uthreshold", "Lthreshold", "ActiveConn", "InActConn")
		fmt.Fprintln(r.out, remote)
	case st.has(tagPersistentConn):
		fmt.Fprintf(r.out, "%-33s %-9s %-11s %-10s %-10s\n", "Prot LocalAddress:Port",
			"Weight", "PersistConn", "ActiveConn", "InActConn")
		fmt.Fprintln(r.out, remote)
	case st.has(tagTunInfo):
		fmt.Fprintln(r.out, "Prot LocalAddress:Port Scheduler Flags")
		fmt.Fprintln(r.out, remote+"           Forward TunnelInfo    Weight ActiveConn InActConn")
	default:
		fmt.Fprintln(r.out, "Prot LocalAddress:Port Scheduler Flags")
		fmt.Fprintln(r.out, remote+"           Forward Weight ActiveConn InActConn")
	}
}

func (r *runner) printServices(l *control.Listing, st style) {
	services := l.Services
	if !st.has(tagNoSort) {
		services = slices.Clone(services)
		mergeSort(services, compareServices)
	}
	for i := range services {
		r.printService(&services[i], st)
	}
}

// printService writes a service and its real servers.
func (r *runner) printService(s *control.ListedService, st style) {
	name := r.serviceName(&s.Service.Key, st)
	switch {
	case st.rule:
		fmt.Fprintf(r.out, "-A %s%s\n", name, ruleOf(&s.Service))
	case st.has(tagStats), st.has(tagRate):
		fmt.Fprintf(r.out, "%-33s", name)
		r.printCounters(&s.Counters, st)
	default:
		fmt.Fprintf(r.out, "%s%s\n", name, titleOf(&s.Service))
	}
	dests := s.Destinations
	if !st.has(tagNoSort) {
		dests = slices.Clone(dests)
		mergeSort(dests, compareDests)
	}
	for i := range dests {
		r.printDest(&s.Service.Key, name, &dests[i], st)
	}
}

// serviceName is a service's name: "TCP  192.0.2.1:80", in a rule "-t 192.0.2.1:80".
func (r *runner) serviceName(k *lvs.ServiceKey, st style) string {
	if k.Mark != 0 {
		form, family := "FWM  %d%s", ""
		if st.rule {
			form = "-f %d%s"
		}
		if k.Addr.Is6() {
			family = map[bool]string{true: " -6", false: " IPv6"}[st.rule]
		}
		return fmt.Sprintf(form, int32(k.Mark), family) // the original prints marks signed
	}
	address := r.addrPort(k.AddrPort(), k.Proto, st)
	if !st.rule {
		return fmt.Sprintf("%-4s %s", strings.ToUpper(lvs.ProtoName(k.Proto)), address)
	}
	option := map[uint8]string{lvs.ProtoTCP: "-t", lvs.ProtoUDP: "-u", lvs.ProtoSCTP: "--sctp-service"}[k.Proto]
	return option + " " + address
}

// titleOf is what a listing says about a service after its name.
func titleOf(s *lvs.Service) string {
	var b strings.Builder
	fmt.Fprintf(&b, " %s", s.Scheduler)
	if words := flagWords(s); words != "" {
		fmt.Fprintf(&b, " (%s)", words)
	}
	if s.Persistence != 0 {
		fmt.Fprintf(&b, " persistent %d", int64(s.Persistence.Seconds()))
		if s.MasksClients() {
			fmt.Fprintf(&b, " mask %s", maskWord(s))
		}
	}
	if s.OnePacket {
		b.WriteString(" ops")
	}
	return b.String()
}

// ruleOf is the same for -S.
func ruleOf(s *lvs.Service) string {
	var b strings.Builder
	fmt.Fprintf(&b, " -s %s", s.Scheduler)
	if s.Persistence != 0 {
		fmt.Fprintf(&b, " -p %d", int64(s.Persistence.Seconds()))
		if s.MasksClients() {
			fmt.Fprintf(&b, " -M %s", maskWord(s))
		}
	}
	if s.OnePacket {
		b.WriteString(" -o")
	}
	if words := flagWords(s); words != "" {
		fmt.Fprintf(&b, " -b %s", words)
	}
	return b.String()
}

// printDest writes a real server.
func (r *runner) printDest(k *lvs.ServiceKey, service string, d *control.ListedDestination, st style) {
	t := &d.Destination
	name := r.addrPort(t.AddrPort(), k.Proto, st)
	if st.rule {
		fmt.Fprintf(r.out, "-a %s -r %s %s -w %d%s\n", service, name, methodOption(t.Method), t.Weight, tunnelOptions(t))
		return
	}
	fmt.Fprintf(r.out, "  -> %-28s", name)
	switch {
	case st.has(tagStats), st.has(tagRate):
		r.printCounters(&d.Counters, st)
	case st.has(tagThresholds):
		fmt.Fprintf(r.out, " %-10d %-10d %-10d %-10d\n", t.Upper, t.Lower, d.Active, d.Inactive)
	case st.has(tagPersistentConn):
		fmt.Fprintf(r.out, " %-9d %-11d %-10d %-10d\n", t.Weight, d.Persistent, d.Active, d.Inactive)
	case st.has(tagTunInfo):
		fmt.Fprintf(r.out, " %-7s %-13s %-6d %-10d %-10d\n", forwardWord(t.Method), tunnelInfo(t), t.Weight,
			d.Active, d.Inactive)
	default:
		fmt.Fprintf(r.out, " %-7s %-6d %-10d %-10d\n", forwardWord(t.Method), t.Weight, d.Active, d.Inactive)
	}
}

func (r *runner) printCounters(c *control.Counters, st style) {
	n := [5]uint64{c.Conns, c.InPackets, c.OutPackets, c.InBytes, c.OutBytes}
	if !st.has(tagStats) {
		n = [5]uint64{c.Rates.Conns, c.Rates.InPackets, c.Rates.OutPackets, c.Rates.InBytes, c.Rates.OutBytes}
	}
	for _, v := range n {
		r.out.WriteString(largeNumber(v, st.has(tagExact)))
	}
	r.out.WriteByte('\n')
}
