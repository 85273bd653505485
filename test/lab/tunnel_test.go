package lab_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ulvs/config"
	"ulvs/internal/testutil"
	"ulvs/test/lab"
)

// tunnelCase is one datagram in a tunnel.
type tunnelCase struct{ outerSrc, outerDst, client, vip netip.Addr }

// tunnel sends a hand-made tunnel packet from d1 to r1, as a director would, and
// waits for the real server's answer at the client.
func tunnel(t *testing.T, l *lab.Lab, c tunnelCase) {
	t.Helper()
	const text = "through the tunnel"
	var conn *net.UDPConn
	err := l.Do("c1", func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.client, 0)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	port := uint16(conn.LocalAddr().(*net.UDPAddr).Port)
	inner := ipPacket(c.client, c.vip, unix.IPPROTO_UDP,
		udpDatagram(netip.AddrPortFrom(c.client, port), netip.AddrPortFrom(c.vip, lab.PortEcho), text))
	proto := byte(unix.IPPROTO_IPIP)
	if c.vip.Is6() {
		proto = unix.IPPROTO_IPV6
	}
	sendFrame(t, l, ipPacket(c.outerSrc, c.outerDst, proto, inner))

	answer := make([]byte, 2048)
	_ = conn.SetReadDeadline(time.Now().Add(testutil.AwaitLimit))
	n, from, err := conn.ReadFromUDPAddrPort(answer)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	if got := string(answer[:n]); got != "r1\n"+text || from.Addr().Unmap() != c.vip {
		t.Errorf("answer %q from %v, want %q from %v", got, from, "r1\n"+text, c.vip)
	}
}

// sendFrame sends an IP packet from d1's s0 to r1's MAC.
func sendFrame(t *testing.T, l *lab.Lab, ip []byte) {
	t.Helper()
	dst, err := l.MAC("r1", "e0")
	if err != nil {
		t.Fatal(err)
	}
	src, err := l.MAC("d1", "s0")
	if err != nil {
		t.Fatal(err)
	}
	etherType := uint16(unix.ETH_P_IP)
	if ip[0]>>4 == 6 {
		etherType = unix.ETH_P_IPV6
	}
	frame := append(append(append([]byte{}, dst...), src...), byte(etherType>>8), byte(etherType))
	err = l.Do("d1", func() error {
		fd, err := packetSocket("s0")
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		_, err = unix.Write(fd, append(frame, ip...))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ipPacket puts an IPv4 or IPv6 header before the payload.
func ipPacket(src, dst netip.Addr, proto byte, payload []byte) []byte {
	if src.Is6() {
		b := binary.BigEndian.AppendUint16([]byte{0x60, 0, 0, 0}, uint16(len(payload)))
		b = append(append(append(b, proto, 63), src.AsSlice()...), dst.AsSlice()...)
		return append(b, payload...)
	}
	b := binary.BigEndian.AppendUint16([]byte{0x45, 0}, uint16(20+len(payload)))
	b = append(append(append(b, 0, 0, 0, 0, 63, proto, 0, 0), src.AsSlice()...), dst.AsSlice()...)
	binary.BigEndian.PutUint16(b[10:], checksum(b, 0))
	return append(b, payload...)
}

func udpDatagram(src, dst netip.AddrPort, text string) []byte {
	b := binary.BigEndian.AppendUint16(nil, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(text)))
	b = append(append(b, 0, 0), text...)
	addrs := append(src.Addr().AsSlice(), dst.Addr().AsSlice()...)
	binary.BigEndian.PutUint16(b[6:], checksum(b, pseudo(addrs, unix.IPPROTO_UDP, len(b))))
	return b
}

// pseudo sums the pseudo header: both addresses, the protocol, the length.
func pseudo(addrs []byte, proto byte, n int) uint32 {
	sum := uint32(proto) + uint32(n)
	for i := 0; i < len(addrs); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(addrs[i:]))
	}
	return sum
}

// checksum is RFC 1071's, of b and an initial sum. Of bytes with a right checksum
// in them it is 0.
func checksum(b []byte, sum uint32) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// checkConfig reads the text as a director would, and counts.
func checkConfig(t *testing.T, name, text string, services int) {
	t.Helper()
	c, err := config.Parse("lab.toml", []byte(text), config.Options{})
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	list := c.Services()
	if len(list) != services {
		t.Errorf("%s: %d services, want %d", name, len(list), services)
	}
	for _, s := range list {
		if len(s.Destinations) != 2 {
			t.Errorf("%s: %v has %d real servers, want 2", name, s.Key, len(s.Destinations))
		}
	}
}

func checkContains(t *testing.T, name, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("%s: no %s in:\n%s", name, want, text)
	}
}
