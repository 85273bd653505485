package doctor

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ulvs/control"
	"ulvs/decap"
	"ulvs/doctor"
)

// fault is planted in the lab, beside a director that runs.
type fault struct {
	name string
	// plant spoils something, says by pair.sh and pair.later how it is taken back, and returns code and subject of what
	// has to be found.
	plant func(p *pair) []string
}

// groups are planted one after another, those of a group together: each examination takes seconds, and so do
// directors until they have each other's sessions again.
var groups = [][]fault{
	{vipMissing, wrongGateway, answersARP, partialChecksums, noDecapsulation, notServing, silent, otherSegment, smallMTU,
		duplicateVIP, vridInUse, driftOfAdverts, packetFilter, driftOfServices, behind},
	{peerGone, ringsFull},
}

func (p *pair) real(i int) string { return p.Addresses().Reals[i].Addr.IPv4.String() }

// both is a finding about a real server by both its addresses.
func (p *pair) both(code string, i int) []string {
	a := p.Addresses().Reals[i].Addr
	return []string{code + " " + a.IPv4.String(), code + " " + a.IPv6.String()}
}

var vipMissing = fault{"the VIP is missing on a DR real server", func(p *pair) []string {
	vip := p.Addresses().DR
	p.sh("r1", fmt.Sprintf("ip addr del %s/32 dev lo && ip addr del %s/128 dev lo", vip.IPv4, vip.IPv6),
		fmt.Sprintf("ip addr add %s/32 dev lo && ip addr add %s/128 dev lo nodad", vip.IPv4, vip.IPv6))
	return p.both("UD203", 0)
}}

var wrongGateway = fault{"a NAT real server has another gateway", func(p *pair) []string {
	a := p.Addresses()
	via := "ip route replace default via %s && ip -6 route replace default via %s dev e0"
	p.sh("r2", fmt.Sprintf(via, a.GatewayServer.IPv4, a.GatewayServer.IPv6),
		fmt.Sprintf(via, a.Directors[0].Server.IPv4, a.Directors[0].Server.IPv6))
	return p.both("UD205", 1)
}}

var noDecapsulation = fault{"a TUN real server does not unpack", func(p *pair) []string {
	p.sh("r3", "ip link set e0 xdp off", "")
	p.later(func() {
		if err := p.Do("r3", func() error { return decap.Attach("e0") }); err != nil {
			p.t.Fatal(err)
		}
	})
	return p.both("UD206", 2)
}}

var duplicateVIP = fault{"another host has the VIP", func(p *pair) []string {
	vip := p.Addresses().NAT
	p.sh("c1", fmt.Sprintf("ip addr add %s/32 dev c0 && ip addr add %s/128 dev c0 nodad", vip.IPv4, vip.IPv6),
		fmt.Sprintf("ip addr del %s/32 dev c0 && ip addr del %s/128 dev c0", vip.IPv4, vip.IPv6))
	return []string{"UD302 " + vip.IPv4.String(), "UD302 " + vip.IPv6.String()}
}}

var answersARP = fault{"a real server answers ARP for VIPs", func(p *pair) []string {
	vip := p.Addresses().DR.IPv6 // IPv6 answers for what is on the link only
	p.sh("r2", fmt.Sprintf("sysctl -qw net.ipv4.conf.all.arp_ignore=0 && ip addr add %s/128 dev e0 nodad", vip),
		fmt.Sprintf("sysctl -qw net.ipv4.conf.all.arp_ignore=1 && ip addr del %s/128 dev e0", vip))
	return p.both("UD204", 1)
}}

var otherSegment = fault{"a DR real server is behind a router", func(p *pair) []string {
	p.sh("d1", fmt.Sprint("ip route replace 198.51.100.0/24 via ", p.Addresses().GatewayServer.IPv4),
		"ip route replace 198.51.100.0/24 dev s0")
	return []string{"UD201 " + far}
}}

var notServing = fault{"a server is stopped", func(p *pair) []string {
	p.sh("r4", "nft add table ip t && nft 'add chain ip t i { type filter hook input priority 0; }' &&"+
		" nft add rule ip t i ip daddr "+p.real(3)+" tcp dport 80 reject with tcp reset", "nft delete table ip t")
	return []string{"UD208 " + p.real(3) + ":80"}
}}

var silent = fault{"a real server is unplugged", func(p *pair) []string {
	p.sh("sw1", "ip link set r5-e0 down", "ip link set r5-e0 up")
	return p.both("UD202", 4)
}}

var partialChecksums = fault{"a real server leaves checksums to hardware", func(p *pair) []string {
	p.sh("r2", "ethtool -K e0 tx on >/dev/null", "ethtool -K e0 tx off >/dev/null")
	p.sh("sw1", "ethtool -K d1-s0 tx on >/dev/null", "ethtool -K d1-s0 tx off >/dev/null") // else the switch fills it in
	return p.both("UD107", 1)
}}

var smallMTU = fault{"the network of the real servers has a small MTU", func(p *pair) []string {
	p.sh("d1", "ip link set s0 mtu 1500", "ip link set s0 mtu 1600")
	var found []string
	for i := range p.Addresses().Reals {
		found = append(found, p.both("UD207", i)...)
	}
	return found
}}

var behind = fault{"session sync of the other director does not come through", func(p *pair) []string {
	p.sh("d2", "nft add table inet t && nft 'add chain inet t o { type filter hook output priority 0; }' &&"+
		" nft add rule inet t o udp dport 8849 drop", "nft delete table inet t")
	p.told("silence of d2's sessions", func(f doctor.Facts) bool { return !f.Sync.Ready })
	return []string{"UD305 d2"}
}}

var vridInUse = fault{"somebody else uses the virtual router id", func(p *pair) []string {
	a := p.Addresses()
	p.later(stranger(p.t, p.Lab, "c1", a.Clients[1].IPv4, a.Clients[0].IPv4))
	return []string{"UD301 c0 51"}
}}

var driftOfAdverts = fault{"a director advertises other VIPs", func(p *pair) []string {
	a := p.Addresses()
	p.later(stranger(p.t, p.Lab, "c1", a.Clients[2].IPv4, a.DR.IPv4))
	return []string{"UD304 VI_1"}
}}

var driftOfServices = fault{"a director has other services", func(p *pair) []string {
	was, err := os.ReadFile(p.files[1])
	if err != nil {
		p.t.Fatal(err)
	}
	p.reload(1, strings.ReplaceAll(string(was), `scheduler = "rr"`, `scheduler = "wlc"`))
	p.later(func() { p.reload(1, string(was)) })
	p.told("d2's other configuration", func(f doctor.Facts) bool {
		return len(f.Sync.Peers) == 1 && f.Sync.Peers[0].Configuration == control.OtherConfiguration
	})
	return []string{"UD304 d2"}
}}

var packetFilter = fault{"the packet filter drops adverts", func(p *pair) []string {
	p.sh("d1", "nft add table inet t && nft 'add chain inet t i { type filter hook input priority 0; }' &&"+
		" nft add rule inet t i ip protocol 112 drop", "nft delete table inet t")
	return []string{"UD109 VRRP adverts (protocol 112)"}
}}

var peerGone = fault{"the other director ends, and its host's clock is ahead", func(p *pair) []string {
	p.stop[1]()
	a := p.Addresses().Directors[1].Server.IPv4
	p.later(func() {
		p.in("d2", "ip addr add %s/24 dev s0", a)
		p.in("d2", "ip route replace 198.51.100.0/24 dev s0")
		p.start(1)
	})
	p.later(ghost(p.t, p.Lab, "d2", a, 10*time.Second))
	p.told("that d2 is missing", func(f doctor.Facts) bool { return len(f.Sync.Missing) == 1 })
	return []string{fmt.Sprintf("UD306 %s:8849", a), "UD303 " + a.String()}
}}

var ringsFull = fault{"the director was stopped while frames came", func(p *pair) []string {
	p.pause(0, func() { flood(p.t, p.Lab, "c1", p.Addresses().DR.IPv4) })
	p.later(func() { // what was counted stays
		p.stop[0]()
		p.start(0)
	})
	return []string{"UD106 c0"}
}}

// recorded are the codes whose faults are planted in a recorded machine, and the test in package doctor that does.
var recorded = map[string]string{
	"UD101": "TestFaultsOfTheMachineAreFoundAndNothingElse",
	"UD102": "TestFaultsOfTheMachineAreFoundAndNothingElse",
	"UD103": "TestFaultsOfTheMachineAreFoundAndNothingElse",
	"UD104": "TestFaultsOfTheMachineAreFoundAndNothingElse",
	"UD105": "TestFaultsOfTheMachineAreFoundAndNothingElse",
	"UD108": "TestFaultsOfTheMachineAreFoundAndNothingElse",
	"UD110": "TestFaultsOfTheMachineAreFoundAndNothingElse",
}

// inLab are the codes whose faults are planted in the lab, and where in groups.
var inLab = map[string]fault{
	"UD106": ringsFull,
	"UD107": partialChecksums,
	"UD109": packetFilter,
	"UD201": otherSegment,
	"UD202": silent,
	"UD203": vipMissing,
	"UD204": answersARP,
	"UD205": wrongGateway,
	"UD206": noDecapsulation,
	"UD207": smallMTU,
	"UD208": notServing,
	"UD301": vridInUse,
	"UD302": duplicateVIP,
	"UD303": peerGone,
	"UD304": driftOfServices,
	"UD305": behind,
	"UD306": peerGone,
}

// TestEveryCodeIsPlanted fails for a code of docs/doctor.md that no test plants.
func TestEveryCodeIsPlanted(t *testing.T) {
	docs, tests, here := read(t, "../../docs/doctor.md"), read(t, "../../doctor/doctor_test.go"), read(t, "faults_test.go")
	codes := regexp.MustCompile(`(?m)^\| (UD\d+) `).FindAllStringSubmatch(docs, -1)
	if len(codes) != len(doctor.Codes) || len(codes) != len(recorded)+len(inLab) {
		t.Errorf("%d codes are documented, %d known, %d planted", len(codes), len(doctor.Codes), len(recorded)+len(inLab))
	}
	for _, match := range codes {
		code := match[1]
		f, lab := inLab[code]
		test, tree := recorded[code]
		planted := slices.ContainsFunc(groups, func(g []fault) bool {
			return slices.ContainsFunc(g, func(x fault) bool { return x.name == f.name })
		})
		switch {
		case lab == tree:
			t.Errorf("%s: want it planted in the lab or in a recorded machine, one of them", code)
		case lab && (!planted || !strings.Contains(here, "\""+code+" ") && !strings.Contains(here, "\""+code+"\", ")):
			t.Errorf("%s: no group plants %q, or nothing wants the code", code, f.name)
		case tree && (!strings.Contains(tests, "func "+test+"(") || !strings.Contains(tests, "\""+code+" ")):
			t.Errorf("%s: %s of package doctor does not plant it", code, test)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
