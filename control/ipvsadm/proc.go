package ipvsadm

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"ulvs/control"
	"ulvs/lvs"
)

// userHZ is the clock of recordings: /proc/net/ip_vs shows timeouts in ticks of it.
const userHZ = 100

// ErrNoProc means that Proc knows no such name.
var ErrNoProc = errors.New("no such file; there are " + strings.Join(procNames, ", "))

var procNames = []string{"ip_vs", "ip_vs_conn", "ip_vs_conn_sync", "ip_vs_stats", "ip_vs_stats_percpu", "sysctl"}

// ProcNames returns the names that Proc knows.
func ProcNames() []string { return append([]string(nil), procNames...) }

// Proc writes what a kernel shows in /proc/net/NAME (Linux 6.1, ip_vs_ctl.c and ip_vs_conn.c); for the name
// sysctl, the lines of sysctl -a about net.ipv4.vs. Errors are ErrNoProc, b's and w's.
func Proc(w io.Writer, name string, b Backend) error {
	out := bufio.NewWriter(w)
	if err := proc(out, strings.TrimPrefix(name, "/proc/net/"), b); err != nil {
		return err
	}
	return out.Flush()
}

func proc(w *bufio.Writer, name string, b Backend) error {
	switch name {
	case "ip_vs_conn":
		fmt.Fprintln(w, "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData")
		return b.Conns(func(c control.ListedConn) bool {
			fmt.Fprintf(w, "%s %-11s %7d\n", procConn(&c), c.State, c.ExpiresSeconds)
			return true
		})
	case "ip_vs_conn_sync":
		fmt.Fprintln(w, "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires")
		return b.Conns(func(c control.ListedConn) bool {
			origin := map[bool]string{true: "SYNC", false: "LOCAL"}[c.Synced]
			fmt.Fprintf(w, "%s %-11s %-6s %7d\n", procConn(&c), c.State, origin, c.ExpiresSeconds)
			return true
		})
	}
	print := map[string]func(*bufio.Writer, *control.Listing){
		"ip_vs": procServices, "ip_vs_stats": procStats, "ip_vs_stats_percpu": procStatsPerCPU, "sysctl": procSysctl,
	}[name]
	if print == nil {
		return fmt.Errorf("%.100q: %w", name, ErrNoProc)
	}
	l, err := b.Listing()
	if err != nil {
		return err
	}
	print(w, &l)
	return nil
}

func procConn(c *control.ListedConn) string {
	return fmt.Sprintf("%-3s %s %04X %s %04X %s %04X", protoWord(c.Protocol),
		procAddr(c.Client.Addr()), c.Client.Port(), procAddr(c.VIP.Addr()), c.VIP.Port(),
		procAddr(c.Dest.Addr()), c.Dest.Port())
}

// procAddr is a kernel's %08X and %pI6.
func procAddr(a netip.Addr) string {
	if !a.Is6() {
		b := a.As4()
		return fmt.Sprintf("%08X", binary.BigEndian.Uint32(b[:]))
	}
	b := a.As16()
	groups := make([]string, 8)
	for i := range groups {
		groups[i] = fmt.Sprintf("%04x", binary.BigEndian.Uint16(b[2*i:]))
	}
	return strings.Join(groups, ":")
}

func procAddrPort(ap netip.AddrPort) string {
	form := "%s:%04X"
	if ap.Addr().Is6() {
		form = "[%s]:%04X"
	}
	return fmt.Sprintf(form, procAddr(ap.Addr()), ap.Port())
}

func procServices(w *bufio.Writer, l *control.Listing) {
	fmt.Fprintf(w, "IP Virtual Server version 1.2.1 (size=%d)\n", l.Size)
	fmt.Fprintln(w, "Prot LocalAddress:Port Scheduler Flags")
	fmt.Fprintln(w, "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn")
	for i := range l.Services {
		s := &l.Services[i]
		procService(w, &s.Service)
		for k := range s.Destinations {
			d := &s.Destinations[k]
			fmt.Fprintf(w, "  -> %s      %-7s %-6d %-10d %-10d\n", procAddrPort(d.Destination.AddrPort()),
				forwardWord(d.Destination.Method), d.Destination.Weight, d.Active, d.Inactive)
		}
	}
}

// procService has the kernel's blanks: two after the scheduler of an IPv4 service, and no ops for IPv6.
func procService(w *bufio.Writer, s *lvs.Service) {
	ops := ""
	if s.OnePacket {
		ops = "ops "
	}
	switch {
	case s.Key.Mark != 0:
		fmt.Fprintf(w, "FWM  %08X %s %s", s.Key.Mark, s.Scheduler, ops)
	case s.Key.Addr.Is6():
		fmt.Fprintf(w, "%s  %s %s ", protoWord(s.Key.Proto), procAddrPort(s.Key.AddrPort()), s.Scheduler)
	default:
		fmt.Fprintf(w, "%s  %s %s %s ", protoWord(s.Key.Proto), procAddrPort(s.Key.AddrPort()), s.Scheduler, ops)
	}
	if s.Persistence != 0 {
		fmt.Fprintf(w, "persistent %d %08X", int64(s.Persistence.Seconds())*userHZ, procMask(s))
	}
	fmt.Fprintln(w)
}

// procMask is the mask of an IPv4 service, and the prefix length of an IPv6 one with its bytes turned
// round, as the kernel shows it.
func procMask(s *lvs.Service) uint32 {
	n := uint32(s.PersistBits)
	switch {
	case s.Key.Addr.Is6() && n == 0:
		return 128 << 24
	case s.Key.Addr.Is6():
		return n << 24
	}
	return s.ClientMask4()
}

func procStats(w *bufio.Writer, l *control.Listing) {
	t := &l.Total
	fmt.Fprintln(w, "   Total Incoming Outgoing         Incoming         Outgoing")
	fmt.Fprintln(w, "   Conns  Packets  Packets            Bytes            Bytes")
	fmt.Fprintf(w, "%8X %8X %8X %16X %16X\n\n", t.Conns, t.InPackets, t.OutPackets, t.InBytes, t.OutBytes)
	fmt.Fprintln(w, " Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s")
	r := &t.Rates
	fmt.Fprintf(w, "%8X %8X %8X %16X %16X\n", r.Conns, r.InPackets, r.OutPackets, r.InBytes, r.OutBytes)
}

// procStatsPerCPU has one row for all workers and the total.
func procStatsPerCPU(w *bufio.Writer, l *control.Listing) {
	t := &l.Total
	fmt.Fprintln(w, "       Total Incoming Outgoing         Incoming         Outgoing")
	fmt.Fprintln(w, "CPU    Conns  Packets  Packets            Bytes            Bytes")
	for _, row := range []string{"  0", "  ~"} {
		fmt.Fprintf(w, "%s %8X %8X %8X %16X %16X\n", row, t.Conns, t.InPackets, t.OutPackets, t.InBytes, t.OutBytes)
	}
	fmt.Fprintln(w, "\n     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s")
	r := &t.Rates
	fmt.Fprintf(w, "    %8X %8X %8X %16X %16X\n", r.Conns, r.InPackets, r.OutPackets, r.InBytes, r.OutBytes)
}

// fixedSysctls are those that a director does not have, with a kernel's defaults.
var fixedSysctls = map[string]string{
	"backup_only": "0", "conntrack": "0", "ignore_tunneled": "0", "lblc_expiration": "86400",
	"lblcr_expiration": "86400", "run_estimation": "1", "snat_reroute": "1", "sync_persist_mode": "0",
	"sync_ports": "1", "sync_refresh_period": "0", "sync_retries": "0", "sync_sock_size": "0",
	"sync_threshold": "3\t50", "sync_version": "1",
}

func procSysctl(w *bufio.Writer, l *control.Listing) {
	values := map[string]string{}
	for name, value := range fixedSysctls {
		values[name] = value
	}
	for _, name := range lvs.SettingNames() {
		if name == "kernel_quirks" {
			continue // ours, unknown to a kernel
		}
		n, _ := l.Settings.Get(name)
		values[name] = fmt.Sprint(n)
	}
	for _, name := range sortedKeys(values) {
		fmt.Fprintf(w, "net.ipv4.vs.%s = %s\n", name, values[name])
	}
}
