package forward

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
	"ulvs/test/lab"
)

// atOnce is how long anything takes that does not wait for a retry: the kernel's are a second apart. A busy machine
// may be slower, so something has to be quicker once in atOnceTries.
const (
	atOnce      = 800 * time.Millisecond
	atOnceTries = 5
)

// ping sends one echo request from c1 and waits for its reply, which is to say the same.
func ping(l *lab.Lab, dst netip.Addr) error {
	return l.Do("c1", func() error {
		fd, err := icmpSocket(dst.Is6(), testutil.AwaitLimit)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		m := packet.ICMP(make([]byte, packet.ICMPLen+16))
		id := uint32(unix.Gettid())<<16 | 1
		m.Encode(&packet.ICMPFields{Type: echoType(dst), Rest: id})
		m.UpdateChecksum() // the kernel does it for ICMPv6
		if err := unix.Sendto(fd, m, 0, sockaddr(netip.AddrPortFrom(dst, 0))); err != nil {
			return fmt.Errorf("echo request to %s: %w", dst, err)
		}
		return awaitEcho(fd, dst, id)
	})
}

func icmpSocket(v6 bool, limit time.Duration) (int, error) {
	family, proto := unix.AF_INET, unix.IPPROTO_ICMP
	if v6 {
		family, proto = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return -1, err
	}
	tv := unix.NsecToTimeval(int64(limit))
	return fd, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
}

func echoType(dst netip.Addr) uint8 {
	if dst.Is6() {
		return packet.ICMPv6EchoRequest
	}
	return packet.ICMPEchoRequest
}

// awaitEcho reads until the reply with the id; a raw socket gets everybody's.
func awaitEcho(fd int, dst netip.Addr, id uint32) error {
	want, buf := uint8(packet.ICMPEchoReply), make([]byte, 1500)
	if dst.Is6() {
		want = packet.ICMPv6EchoReply
	}
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return fmt.Errorf("no echo reply from %s: %w", dst, err)
		}
		b := buf[:n]
		if dst.Is4() { // with its IPv4 header
			b = b[packet.IPv4(b).HeaderLen():]
		}
		if m := packet.ICMP(b); m.Valid() && m.Type() == want && m.Rest() == id {
			return nil
		}
	}
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

func TestVIPsAnswerEcho(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-echo"})
	d := start(t, l, lab.ConfigOptions{})
	forEach(t, func(t *testing.T, m lvs.Method, v6 bool) {
		if err := ping(l, target(l, m, v6, 0).Addr()); err != nil {
			t.Error(err)
		}
	})
	// A worker counts a batch when all of it is sent: whoever was answered may ask before.
	testutil.Await(t, "6 answered echo requests to be counted", func() bool { return d.verdict("tx_echo") == 6 })
	if d.verdict("tx_arp") == 0 || d.verdict("tx_nd") == 0 {
		t.Error("no ARP or no neighbour solicitation was answered")
	}
}

func TestAClosedPortOfAVIPRefusesAtOnce(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-closed"})
	start(t, l, lab.ConfigOptions{})
	forEach(t, func(t *testing.T, m lvs.Method, v6 bool) {
		for _, network := range []string{"tcp", "udp"} {
			var took time.Duration
			for range atOnceTries {
				begin := time.Now()
				err := l.Do("c1", func() error { return exchange(network, target(l, m, v6, 81)) })
				if !errors.Is(err, unix.ECONNREFUSED) {
					t.Errorf("%s: %v, want connection refused", network, err)
				}
				if took = time.Since(begin); took <= atOnce {
					break
				}
			}
			if took > atOnce {
				t.Errorf("%s: refused after %v, %d times", network, took, atOnceTries)
			}
		}
	})
}

// exchange connects, sends a byte and waits for an answer.
func exchange(network string, to netip.AddrPort) error {
	conn, err := net.DialTimeout(network, to.String(), testutil.AwaitLimit)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(testutil.AwaitLimit))
	if _, err := conn.Write([]byte{1}); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 64))
	return err
}
