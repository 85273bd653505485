package qemu

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// interrupt is a queue's, as /proc/interrupts has it.
type interrupt struct {
	number int
	counts []int // by CPU
}

// interrupts returns those whose names begin with prefix and end in .0, .1 ...
func (v *vm) interrupts(prefix string, queues int) []interrupt {
	v.tb.Helper()
	found := make([]interrupt, queues)
	for line := range strings.Lines(v.sh("cat /proc/interrupts")) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[len(f)-1], prefix+".") {
			continue
		}
		q, err := strconv.Atoi(strings.TrimPrefix(f[len(f)-1], prefix+"."))
		if err != nil || q >= queues {
			continue
		}
		found[q].number, _ = strconv.Atoi(strings.TrimSuffix(f[0], ":"))
		for _, word := range f[1:] {
			n, err := strconv.Atoi(word)
			if err != nil {
				break
			}
			found[q].counts = append(found[q].counts, n)
		}
	}
	return found
}

// affinities returns the cores that interrupts may use now, and what was asked for.
func (v *vm) affinities(irqs []interrupt) (effective, asked []string) {
	for _, i := range irqs {
		effective = append(effective, v.sh(fmt.Sprintf("cat /proc/irq/%d/effective_affinity_list", i.number)))
		asked = append(asked, v.sh(fmt.Sprintf("cat /proc/irq/%d/smp_affinity", i.number)))
	}
	return effective, asked
}

// tune apply puts each queue's interrupt on its worker's core, where it stays under traffic; undo puts it back.
func TestInterruptsGoWhereTheWorkersAre(t *testing.T) {
	needGuests(t)
	v := boot(t, assets, initramfs, pair(4, nic{model: "virtio-net-pci", queues: 4}))
	v.start()
	_, before := v.affinities(v.interrupts("virtio0-input", 4))
	t.Log("\n" + v.sh("ulvs tune plan"))
	v.sh("ulvs tune apply")
	v.await("ulvs forwards after tune apply", "ulvs status >/dev/null 2>&1")
	irqs, s := v.interrupts("virtio0-input", 4), v.status()
	effective, _ := v.affinities(irqs)
	for q, got := range effective {
		if want := fmt.Sprint(s.Workers[q].CPU); got != want {
			t.Errorf("queue %d: its interrupt is on core %s, its worker on %s", q, got, want)
		}
	}
	v.steer(0)
	if left := exchange(t, v.cable(0), v.cable(1), 4); slices.Min(left) != perQueue {
		t.Errorf("of %d frames a queue there left %v", perQueue, left)
	}
	for q, i := range v.interrupts("virtio0-input", 4) {
		for cpu, n := range i.counts {
			if more := n - irqs[q].counts[cpu]; more > 0 && cpu != s.Workers[q].CPU {
				t.Errorf("queue %d: %d interrupts on core %d, its worker is on %d", q, more, cpu, s.Workers[q].CPU)
			}
		}
	}
	v.sh("ulvs tune undo")
	if _, after := v.affinities(irqs); !slices.Equal(after, before) {
		t.Errorf("before apply the interrupts were on %v, after undo on %v", before, after)
	}
}

// segment is a client's for the VIP, or a NAT real server's answer.
func segment(t *testing.T, from, to netip.AddrPort, nic int, tcp layers.TCP) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, byte(0x10 + nic)},
		DstMAC: []byte{0x52, 0x54, 0, 0, 0, byte(nic + 1)}, EthernetType: layers.EthernetTypeIPv4}
	ip := &layers.IPv4{Version: 4, TTL: 64, Id: 7, Protocol: layers.IPProtocolTCP, SrcIP: from.Addr().AsSlice(),
		DstIP: to.Addr().AsSlice()}
	tcp.SrcPort, tcp.DstPort, tcp.Window = layers.TCPPort(from.Port()), layers.TCPPort(to.Port()), 1000
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	b := gopacket.NewSerializeBuffer()
	opt := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(b, opt, eth, ip, &tcp); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// story sends segments of a few sessions to the VIP and returns what leaves, by NIC, in order. answers has the NAT real
// servers answer what reaches them.
func (v *vm) story(t *testing.T, cables [2]*cable, port uint16, answers bool) (left [2][]string) {
	t.Helper()
	service := netip.AddrPortFrom(netip.MustParseAddr(vip), port)
	take := func(nic int) []byte {
		for {
			b := cables[nic].receive(10 * time.Second)
			if b == nil {
				state := v.sh("ulvs status 2>&1; ipvsadm -Lnc; cat /tmp/ulvs.log; true")
				t.Fatalf("nothing left by eth%d after %v\n%s", nic, left, state)
			}
			if b[12] == 8 && b[13] == 0 && b[23] == 6 { // TCP in IPv4: not the kernel's own
				left[nic] = append(left[nic], hex.EncodeToString(b))
				return b
			}
		}
	}
	for k := range 6 {
		client := netip.AddrPortFrom(netip.MustParseAddr("198.18.0.10"), uint16(5000+k))
		for seq, tcp := range []layers.TCP{
			{SYN: true}, {ACK: true, Seq: 1}, {ACK: true, PSH: true, Seq: 1}, {FIN: true, ACK: true, Seq: 1},
		} {
			cables[0].send(segment(t, client, service, 0, tcp))
			b := take(1)
			if answers && seq == 0 {
				server := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[30:34])), uint16(b[36])<<8|uint16(b[37]))
				cables[1].send(segment(t, server, client, 1, layers.TCP{SYN: true, ACK: true, Ack: 1}))
				take(0)
			}
		}
	}
	return left
}

// The kernel's IPVS and ulvs, in the same guest, make the same frames of the same frames, byte for byte.
func TestTheKernelAndUlvsSendTheSameFrames(t *testing.T) {
	needGuests(t)
	v := boot(t, assets, initramfs, pair(2, nic{model: "virtio-net-pci", queues: 1}))
	v.sh(`for i in eth0 eth1; do /sbin/ip link set $i up; done; /sbin/ip link set lo up
		/sbin/ip addr add 198.18.0.2/24 dev eth0; /sbin/ip addr add 10.18.1.2/24 dev eth1
		/sbin/ip neigh add 198.18.0.10 lladdr 02:00:00:00:00:10 dev eth0
		for n in 21 22; do /sbin/ip neigh add 10.18.1.$n lladdr 02:00:00:00:00:$n dev eth1; done
		for i in all eth0 eth1; do echo 0 >/proc/sys/net/ipv4/conf/$i/rp_filter; done
		echo 1 >/proc/sys/net/ipv4/ip_forward; mkdir -p /run/ulvs`)
	cables := [2]*cable{v.cable(0), v.cable(1)}
	v.sh(`/sbin/ip addr add 198.18.0.100/32 dev lo
		ipvsadm -A -t 198.18.0.100:80 -s rr; ipvsadm -A -t 198.18.0.100:81 -s rr
		for n in 21 22; do ipvsadm -a -t 198.18.0.100:80 -r 10.18.1.$n -g
			ipvsadm -a -t 198.18.0.100:81 -r 10.18.1.$n:8080 -m; done`)
	kernelDR, kernelNAT := v.story(t, cables, 80, false), v.story(t, cables, 81, true)
	saved := v.sh("ipvsadm -Sn")
	v.sh("ipvsadm -C; /sbin/ip addr del 198.18.0.100/32 dev lo")

	v.write("/etc/ulvs.toml", "[node]\ninterfaces = [\"eth0\", \"eth1\"]\nconn_tab_bits = 16\nidle = \"poll\"\n")
	v.sh("ulvs run /etc/ulvs.toml >/tmp/ulvs.log 2>&1 &")
	v.await("ulvs forwards", "ulvs status >/dev/null 2>&1 && grep -q 'msg=forwarding' /tmp/ulvs.log")
	v.write("/tmp/saved", saved)
	v.sh("ulvs ipvsadm -R </tmp/saved")
	if got := v.sh("ulvs ipvsadm -Sn"); got != saved {
		t.Errorf("the kernel saved\n%s\nand ulvs\n%s", saved, got)
	}
	ulvsDR, ulvsNAT := v.story(t, cables, 80, false), v.story(t, cables, 81, true)
	same := func(method string, kernel, ours [2][]string) {
		for nic := range 2 {
			if !slices.Equal(kernel[nic], ours[nic]) {
				t.Errorf("%s, eth%d: the kernel sent\n%s\nulvs sent\n%s", method, nic, strings.Join(kernel[nic], "\n"),
					strings.Join(ours[nic], "\n"))
			}
		}
	}
	same("DR", kernelDR, ulvsDR)
	same("NAT", kernelNAT, ulvsNAT)
	if len(ulvsDR[1]) != 24 || len(ulvsNAT[1]) != 24 || len(ulvsNAT[0]) != 6 {
		t.Errorf("of DR %d frames left, of NAT %d and %d", len(ulvsDR[1]), len(ulvsNAT[1]), len(ulvsNAT[0]))
	}
}

// A table of RSS that was set before ulvs came still steers when its program is on the NIC.
func TestRSSIsAsItWasSet(t *testing.T) {
	needGuests(t)
	v := boot(t, assets, initramfs, pair(4, nic{model: "virtio-net-pci", queues: 4, extra: "rss=on"}))
	v.sh("ethtool -X eth0 weight 0 0 0 1")
	v.start()
	left := exchange(t, v.cable(0), v.cable(1), 4)
	for q, w := range v.status().Workers {
		if want := uint64(len(left) * perQueue); q == 3 && w.Frames < want || q != 3 && w.Frames > 50 {
			t.Errorf("worker %d saw %d frames of %d, all of which are the last's", q, w.Frames, want)
		}
	}
	if slices.Min(left) != perQueue {
		t.Errorf("of %d frames a source port there left %v", perQueue, left)
	}
}
