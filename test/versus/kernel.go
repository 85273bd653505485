package main

import (
	"context"
	"fmt"
	"net/netip"

	"ulvs/bench/site"
	"ulvs/test/lab"
)

// jhash spreads by the client's address and port.
const jhash = "jhash ip saddr . tcp sport"

// forwards makes d1 a router, until undone.
func (u *undo) forwards(s *site.Site) error {
	const setting = "net.ipv4.ip_forward="
	return u.shell(s, []string{"sysctl", "-qw", setting + "1"}, []string{"sysctl", "-qw", setting + "0"})
}

// counted makes the kernel's counter of forwarded packets the contender's.
func (u undo) counted(s *site.Site) (running, error) {
	before, err := s.KernelForwarded("d1")
	return running{stop: u.run, kernel: true, carried: func() (uint64, error) {
		now, err := s.KernelForwarded("d1")
		return now - before, err
	}}, err
}

// kernelForwarding is d1 as a router: the client goes to the real servers itself, both ways through d1.
func kernelForwarding() contender {
	return contender{
		name: "kernel forwarding",
		targets: func(s *site.Site) (list []netip.AddrPort) {
			for _, r := range s.Addresses().Reals {
				list = append(list, netip.AddrPortFrom(r.Addr.IPv4, lab.PortEcho))
			}
			return list
		},
		start: func(_ context.Context, s *site.Site) (running, error) {
			var u undo
			if err := u.forwards(s); err != nil {
				return running{}, err
			}
			return u.counted(s)
		},
	}
}

// nftables rewrites destinations, with the kernel's connection tracking; replies come back through d1.
func nftables(name, choose string) contender {
	return contender{
		name: name, targets: vip(func(a *lab.Addresses) lab.Dual { return a.NAT }),
		start: func(_ context.Context, s *site.Site) (running, error) {
			var u undo
			if err := u.forwards(s); err != nil {
				return running{}, err
			}
			if err := u.address(s, s.Addresses().NAT); err != nil {
				return running{}, err
			}
			file, err := s.Write("nft.conf", nftRules(s, choose))
			if err != nil {
				return running{}, err
			}
			if err := u.shell(s, []string{"nft", "-f", file}, []string{"nft", "delete", "table", "ip", "versus"}); err != nil {
				return running{}, err
			}
			return u.counted(s)
		},
	}
}

// address puts a VIP on d1's client side.
func (u *undo) address(s *site.Site, vip lab.Dual) error {
	a := vip.IPv4.String() + "/32"
	return u.shell(s, []string{"ip", "addr", "add", a, "dev", "c0"}, []string{"ip", "addr", "del", a, "dev", "c0"})
}

// nftRules balances echo, TCP and UDP, and keeps a client of iperf3 with one real server.
func nftRules(s *site.Site, choose string) string {
	a := s.Addresses()
	reals := ""
	for i, r := range a.Reals {
		reals += fmt.Sprintf("%d : %s, ", i, r.Addr.IPv4)
	}
	rule := func(proto string, port int, choose string) string {
		return fmt.Sprintf("    ip daddr %s %s dport %d dnat to %s mod %d map { %s}\n",
			a.NAT.IPv4, proto, port, choose, len(a.Reals), reals)
	}
	udp := choose
	if choose == jhash {
		udp = "jhash ip saddr . udp sport"
	}
	return "table ip versus {\n  chain pre {\n    type nat hook prerouting priority dstnat; policy accept;\n" +
		rule("tcp", lab.PortEcho, choose) + rule("udp", lab.PortEcho, udp) + rule("tcp", lab.PortIperf, "jhash ip saddr") +
		"  }\n}\n"
}
