package realserver

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"

	"ulvs/decap"
	"ulvs/internal/testutil"
)

// bed is a host in a namespace of its own: 10.1.1.5/24 and 2001:db8:1::5/64 on e0, a default gateway in both families.
type bed struct {
	t    testing.TB
	ns   *testutil.NetNS
	host Host
}

func newBed(t testing.TB) *bed {
	t.Helper()
	b := &bed{t: t, ns: testutil.NewNetNS(t), host: Host{State: filepath.Join(t.TempDir(), "realserver.json")}}
	b.sh(`sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
		sysctl -qw net.ipv6.conf.default.addr_gen_mode=1 net.ipv4.conf.all.rp_filter=0
		ip link add e0 type veth peer name wire netns $$
		ip link set wire up
		ip link set e0 up
		ip addr add 10.1.1.5/24 dev e0
		ip addr add 2001:db8:1::5/64 dev e0 nodad
		ip route add default via 10.1.1.1
		ip -6 route add default via 2001:db8:1::1`)
	return b
}

// sh runs a script on the host.
func (b *bed) sh(script string) string {
	b.t.Helper()
	var out []byte
	err := b.ns.Do(func() (err error) {
		out, err = exec.Command("sh", "-ec", script).CombinedOutput()
		return err
	})
	if err != nil {
		b.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// do runs fn on the host and fails the test with its error.
func (b *bed) do(fn func() error) {
	b.t.Helper()
	if err := b.ns.Do(fn); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) setup(c Config) (steps []Step) {
	b.t.Helper()
	b.do(func() (err error) {
		steps, err = b.host.Setup(c)
		return err
	})
	return steps
}

// codes are what Check finds.
func (b *bed) codes(list ...Config) (codes []string) {
	b.t.Helper()
	for _, f := range b.check(list...) {
		codes = append(codes, f.Code)
	}
	return codes
}

func (b *bed) check(list ...Config) (found []Finding) {
	b.t.Helper()
	b.do(func() (err error) {
		found, err = b.host.Check(list)
		return err
	})
	return found
}

// same fails the test with the lines that differ from before.
func (b *bed) same(before, when string) {
	b.t.Helper()
	after := strings.Split(b.state(), "\n")
	had := strings.Split(before, "\n")
	for _, line := range had {
		if !slices.Contains(after, line) {
			b.t.Errorf("%s: gone: %s", when, line)
		}
	}
	for _, line := range after {
		if !slices.Contains(had, line) {
			b.t.Errorf("%s: new: %s", when, line)
		}
	}
}

// state is everything that a set-up may change.
func (b *bed) state() string {
	b.t.Helper()
	return b.sh(`ip -o addr show | sed 's/\\.*//'
		ip -o link show | sed 's/ id:[0-9]*//; s/ mtu.*xdp/ xdp/; s/ mtu.*//; s/NO-CARRIER,//; s/,LOWER_UP//'
		for f in 4 6; do ip -$f rule; ip -$f route show table all | grep -v 'table local' | sort; done
		grep -r . /proc/sys/net/ipv4/conf/*/arp_* /proc/sys/net/ipv4/conf/*/rp_filter`)
}

func addrs(texts ...string) (list []netip.Addr) {
	for _, t := range texts {
		list = append(list, netip.MustParseAddr(t))
	}
	return list
}

// setups are the ways to serve that the tests go through.
func setups() map[string]Config {
	both := addrs("192.168.1.8", "2001:db8:9::8")
	return map[string]Config{
		"dr":      {Method: "dr", VIPs: both},
		"dr4":     {Method: "dr", VIPs: both[:1]},
		"dr6":     {Method: "dr", VIPs: both[1:]},
		"tun":     {Method: "tun", VIPs: both, Decap: DecapXDP},
		"carrier": {Method: "tun", VIPs: both, Decap: DecapXDP, Gateways: addrs("10.1.1.9", "2001:db8:1::9"), Table: 77},
		"nat":     {Method: "nat", VIPs: both, Gateways: addrs("10.1.1.2", "2001:db8:1::2")},
	}
}

func TestSetupServesTwiceIsOnceAndRemoveRestores(t *testing.T) {
	for name, c := range setups() {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			before := b.state()
			if found := b.codes(c); len(found) == 0 {
				t.Error("nothing was wrong before setup: the checks find nothing")
			}
			b.setup(c)
			if found := b.check(c); len(found) > 0 {
				t.Errorf("after setup: %+v", found)
			}
			for _, s := range b.setup(c) {
				if s.Did != DidAlready {
					t.Errorf("the second setup: %s: %s", s.What, s.Did)
				}
			}
			b.do(func() error {
				_, err := b.host.Remove("", nil)
				return err
			})
			b.same(before, "after remove")
			if _, err := os.Stat(b.host.State); err == nil {
				t.Error("an empty journal is left")
			}
		})
	}
}

// A crash leaves the journal with a change that was noted and perhaps not made, after any number that were.
func TestRemoveRestoresAfterACrashAtAnyStep(t *testing.T) {
	for _, name := range []string{"carrier", "nat"} { // carrier has everything of dr and tun
		t.Run(name, func(t *testing.T) {
			b, c := newBed(t), setups()[name]
			before := b.state()
			b.setup(c)
			changes := b.journal().Changes
			b.remove()
			for made := range changes {
				b.crash(c, changes[made], made)
				b.remove()
				b.same(before, fmt.Sprintf("after a crash at %+v", changes[made]))
			}
		})
	}
}

func (b *bed) remove() {
	b.t.Helper()
	b.do(func() error {
		_, err := b.host.Remove("", nil)
		return err
	})
}

func (b *bed) journal() *journal {
	b.t.Helper()
	j, err := open(b.host.State)
	if err != nil {
		b.t.Fatal(err)
	}
	j.close()
	return j
}

// crash sets up until a number of changes are made, and notes one more.
func (b *bed) crash(c Config, next change, made int) {
	b.t.Helper()
	b.do(func() error {
		j, err := open(b.host.State)
		if err != nil {
			return err
		}
		defer j.close()
		if c, err = c.resolve(); err != nil {
			return err
		}
		j.Configs = []Config{c}
		for _, p := range parts(c) {
			if p.id == next.ID || len(j.Changes) >= made {
				break
			}
			if _, err := mend(j, []part{p}); err != nil {
				return err
			}
		}
		return j.note(next)
	})
}

func TestEachFaultIsFoundAndItsRemedyMendsIt(t *testing.T) {
	all := setups()
	for _, c := range []struct {
		name, setup, plant string
		want               []string
	}{
		{"the VIP is gone", "dr4", "ip addr del 192.168.1.8/32 dev lo", []string{CodeVIPMissing}},
		{"lo was flushed", "dr4", "ip addr flush dev lo; ip route flush 192.168.1.8",
			[]string{CodeVIPMissing, CodeRouteMissing}},
		{"the IPv6 VIP is gone", "dr6", "ip addr del 2001:db8:9::8/128 dev lo", []string{CodeVIPMissing}},
		{"the VIP is on the NIC as well", "dr4", "ip addr add 192.168.1.8/24 dev e0", []string{CodeVIPElsewhere}},
		{"the IPv6 VIP is on the NIC as well", "dr6", "ip addr add 2001:db8:9::8/64 dev e0 nodad",
			[]string{CodeVIPElsewhere}},
		{"the VIP has its network's mask", "dr4", "ip addr add 192.168.1.8/24 dev lo", []string{CodeVIPMask}},
		{"the route is gone", "dr4", "ip route del 192.168.1.8 dev lo", []string{CodeRouteMissing}},
		{"lo is down", "dr6", "ip link set lo down", []string{CodeLoopbackDown, CodeVIPMissing}},
		{"ARP is answered", "dr", "sysctl -qw net.ipv4.conf.all.arp_ignore=0", []string{CodeARPIgnore}},
		{"ARP is not answered at all", "dr", "sysctl -qw net.ipv4.conf.e0.arp_ignore=8", []string{CodeARPIgnore}},
		{"ARP announces", "dr", "sysctl -qw net.ipv4.conf.all.arp_announce=1", []string{CodeARPAnnounce}},
		{"the way back is another NIC", "dr4", "ip addr add 10.2.2.5/24 dev wire;" +
			"sysctl -qw net.ipv4.conf.all.rp_filter=1; ip route replace default via 10.2.2.1", []string{CodeRPFilter}},
		{"nothing unpacks", "tun", "ip link set e0 xdp off", []string{CodeDecapMissing}},
		{"the gateway is another", "nat", "ip route replace default via 10.1.1.3", []string{CodeGateway}},
		{"there is no gateway", "nat", "ip route del default", []string{CodeGateway}},
		{"there are two gateways", "nat", "ip route replace default nexthop via 10.1.1.3 nexthop via 10.1.1.4",
			[]string{CodeGatewaySeveral}},
		{"the VIP is on a NAT server", "nat", "ip addr add 192.168.1.8/32 dev lo", []string{CodeVIPLocal}},
		{"replies leave by the default route", "carrier", "ip rule del from 192.168.1.8", []string{CodeGateway}},
		{"the table is empty", "carrier", "ip route flush table 77", []string{CodeGateway}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t)
			config := all[c.setup]
			config.Interface = "e0"
			b.setup(config)
			b.sh(c.plant)
			found := b.check(config)
			b.wantCodes(found, c.want)
			b.followRemedies(config, found)
			if left := b.check(config); len(left) > 0 {
				t.Errorf("the remedies were followed, and still: %+v", left)
			}
		})
	}
}

func (b *bed) wantCodes(found []Finding, want []string) {
	b.t.Helper()
	var got []string
	for _, f := range found {
		got = append(got, f.Code)
	}
	if !slices.Equal(got, want) {
		b.t.Fatalf("found %v, want %v: %+v", got, want, found)
	}
}

// followRemedies types what the findings say; what names ulvs is done by Setup.
func (b *bed) followRemedies(c Config, found []Finding) {
	b.t.Helper()
	for _, f := range found {
		if strings.HasPrefix(f.Remedy, "ulvs ") {
			b.setup(c)
		} else {
			b.sh(f.Remedy)
		}
	}
}

func TestFaultsThatAreThereBeforeSetup(t *testing.T) {
	for _, c := range []struct {
		name, setup, plant string
		want               string
	}{
		{"the VIP is on the NIC", "dr4", "ip addr add 192.168.1.8/24 dev e0", CodeVIPElsewhere},
		{"lo has it with a network's mask", "dr4", "ip addr add 192.168.1.8/24 dev lo", CodeVIPMask},
		{"the gateway is in another network", "nat", "ip addr flush dev e0", CodeGatewayFar},
		{"the VIP is on a NAT server", "nat", "ip addr add 192.168.1.8/32 dev lo", CodeVIPLocal},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t)
			b.sh(c.plant)
			before := b.state()
			err := b.ns.Do(func() error {
				_, err := b.host.Setup(setups()[c.setup])
				return err
			})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), ErrBlocked.Error()) {
				t.Errorf("setup = %v, want it blocked by %s", err, c.want)
			}
			b.same(before, "after setup was blocked")
		})
	}
}

func TestAnotherXDPProgramIsLeftAlone(t *testing.T) {
	b := newBed(t)
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}})
	if err != nil {
		testutil.Require(t, testutil.NeedAFXDP, "cannot load an XDP program: "+err.Error())
	}
	defer prog.Close()
	b.do(func() error {
		e0, err := netlink.LinkByName("e0")
		if err != nil {
			return err
		}
		return netlink.LinkSetXdpFd(e0, prog.FD())
	})
	before := b.sh("ip -o link show e0")
	c := setups()["tun"]
	if got := b.codes(c); !slices.Contains(got, CodeDecapForeign) {
		t.Errorf("found %v, want %s", got, CodeDecapForeign)
	}
	b.do(func() error {
		if _, err := b.host.Setup(c); !errors.Is(err, ErrBlocked) {
			t.Errorf("setup = %v, want ErrBlocked", err)
		}
		if err := decap.Attach("e0"); !errors.Is(err, decap.ErrForeign) {
			t.Errorf("attach = %v, want ErrForeign", err)
		}
		return decap.Detach("e0")
	})
	if after := b.sh("ip -o link show e0"); after != before {
		t.Errorf("before: %s\nafter: %s", before, after)
	}
}

func TestAnAddressThatWasThereStaysAfterRemove(t *testing.T) {
	b := newBed(t)
	b.sh("ip addr add 192.168.1.8/32 dev lo")
	before := b.state()
	said := false
	for _, s := range b.setup(setups()["dr4"]) {
		said = said || s.What == "192.168.1.8/32 on lo" && s.Did == DidAlready
	}
	if !said {
		t.Error("setup does not say that the address is already there")
	}
	b.remove()
	b.same(before, "after remove")
}

func TestVIPsAndMethodsComeAndGoOneByOne(t *testing.T) {
	b := newBed(t)
	before := b.state()
	b.setup(Config{Method: "dr", VIPs: addrs("192.168.1.8")})
	b.setup(Config{Method: "dr", VIPs: addrs("192.168.1.9")})
	b.setup(Config{Method: "nat", Gateways: addrs("10.1.1.2")})
	b.do(func() error {
		_, err := b.host.Remove("dr", addrs("192.168.1.8"))
		return err
	})
	if out := b.sh("ip addr show lo"); strings.Contains(out, "192.168.1.8/") || !strings.Contains(out, "192.168.1.9/") {
		t.Errorf("lo: %s", out)
	}
	if found := b.check(b.journal().Configs...); len(found) > 0 {
		t.Errorf("what is left is not whole: %+v", found)
	}
	b.do(func() error {
		_, err := b.host.Remove("dr", nil)
		return err
	})
	if left := b.journal().Configs; len(left) != 1 || left[0].Method != "nat" {
		t.Errorf("left %+v, want nat", left)
	}
	b.remove()
	b.remove() // again is harmless
	b.same(before, "after remove")
}

func TestRemoveLeavesWhatSomebodyChangedSince(t *testing.T) {
	b := newBed(t)
	b.setup(setups()["dr4"])
	b.sh("sysctl -qw net.ipv4.conf.all.arp_ignore=2")
	var steps []Step
	b.do(func() (err error) {
		steps, err = b.host.Remove("", nil)
		return err
	})
	if !strings.Contains(fmt.Sprint(steps), "left at 2") {
		t.Errorf("it does not say so: %v", steps)
	}
	if got := b.sh("cat /proc/sys/net/ipv4/conf/all/arp_ignore"); got != "2\n" {
		t.Errorf("arp_ignore = %q", got)
	}
}
