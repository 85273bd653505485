package qemu

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ulvs/control"
)

var bondConfiguration = strings.Replace(configuration, `["eth0", "eth1"]`, `["bond0"]`, 1)

// bondFlows are the flows that are sent in on a cable.
const bondFlows = 64

// bonded is a guest whose two NICs are a bond, with ulvs on it.
type bonded struct {
	*vm
	t      *testing.T
	cables [2]*cable
}

// bond makes the bond, in a mode, and runs ulvs on it.
func (b *bonded) bond(mode string) {
	b.t.Helper()
	b.sh(`for i in eth0 eth1; do /sbin/ip link set $i down; done
		/sbin/ip link add bond0 type bond mode ` + mode + ` miimon 50
		for i in eth0 eth1; do /sbin/ip link set $i master bond0; done; /sbin/ip link set bond0 up
		/sbin/ip addr add 198.18.0.2/24 dev bond0; /sbin/ip addr add 10.18.1.2/24 dev bond0
		/sbin/ip neigh replace 10.18.1.21 lladdr ` + serverMAC + ` dev bond0; mkdir -p /run/ulvs`)
	b.write("/etc/ulvs.toml", bondConfiguration)
	b.sh("ulvs run /etc/ulvs.toml >/tmp/ulvs.log 2>&1 &")
	b.await("ulvs forwards", "ulvs status >/dev/null 2>&1 && grep -q 'msg=forwarding' /tmp/ulvs.log")
	b.sends(map[string]bool{"eth0": true, "eth1": true})
}

// sends waits until ulvs says which members there are, and whether they send.
func (b *bonded) sends(want map[string]bool) {
	b.t.Helper()
	var got map[string]bool
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		var s control.Status
		code, out := b.try("ulvs status --json")
		if code == 0 && json.Unmarshal([]byte(out), &s) == nil && len(s.Ports) == 1 {
			got = map[string]bool{}
			for _, m := range s.Ports[0].Members {
				got[m.Name] = m.Sends
			}
			if fmt.Sprint(got) == fmt.Sprint(want) && s.Ports[0].Name == "bond0" {
				return
			}
		}
	}
	b.t.Fatalf("members that send: %v, want %v\n%s", got, want, b.sh("cat /tmp/ulvs.log"))
}

// flow is a datagram of one flow for the VIP, to the bond's MAC address, which is that of the first member.
func (b *bonded) flow(n int) []byte { return datagram(b.t, n%256, n) }

// through sends every flow in on one cable and returns those that leave towards the real server, by cable.
func (b *bonded) through(in int) (left [2][]string) {
	b.t.Helper()
	count := func() int { return len(left[0]) + len(left[1]) }
	sent := 0
	for end := time.Now().Add(time.Minute); count() < bondFlows && time.Now().Before(end); {
		for ; sent < bondFlows && sent-count() < 8; sent++ { // so few that a slow guest drops none
			b.cables[in].send(b.flow(sent))
		}
		for i, c := range b.cables {
			for f := c.receive(2 * time.Millisecond); f != nil; f = c.receive(0) {
				if bytes.Equal(f[:6], []byte{2, 0, 0, 0, 0, 0x21}) {
					left[i] = append(left[i], fmt.Sprintf("%x", f[34:36]))
				}
			}
		}
	}
	if count() != bondFlows {
		b.t.Errorf("in on cable %d: of %d frames there left %d and %d", in, bondFlows, len(left[0]), len(left[1]))
	}
	slices.Sort(left[0])
	slices.Sort(left[1])
	return left
}

// answers asks who has the VIP on a cable, and wants the bond's MAC address.
func (b *bonded) answers(in int) {
	b.t.Helper()
	us := []byte{2, 0, 0, 0, 0, 0x10}
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{},
		&layers.Ethernet{SrcMAC: us, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6,
			ProtAddressSize: 4, Operation: layers.ARPRequest, SourceHwAddress: us,
			SourceProtAddress: []byte{198, 18, 0, 10}, DstHwAddress: make([]byte, 6),
			DstProtAddress: netip.MustParseAddr(vip).AsSlice()},
		gopacket.Payload(make([]byte, 18)))
	if err != nil {
		b.t.Fatal(err)
	}
	b.cables[in].send(buf.Bytes())
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		for _, c := range b.cables {
			f := c.receive(50 * time.Millisecond)
			if len(f) >= 42 && f[12] == 8 && f[13] == 6 && f[21] == 2 && fmt.Sprintf("%x", f[22:28]) == "525400000001" {
				return
			}
		}
	}
	b.t.Errorf("asked on cable %d, nobody answers for the VIP with the bond's MAC address", in)
}

// opened returns how often a member's sockets were opened.
func (b *bonded) opened(member string) int {
	b.t.Helper()
	return strings.Count(b.sh("cat /tmp/ulvs.log"), `msg="AF_XDP socket open" interface=`+member+" ")
}

// A bond is one port: frames come in on any member and leave on those that are up, each flow on one; members come and
// go without the others' sockets being opened anew.
func TestABondIsOnePort(t *testing.T) {
	needGuests(t)
	b := &bonded{vm: boot(t, assets, initramfs, pair(2, nic{model: "virtio-net-pci", queues: 1})), t: t}
	b.cables = [2]*cable{b.cable(0), b.cable(1)}
	b.bond("balance-xor xmit_hash_policy layer3+4")
	first, second := b.through(0), b.through(1)
	if len(first[0]) < 10 || len(first[1]) < 10 || fmt.Sprint(first) != fmt.Sprint(second) {
		t.Errorf("flows left by\n%v, then by\n%v", first, second)
	}
	b.answers(1)

	b.sh("/sbin/ip link set eth1 down")
	b.sends(map[string]bool{"eth0": true, "eth1": false})
	if left := b.through(0); len(left[0]) != bondFlows {
		t.Errorf("with a member down there left %d and %d", len(left[0]), len(left[1]))
	}
	b.sh("/sbin/ip link set eth1 nomaster")
	b.sends(map[string]bool{"eth0": true})
	b.through(0)
	b.sh("/sbin/ip link set eth1 master bond0")
	b.sends(map[string]bool{"eth0": true, "eth1": true})
	if again := b.through(1); fmt.Sprint(again) != fmt.Sprint(first) {
		t.Errorf("with all members again flows left by\n%v, before by\n%v", again, first)
	}
	if x, y := b.opened("eth0"), b.opened("eth1"); x != 1 || y != 2 {
		t.Errorf("sockets of eth0 were opened %d times, of eth1 %d, want 1 and 2", x, y)
	}
	if t.Failed() {
		t.Log(b.sh("cat /tmp/ulvs.log; ulvs status; /sbin/ip -d -s link; cat /proc/net/bonding/bond0"))
	}
}
