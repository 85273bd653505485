package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"ulvs/ha"
	"ulvs/internal/testutil"
	"ulvs/test/lab"
)

// open opens a packet socket in a namespace.
func open(t *testing.T, l *lab.Lab, ns, link string) (conn *packet.Conn, ifi *net.Interface) {
	t.Helper()
	err := l.Do(ns, func() (err error) {
		if ifi, err = net.InterfaceByName(link); err != nil {
			return err
		}
		conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return conn, ifi
}

func frame(t *testing.T, list ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	opt := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(b, opt, list...); err != nil {
		t.Error(err)
	}
	return b.Bytes()
}

// stranger advertises a VIP with the virtual router id 51 and the lowest priority, until the result is called.
func stranger(t *testing.T, l *lab.Lab, ns string, from, vip netip.Addr) (stop func()) {
	t.Helper()
	conn, ifi := open(t, l, ns, "c0")
	a := ha.Advert{Version: 2, VRID: 51, Priority: 1, Interval: 2 * time.Second, Addrs: []netip.Addr{vip}}
	group := netip.MustParseAddr("224.0.0.18")
	mac := net.HardwareAddr{1, 0, 0x5e, 0, 0, 0x12}
	advert := frame(t, &layers.Ethernet{SrcMAC: ifi.HardwareAddr, DstMAC: mac, EthernetType: layers.EthernetTypeIPv4},
		&layers.IPv4{Version: 4, TTL: 255, Protocol: ha.Proto, SrcIP: from.AsSlice(), DstIP: group.AsSlice()},
		gopacket.Payload(a.Append(nil, from, group)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.NewTicker(200 * time.Millisecond); ; {
			_, _ = conn.WriteTo(advert, &packet.Addr{HardwareAddr: mac})
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		cancel()
		<-done
		_ = conn.Close()
	}
}

// ghost takes the place of a host whose clock is ahead: it answers ARP and ICMP timestamps, and nothing else.
func ghost(t *testing.T, l *lab.Lab, ns string, addr netip.Addr, ahead time.Duration) (stop func()) {
	t.Helper()
	if out, err := l.Command(ns, "ip", "-4", "addr", "flush", "dev", "s0").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	conn, ifi := open(t, l, ns, "s0")
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, _, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			if out := haunt(t, b[:n], ifi.HardwareAddr, addr, ahead); out != nil {
				_, _ = conn.WriteTo(out, &packet.Addr{HardwareAddr: out[:6]})
			}
		}
	}()
	return func() {
		_ = conn.Close()
		<-done
	}
}

// haunt answers a frame, or does not.
func haunt(t *testing.T, in []byte, us net.HardwareAddr, addr netip.Addr, ahead time.Duration) []byte {
	p := gopacket.NewPacket(in, layers.LayerTypeEthernet, gopacket.NoCopy)
	eth, is := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
	if !is || eth.SrcMAC.String() == us.String() {
		return nil
	}
	back := &layers.Ethernet{SrcMAC: us, DstMAC: eth.SrcMAC, EthernetType: eth.EthernetType}
	if a, is := p.Layer(layers.LayerTypeARP).(*layers.ARP); is {
		if who, _ := netip.AddrFromSlice(a.DstProtAddress); who != addr || a.Operation != layers.ARPRequest {
			return nil
		}
		return frame(t, back, &layers.ARP{AddrType: a.AddrType, Protocol: a.Protocol, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: layers.ARPReply, SourceHwAddress: us, SourceProtAddress: a.DstProtAddress,
			DstHwAddress: a.SourceHwAddress, DstProtAddress: a.SourceProtAddress})
	}
	ip, isIP := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	icmp, isICMP := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	if !isIP || !isICMP || icmp.TypeCode.Type() != layers.ICMPv4TypeTimestampRequest || len(icmp.Payload) < 12 {
		return nil
	}
	body := append([]byte(nil), icmp.Payload[:12]...)
	now := uint32(time.Now().Add(ahead).UTC().UnixMilli() % (24 * 60 * 60 * 1000))
	binary.BigEndian.PutUint32(body[4:], now)
	binary.BigEndian.PutUint32(body[8:], now)
	code := layers.CreateICMPv4TypeCode(layers.ICMPv4TypeTimestampReply, 0)
	head := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolICMPv4, SrcIP: ip.DstIP, DstIP: ip.SrcIP}
	return frame(t, back, head,
		&layers.ICMPv4{TypeCode: code, Id: icmp.Id, Seq: icmp.Seq}, gopacket.Payload(body))
}

// floodFrames are more than the rings of a queue hold.
const floodFrames = 3 * 2048

// flood sends UDP to a VIP from a client, to d1.
func flood(t *testing.T, l *lab.Lab, ns string, vip netip.Addr) {
	t.Helper()
	conn, ifi := open(t, l, ns, "c0")
	defer conn.Close()
	mac, err := l.MAC("d1", "c0")
	if err != nil {
		t.Fatal(err)
	}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: l.Addresses().Clients[0].IPv4.AsSlice(),
		DstIP: vip.AsSlice()}
	udp := &layers.UDP{SrcPort: 9, DstPort: 9}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	eth := &layers.Ethernet{SrcMAC: ifi.HardwareAddr, DstMAC: mac, EthernetType: layers.EthernetTypeIPv4}
	out := frame(t, eth, ip, udp)
	for range floodFrames {
		var err error
		testutil.Await(t, "room for a frame", func() bool { // a busy machine's kernel has none now and then
			_, err = conn.WriteTo(out, &packet.Addr{HardwareAddr: mac})
			return !errors.Is(err, unix.ENOBUFS)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
