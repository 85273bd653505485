package qemu

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ulvs/control"
	"ulvs/internal/testutil"
)

var (
	assets    *Assets
	initramfs string
)

func TestMain(m *testing.M) { os.Exit(prepareAndRun(m)) }

// prepareAndRun makes what guests boot from, if they are asked for at all.
func prepareAndRun(m *testing.M) int {
	if os.Getenv("ULVS_QEMU") == "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "ulvs-qemu")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := makeGuest(dir); err != nil {
		fmt.Fprintln(os.Stderr, "make a guest:", err)
		return 1
	}
	return m.Run()
}

func makeGuest(dir string) (err error) {
	programs := map[string]string{}
	for name, pkg := range map[string]string{"ulvs": "ulvs/cmd/ulvs", "guest": "ulvs/test/qemu/guest"} {
		out := filepath.Join(dir, name)
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if b, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, b)
		}
		programs["bin/"+name] = out
	}
	if assets, err = prepare(); err != nil {
		return err
	}
	initramfs, err = assets.initramfs(dir, programs)
	return err
}

func needGuests(t *testing.T) {
	t.Helper()
	if assets == nil {
		t.Skip("a guest takes half a minute: make qemu-test")
	}
	if os.Geteuid() != 0 {
		testutil.Require(t, testutil.NeedNetNS, "a guest's cables need root")
	}
}

const (
	perQueue    = 1000
	vip         = "198.18.0.100"
	serverMAC   = "02:00:00:00:00:21"
	maxUnderWay = 32 // frames: fewer than any ring on their way has
)

const configuration = `[node]
interfaces = ["eth0", "eth1"]
conn_tab_bits = 16
idle = "poll"

[[service]]
vip = "198.18.0.100:80"
protocol = "udp"
scheduler = "rr"

[[service.real_server]]
address = "10.18.1.21"
`

// start runs ulvs in a guest with two NICs, and returns once it forwards.
func (v *vm) start() {
	v.tb.Helper()
	v.sh(`for i in eth0 eth1; do /sbin/ip link set $i up; done; /sbin/ip addr add 198.18.0.2/24 dev eth0
		/sbin/ip addr add 10.18.1.2/24 dev eth1; /sbin/ip neigh add 10.18.1.21 lladdr ` + serverMAC + ` dev eth1
		mkdir -p /run/ulvs`)
	v.write("/etc/ulvs.toml", configuration)
	v.sh("ulvs run /etc/ulvs.toml >/tmp/ulvs.log 2>&1 &")
	v.await("ulvs forwards", "ulvs status >/dev/null 2>&1 && grep -q 'msg=forwarding' /tmp/ulvs.log")
}

// await asks the guest until a command succeeds.
func (v *vm) await(what, command string) {
	v.tb.Helper()
	code, out := v.try("for i in $(seq 250); do " + command + " && exit 0; usleep 200000; done; exit 1")
	if code != 0 {
		_, log := v.try("cat /tmp/ulvs.log")
		v.tb.Fatalf("%s: never\n%s\n%s", what, out, log)
	}
}

func (v *vm) status() (s control.Status) {
	v.tb.Helper()
	out := v.sh("ulvs status --json")
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		v.tb.Fatalf("ulvs status --json: %v\n%s", err, out)
	}
	return s
}

// datagram is a client's, whose source port's low byte is queue.
func datagram(t *testing.T, queue, n int) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 0x10}, DstMAC: []byte{0x52, 0x54, 0, 0, 0, 1},
		EthernetType: layers.EthernetTypeIPv4}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP,
		SrcIP: netip.MustParseAddr("198.18.0.10").AsSlice(), DstIP: netip.MustParseAddr(vip).AsSlice()}
	udp := &layers.UDP{SrcPort: layers.UDPPort(64<<8 | (n%128)<<8 | queue), DstPort: 80}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		eth, ip, udp, gopacket.Payload(fmt.Sprintf("%d %d", queue, n))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// exchange sends perQueue datagrams to each queue and counts by queue what leaves towards the real server. So few are
// on their way that a slow guest drops none.
func exchange(t *testing.T, in, out *cable, queues int) (left []int) {
	t.Helper()
	left, window, ended := make([]int, queues), make(chan struct{}, maxUnderWay), make(chan struct{})
	go func() {
		defer close(ended)
		for range queues * perQueue {
			q := next(out, queues)
			if q < 0 {
				return
			}
			left[q]++
			<-window
		}
	}()
	for i := range queues * perQueue {
		select {
		case window <- struct{}{}:
			in.send(datagram(t, i%queues, i/queues))
		case <-ended:
			return left
		}
	}
	<-ended
	return left
}

// next returns the queue of the next datagram that leaves, -1 when nothing has come for a long while.
func next(out *cable, queues int) int {
	for {
		b := out.receive(20 * time.Second)
		if b == nil {
			return -1
		}
		p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.NoCopy)
		eth, ok := p.LinkLayer().(*layers.Ethernet)
		udp, isUDP := p.TransportLayer().(*layers.UDP)
		if ok && isUDP && eth.DstMAC.String() == serverMAC && int(udp.SrcPort)&255 < queues {
			return int(udp.SrcPort) & 255
		}
	}
}

// Every frame of every queue is forwarded, by the worker of that queue, whatever the NIC calls its queues.
func TestEveryQueueForwards(t *testing.T) {
	needGuests(t)
	for _, c := range []struct {
		name     string
		m        machine
		channels int // opened with ethtool before; 0: as they are
		workers  int // a queue each
		fed      int // queues that the machine feeds
		xdpMode  string
	}{
		{name: "virtio, 4 queues on 4 CPUs", m: pair(4, nic{model: "virtio-net-pci", queues: 4}), workers: 4, fed: 4,
			xdpMode: "native"},
		// A program in the driver would have it receive on 8 and send on 4.
		{name: "virtio, 8 queues on 4 CPUs", m: pair(4, nic{model: "virtio-net-pci", queues: 8}), workers: 4, fed: 4,
			xdpMode: "generic"},
		{name: "virtio, 8 queues opened on 4 CPUs", m: pair(4, nic{model: "virtio-net-pci", queues: 8}), channels: 8,
			workers: 8, fed: 8, xdpMode: "native"},
		{name: "virtio, 4 queues on 2 CPUs", m: pair(2, nic{model: "virtio-net-pci", queues: 4}), workers: 2, fed: 2,
			xdpMode: "generic"},
		{name: "virtio, 4 queues opened on 2 CPUs", m: pair(2, nic{model: "virtio-net-pci", queues: 4}), channels: 4,
			workers: 4, fed: 4, xdpMode: "native"},
		{name: "e1000e", m: pair(2, nic{model: "e1000e", queues: 1}), workers: 1, fed: 1, xdpMode: "generic"},
		// Its driver has a queue for each CPU; QEMU feeds the first.
		{name: "vmxnet3", m: pair(2, nic{model: "vmxnet3", queues: 1}), workers: 2, fed: 1, xdpMode: "generic"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := boot(t, assets, initramfs, c.m)
			if c.channels != 0 {
				v.sh(fmt.Sprintf("for i in eth0 eth1; do ethtool -L $i combined %d; done", c.channels))
			}
			v.start()
			s := v.status()
			for _, p := range s.Ports {
				if p.XDPMode != c.xdpMode {
					t.Errorf("%s: XDP is %s, want %s", p.Name, p.XDPMode, c.xdpMode)
				}
			}
			if len(s.Workers) != c.workers {
				t.Fatalf("%d workers, want %d\n%s", len(s.Workers), c.workers, v.sh("cat /tmp/ulvs.log; ethtool -l eth0"))
			}
			if c.fed > 1 {
				v.steer(0)
			}
			left := exchange(t, v.cable(0), v.cable(1), c.fed)
			s = v.status()
			for q, n := range left {
				t.Logf("queue %d: %d frames left, worker on CPU %d saw %d", q, n, s.Workers[q].CPU, s.Workers[q].Frames)
				if n != perQueue || s.Workers[q].Frames < perQueue {
					t.Errorf("queue %d: of %d frames its worker saw %d, and %d left", q, perQueue, s.Workers[q].Frames, n)
				}
			}
			t.Log("\n" + v.sh("grep -E 'CPU|virtio|eth' /proc/interrupts"))
			if t.Failed() {
				t.Log(v.sh("cat /tmp/ulvs.log; ulvs status; /sbin/ip -s link; ethtool -l eth0"))
			}
		})
	}
}

// pair is a machine with two NICs of a kind.
func pair(cpus int, n nic) machine { return machine{cpus: cpus, nics: []nic{n, n}} }

func TestAGuestSaysWhatACommandCameTo(t *testing.T) {
	needGuests(t)
	v := boot(t, assets, initramfs, machine{cpus: 1})
	if code, out := v.try("echo out; echo err >&2; exit 3"); code != 3 || out != "out\nerr\n" {
		t.Errorf("code %d, %q", code, out)
	}
	if got := v.sh("uname -r"); got != assets.Version || !strings.Contains(v.sh("ipvsadm -Ln"), "IP Virtual Server") {
		t.Errorf("the guest runs %s, want %s with IPVS", got, assets.Version)
	}
}
