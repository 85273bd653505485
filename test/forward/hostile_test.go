package forward

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
	"ulvs/test/lab"
)

// hostileFrame is a frame that nobody honest sends, and the counter it has to end in.
type hostileFrame struct {
	name    string
	frame   []byte
	counter string // empty: the XDP program leaves it to the kernel, or it depends
}

// victim is whom hostile frames go to.
type victim struct {
	dst, src packet.MAC
	client   netip.Addr
	vip      netip.AddrPort
}

// ipv4 is a TCP SYN to the victim after change, header checksum set, cut or padded as change
// likes.
func (v *victim) ipv4(change func(ip []byte) []byte) []byte {
	ip := make([]byte, packet.IPv4Len+packet.TCPLen)
	packet.IPv4(ip).Encode(&packet.IPv4Fields{
		TTL: 64, Proto: packet.ProtoTCP, TotalLen: uint16(len(ip)),
		Src: packet.WireV4(v.client), Dst: packet.WireV4(v.vip.Addr()),
	})
	packet.TCP(ip[packet.IPv4Len:]).Encode(&packet.TCPFields{SrcPort: 4000, DstPort: v.vip.Port(), Flags: packet.TCPSyn})
	return v.ethernet(packet.EtherTypeIPv4, change(ip))
}

// resummed is ipv4 with the header checksum made right after change.
func (v *victim) resummed(change func(ip []byte)) []byte {
	return v.ipv4(func(ip []byte) []byte {
		change(ip)
		packet.IPv4(ip).UpdateChecksum()
		return ip
	})
}

func (v *victim) ethernet(kind uint16, payload []byte) []byte {
	frame := make([]byte, packet.EthernetLen, packet.EthernetLen+len(payload))
	packet.Ethernet(frame).Encode(&packet.EthernetFields{Dst: v.dst, Src: v.src, EtherType: kind})
	return append(frame, payload...)
}

// frames are the hostile ones. Those without a counter must do no harm, no more.
func (v *victim) frames() []hostileFrame {
	same := func(ip []byte) []byte { return ip }
	good := v.ipv4(same)
	qinq := append(v.ethernet(packet.EtherTypeQinQ, []byte{0, 1, 0x81, 0, 0, 2, 8, 0}), good[packet.EthernetLen:]...)
	return []hostileFrame{
		{"a total length beyond the frame", v.resummed(func(ip []byte) { ip[3] = 200 }), "bad_ip_total_length"},
		{"a total length within the header", v.resummed(func(ip []byte) { ip[3] = 19 }), "bad_ip_total_length"},
		{"a bad header checksum", v.ipv4(func(ip []byte) []byte { ip[10] ^= 1; return ip }), "bad_ip_checksum"},
		{"TTL 1 has no way", v.resummed(func(ip []byte) { ip[8] = 1 }), "tx_icmp_error"},
		{"a TCP header cut short", v.resummed(func(ip []byte) { ip[3] = 30 }), "bad_l4_short"},
		{"LAND", v.resummed(func(ip []byte) { copy(ip[12:16], ip[16:20]); copy(ip[20:22], ip[22:24]) }), "drop_own_source"},
		{"a loopback source", v.resummed(func(ip []byte) { ip[12] = 127 }), "bad_martian"},
		{"a broadcast source", v.resummed(func(ip []byte) { copy(ip[12:], "\xff\xff\xff\xff") }), "bad_martian"},
		{"a header length below five words", v.ipv4(func(ip []byte) []byte { ip[0] = 0x44; return ip }), ""},
		{"a header length beyond the packet", v.ipv4(func(ip []byte) []byte { ip[0] = 0x4f; return ip }), ""},
		{"version 6 in an IPv4 frame", v.ipv4(func(ip []byte) []byte { ip[0] = 0x65; return ip }), ""},
		{"a zero source port", v.resummed(func(ip []byte) { ip[20], ip[21] = 0, 0 }), ""},
		{"a zero destination port", v.resummed(func(ip []byte) { ip[22], ip[23] = 0, 0 }), ""},
		{"TTL 0", v.resummed(func(ip []byte) { ip[8] = 0 }), ""},
		{"a fragment that ends beyond 65535", v.resummed(func(ip []byte) { ip[6], ip[7] = 0x1f, 0xff }), "bad_fragment_bad"},
		{"a fragment too small to have ports", v.resummed(func(ip []byte) { ip[6], ip[3] = 0x20, 22 }), ""},
		{"two tags", qinq, ""},
		{"an Ethernet header and nothing else", good[:packet.EthernetLen], ""},
		{"half an IPv4 header", good[:packet.EthernetLen+10], ""},
		{"ARP that ends early", v.ethernet(packet.EtherTypeARP, make([]byte, 20)), ""},
		{"no protocol at all", v.ethernet(packet.EtherTypeIPv6, make([]byte, 40)), ""},
	}
}

// sendFrames hands frames to the director's c0 as they are: at its port of the switch, because a
// bridge's netfilter throws some of them away. A cable holds 256 frames: where a busy machine has not taken them out
// yet, the kernel has no room, and is asked again.
func sendFrames(tb testing.TB, l *lab.Lab, frames ...[]byte) {
	tb.Helper()
	inside(tb, l, "sw0", func() error {
		dev, err := netlink.LinkByName("d1-c0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		to := &unix.SockaddrLinklayer{Ifindex: dev.Attrs().Index}
		var errs []error
		for _, f := range frames {
			var err error
			testutil.Await(tb, "room for a frame", func() bool {
				err = unix.Sendto(fd, f, 0, to)
				return !errors.Is(err, unix.ENOBUFS)
			})
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

func TestHostileFramesHitCounters(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-hostile"})
	d := start(t, l, lab.ConfigOptions{})
	v := victimOf(t, l)
	for _, h := range v.frames() {
		t.Run(h.name, func(t *testing.T) {
			if h.counter == "" {
				sendFrames(t, l, h.frame)
				return
			}
			before := d.verdict(h.counter)
			sendFrames(t, l, h.frame)
			testutil.Await(t, h.counter, func() bool { return d.verdict(h.counter) > before })
		})
	}
	for _, m := range methods {
		load(t, l, m)
	}
	awaitBalance(t, d)
}

// Frames with random bytes changed, lost or added: none may stop ulvs, and each has its verdict.
func TestRandomFramesDoNoHarm(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-random"})
	d := start(t, l, lab.ConfigOptions{})
	v := victimOf(t, l)
	base := v.frames()
	random := testutil.Rand(t)
	frames := make([][]byte, 3000)
	for i := range frames {
		f := append([]byte(nil), base[random.IntN(len(base))].frame...)
		for range 1 + random.IntN(4) {
			f[packet.EthernetLen-2+random.IntN(len(f)-packet.EthernetLen+2)] = byte(random.Uint32())
		}
		if random.IntN(4) == 0 {
			f = f[:packet.EthernetLen+random.IntN(len(f)-packet.EthernetLen+1)]
		}
		frames[i] = f
	}
	sendFrames(t, l, frames...)
	for _, m := range methods {
		load(t, l, m)
	}
	awaitBalance(t, d)
}

func victimOf(t *testing.T, l *lab.Lab) *victim {
	t.Helper()
	dst, err := l.MAC("d1", "c0")
	if err != nil {
		t.Fatal(err)
	}
	src, err := l.MAC("c1", "c0")
	if err != nil {
		t.Fatal(err)
	}
	vip := target(l, lvs.MethodDR, false, lab.PortHTTP)
	return &victim{packet.MAC(dst), packet.MAC(src), l.Addresses().Clients[0].IPv4, vip}
}

// awaitBalance wants every frame that was received to have exactly one verdict, and none to be a bug's.
func awaitBalance(t *testing.T, d *director) {
	t.Helper()
	testutil.Await(t, "as many verdicts as frames", func() bool {
		st, sum := d.status(), uint64(0)
		for _, v := range st.Verdicts {
			sum += v.Frames
		}
		received := uint64(0)
		for _, w := range st.Workers {
			received += w.Frames
		}
		return received > 0 && sum == received
	})
	if n := d.verdict("drop_internal"); n != 0 {
		t.Errorf("%d frames got no verdict", n)
	}
}
