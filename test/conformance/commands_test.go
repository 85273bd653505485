package conformance

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ulvs/dataplane"
	"ulvs/lvs"
)

// room is a replay between two steps.
func room(t *testing.T) *player {
	t.Helper()
	b, err := newBed(2, true)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{bed: b, sysctls: otherSysctls()}
	sh, err := newShell(d.serve)
	if err != nil {
		t.Fatal(err)
	}
	d.proc = sh.dir + "/proc"
	t.Cleanup(func() {
		if err := sh.close(); err != nil {
			t.Error(err)
		}
		if err := b.close(); err != nil {
			t.Error(err)
		}
	})
	return &player{bed: b, desk: d, shell: sh}
}

// says runs a line that must print text and exit with rc.
func (p *player) says(t *testing.T, line, text string, rc int) {
	t.Helper()
	got, code, err := p.shell.run(line)
	if err != nil || got != text || code != rc {
		t.Errorf("$ %s\nprinted %q and exited with %d, %v; want %q and %d", line, got, code, err, text, rc)
	}
}

func TestLinesRunInARealShell(t *testing.T) {
	p := room(t)
	p.says(t, `for i in 2 1; do echo $i; done | sort; echo err >&2`, "1\n2\nerr\n", 0)
	p.says(t, `echo saved > /mnt/save; cat < /mnt/save; rm /mnt/save; test -e /mnt/save || exit 3`, "saved\n", 3)
	p.says(t, `false && echo no; false || echo yes`, "yes\n", 0)
}

func TestSettingsAreTheDirectors(t *testing.T) {
	p := room(t)
	p.says(t, "sysctl -qw net.ipv4.vs.sloppy_tcp=1 net.ipv4.vs.conn_reuse_mode=0", "", 0)
	if s := p.bed.node.Listing().Settings; s.SloppyTCP != 1 || s.ConnReuseMode != 0 {
		t.Errorf("the director has %+v", s)
	}
	p.says(t, "sysctl -n net.ipv4.vs.sloppy_tcp; sysctl net/ipv4/vs/sync_version", "1\nnet.ipv4.vs.sync_version = 1\n", 0)
	all := len(lvs.SettingNames()) + len(otherSysctls()) - 1 // kernel_quirks is ours
	p.says(t, "sysctl -w net.ipv4.vs.snat_reroute=0; sysctl -a 2>/dev/null | grep -c '^net.ipv4.vs.'",
		fmt.Sprintf("net.ipv4.vs.snat_reroute = 0\n%d\n", all), 0)
	p.says(t, "sysctl -qw net.ipv4.vs.nosuch=1 2>/dev/null", "", 255)
}

func TestLinesTakeEveryForm(t *testing.T) {
	p := room(t)
	p.says(t, "LC_ALL=C /sbin/ipvsadm -A -t 10.0.0.1:80 -s rr && /usr/sbin/ipvsadm -Ln | grep -c 10.0.0.1", "1\n", 0)
	p.says(t, "ip netns exec dir ipvsadm -Sn; ipvsadm-save -n | ip netns exec dir wc -l",
		"-A -t 10.0.0.1:80 -s rr\n1\n", 0)
	p.says(t, "ipvsadm-save -n > /mnt/x; ipvsadm -C; ipvsadm-restore < /mnt/x; ipvsadm -Sn",
		"-A -t 10.0.0.1:80 -s rr\n", 0)
	p.says(t, "echo 1 > /proc/sys/net/ipv4/vs/sloppy_tcp; cat /proc/sys/net/ipv4/vs/sloppy_tcp", "1\n", 0)
	p.says(t, `sysctl -w net.ipv4.vs.sync_threshold="4 60"; sysctl -n net.ipv4.vs.sync_threshold`,
		"net.ipv4.vs.sync_threshold = 4 60\n4\t60\n", 0)
	p.says(t, "sleep .5; sleep 0.25 & wait; ip -6 neigh replace fd00::99 lladdr 02:00:00:00:00:09 dev s0", "", 0)
	p.says(t, "ip -4 link set dev c0 mtu 1400 && sysctl -qw net.ipv4.vs.pmtu_disc=0; false || echo end", "end\n", 0)
}

func TestSleepMovesTheClockAndWaitsForNothing(t *testing.T) {
	p := room(t)
	start, before := time.Now(), p.bed.clock
	p.says(t, "sleep 2.5; sleep 1m 1s", "", 0)
	if passed := p.bed.clock - before; passed != 63500*time.Millisecond {
		t.Errorf("%v passed", passed)
	}
	p.says(t, "sleep 86400", "", 0)
	if took := time.Since(start); took > time.Hour {
		t.Errorf("a day and more took %v", took)
	}
}

func TestLinksRoutesAndNeighboursChangeTheNetwork(t *testing.T) {
	p := room(t)
	p.says(t, "ip link set s0 mtu 1400; ip link set dev c0 mtu 9000; ip route flush cache", "", 0)
	if ports := p.bed.network.Ports(); ports[0].MTU != 9000 || ports[1].MTU != 1400 {
		t.Errorf("the ports are %+v", ports)
	}
	real3 := netip.MustParseAddr("10.9.0.3")
	if key, _, _ := p.bed.network.NextHop(real3); key.Port != 0 {
		t.Error("without a route it does not leave by the default one")
	}
	p.says(t, "ip route add 10.9.0.0/16 via 10.0.0.254", "", 0)
	p.says(t, "ip neigh replace 10.0.0.254 lladdr 02:00:00:00:00:99 dev s0", "", 0)
	key, source, ok := p.bed.network.NextHop(real3)
	hop := p.bed.network.Hop(key)
	if !ok || key.Port != 1 || source.String() != "10.0.0.10" || hop.DstMAC() != [6]byte{2, 0, 0, 0, 0, 0x99} {
		t.Errorf("%v goes to %+v from %v: %+v", real3, key, source, hop)
	}
	p.says(t, "ip addr add 10.9.0.3/32 dev s0", "", 0)
	if _, _, ok := p.bed.network.NextHop(real3); ok {
		t.Error("an address of ours is routed away")
	}
}

func TestWhatTheReplayCannotDoFailsTheStep(t *testing.T) {
	p := room(t)
	for _, line := range []string{
		"ip tunnel add x", "iptables -F", "/sbin/ip link set c0 down", "sysctl net.ipv4.ip_forward", "modprobe ip_vs",
		"cat /proc/sys/net/ipv4/vs/nosuch", "ip link set nosuch mtu 1500", "sleep forever", "cat /proc/net/ip_vs_nosuch",
	} {
		if d := p.play(&Step{Cmd: line}); !strings.Contains(d, "cannot do") {
			t.Errorf("$ %s: %q", line, d)
		}
	}
}

func TestFramesOfOneSessionArriveOnSeveralWorkers(t *testing.T) {
	seen := map[int]bool{}
	for _, step := range scenario(t, "fwd_dr").Steps {
		if step.In != nil {
			seen[dealt(step.In.Hex, 2)] = true
		}
	}
	if len(seen) != 2 {
		t.Errorf("all frames arrive on one worker: %v", seen)
	}
}

func TestTheRecordedNetworkKnowsItsNeighbours(t *testing.T) {
	n := Recorded()
	for _, c := range []struct {
		dst, via string
		port     uint8
	}{
		{"10.0.0.27", "10.0.0.27", 1}, {"fd00::21", "fd00::21", 1}, {"192.0.2.1", "198.18.0.1", 0},
		{"2001:db8:77::5", "2001:db8:c::1", 0},
	} {
		key, _, ok := n.NextHop(netip.MustParseAddr(c.dst))
		if hop := n.Hop(key); !ok || key.Port != c.port || key.Addr.String() != c.via || hop.State != dataplane.HopReady {
			t.Errorf("%s goes to %+v (%+v), want %s", c.dst, key, hop, c.via)
		}
	}
	if _, _, ok := n.NextHop(netip.MustParseAddr("198.18.1.7")); ok {
		t.Error("an address of the mark's range is routed away")
	}
}
