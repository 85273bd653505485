package decap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"ulvs/internal/testutil"
)

// xdpPass is what the program answers to every frame, unpacked or not.
const xdpPass = 2

func load(tb testing.TB) *ebpf.Program {
	tb.Helper()
	var objs programObjects
	if err := loadProgramObjects(&objs, nil); err != nil {
		testutil.Require(tb, testutil.NeedNetNS, "cannot load an XDP program: "+err.Error())
	}
	tb.Cleanup(func() { _ = objs.Close() })
	return objs.Decap
}

// run gives the frame to the program and returns what the stack would see.
func run(tb testing.TB, prog *ebpf.Program, frame []byte) []byte {
	tb.Helper()
	opts := ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256)}
	verdict, err := prog.Run(&opts)
	if err != nil {
		tb.Fatal(err)
	}
	if verdict != xdpPass {
		tb.Fatalf("verdict %d for % x, want %d", verdict, frame, xdpPass)
	}
	return opts.DataOut
}

var macs = []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}

func ethernet(etherType uint16, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint16(bytes.Clone(macs), etherType), payload...)
}

// ipv4 and ipv6 make headers good enough for the program, which checks no sums.
func ipv4(proto byte, payload []byte) []byte {
	b := make([]byte, 20, 20+len(payload))
	b[0], b[8], b[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	return append(b, payload...)
}

func ipv6(next byte, payload []byte) []byte {
	b := make([]byte, 40, 40+len(payload))
	b[0], b[6], b[7] = 0x60, next, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	return append(b, payload...)
}

// with returns a copy of b with one byte changed.
func with(b []byte, at int, v byte) []byte {
	b = bytes.Clone(b)
	b[at] = v
	return b
}

func TestTunnelPacketsAreUnpackedAndOthersLeftAlone(t *testing.T) {
	in4, in6 := ipv4(unix.IPPROTO_UDP, make([]byte, 30)), ipv6(unix.IPPROTO_UDP, make([]byte, 30))
	ipip := ipv4(unix.IPPROTO_IPIP, in4)
	for _, c := range []struct {
		name        string
		frame, want []byte // nil: unchanged
	}{
		{"IPv4 in IPv4", ethernet(unix.ETH_P_IP, ipip), ethernet(unix.ETH_P_IP, in4)},
		{"IPv6 in IPv4", ethernet(unix.ETH_P_IP, ipv4(unix.IPPROTO_IPV6, in6)), ethernet(unix.ETH_P_IPV6, in6)},
		{"IPv4 in IPv6", ethernet(unix.ETH_P_IPV6, ipv6(unix.IPPROTO_IPIP, in4)), ethernet(unix.ETH_P_IP, in4)},
		{"IPv6 in IPv6", ethernet(unix.ETH_P_IPV6, ipv6(unix.IPPROTO_IPV6, in6)), ethernet(unix.ETH_P_IPV6, in6)},
		{"a tunnel in a tunnel loses the outer one", ethernet(unix.ETH_P_IP, ipv4(unix.IPPROTO_IPIP, ipip)),
			ethernet(unix.ETH_P_IP, ipip)},
		{"plain UDP", ethernet(unix.ETH_P_IP, in4), nil},
		{"plain UDP over IPv6", ethernet(unix.ETH_P_IPV6, in6), nil},
		{"ARP", ethernet(unix.ETH_P_ARP, make([]byte, 28)), nil},
		{"an outer header with options", ethernet(unix.ETH_P_IP, with(ipip, 0, 0x46)), nil},
		{"an outer header too short", ethernet(unix.ETH_P_IP, with(ipip, 0, 0x44)), nil},
		{"a first fragment", ethernet(unix.ETH_P_IP, with(ipip, 6, 0x20)), nil},
		{"a later fragment", ethernet(unix.ETH_P_IP, with(ipip, 7, 1)), nil},
		{"do-not-fragment set", ethernet(unix.ETH_P_IP, with(ipip, 6, 0x40)), ethernet(unix.ETH_P_IP, in4)},
		{"an inner version that the protocol denies", ethernet(unix.ETH_P_IP, ipv4(unix.IPPROTO_IPIP, in6)), nil},
		{"an outer header and nothing inside", ethernet(unix.ETH_P_IP, ipv4(unix.IPPROTO_IPIP, nil)), nil},
		{"an IPv6 header cut off", ethernet(unix.ETH_P_IPV6, ipv6(unix.IPPROTO_IPIP, in4)[:39]), nil},
		{"an IPv4 header cut off", ethernet(unix.ETH_P_IP, ipip[:19]), nil},
	} {
		want := c.want
		if want == nil {
			want = c.frame
		}
		if got := run(t, load(t), c.frame); !bytes.Equal(got, want) {
			t.Errorf("%s:\ngot  % x\nwant % x", c.name, got, want)
		}
	}
}

// model says the same in Go: what the stack should see of a frame.
func model(frame []byte) []byte {
	n := 0
	switch etherType := binary.BigEndian.Uint16(frame[12:]); {
	case etherType == unix.ETH_P_IP && len(frame) >= 34 && frame[14]&15 == 5 && frame[20]&0x3f == 0 && frame[21] == 0:
		n = 20
	case etherType == unix.ETH_P_IPV6 && len(frame) >= 54:
		n = 40
	}
	if n == 0 || len(frame) <= 14+n {
		return frame
	}
	proto := frame[23]
	if n == 40 {
		proto = frame[20]
	}
	inner := frame[14+n:]
	switch {
	case proto == unix.IPPROTO_IPIP && inner[0]>>4 == 4:
		return append(append(bytes.Clone(frame[:12]), 0x08, 0x00), inner...)
	case proto == unix.IPPROTO_IPV6 && inner[0]>>4 == 6:
		return append(append(bytes.Clone(frame[:12]), 0x86, 0xdd), inner...)
	}
	return frame
}

func FuzzDecapEqualsItsModel(f *testing.F) {
	in4, in6 := ipv4(unix.IPPROTO_TCP, make([]byte, 20)), ipv6(unix.IPPROTO_TCP, make([]byte, 20))
	f.Add(ethernet(unix.ETH_P_IP, ipv4(unix.IPPROTO_IPIP, in4)))
	f.Add(ethernet(unix.ETH_P_IP, ipv4(unix.IPPROTO_IPV6, in6)))
	f.Add(ethernet(unix.ETH_P_IPV6, ipv6(unix.IPPROTO_IPIP, in4)))
	f.Add(ethernet(unix.ETH_P_IPV6, ipv6(unix.IPPROTO_IPV6, in6)))
	f.Add(ethernet(unix.ETH_P_IP, ipv4(unix.IPPROTO_IPIP, nil)))
	prog := load(f)
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < 15 || len(frame) > 3000 { // what BPF_PROG_TEST_RUN takes
			return
		}
		if got, want := run(t, prog, frame), model(frame); !bytes.Equal(got, want) {
			t.Errorf("frame % x\ngot  % x\nwant % x", frame, got, want)
		}
	})
}

func TestReadSaysThatNothingIsAttached(t *testing.T) {
	ns := testutil.NewNetNS(t)
	err := ns.Do(func() error {
		_, err := Read("lo")
		return err
	})
	if !errors.Is(err, ErrNotAttached) {
		t.Errorf("Read = %v, want ErrNotAttached", err)
	}
}
