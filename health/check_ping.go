package health

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Protocol numbers for the parser of ICMP.
const (
	protoICMP   = 1
	protoICMPv6 = 58
)

// echo is what differs between the families.
type echo struct {
	plain, raw string // networks of a datagram socket, which needs no privilege, and of a raw one
	request    icmp.Type
	reply      icmp.Type
	proto      int
}

func echoOf(a netip.Addr) echo {
	if a.Is4() {
		return echo{"udp4", "ip4:icmp", ipv4.ICMPTypeEcho, ipv4.ICMPTypeEchoReply, protoICMP}
	}
	return echo{"udp6", "ip6:ipv6-icmp", ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply, protoICMPv6}
}

// ping sends one echo request and awaits the reply to it.
func ping(ctx context.Context, q *Probe) Result {
	to := q.Target.Address.Addr()
	e := echoOf(to)
	from := ""
	if q.Target.BindTo.IsValid() {
		from = q.Target.BindTo.String()
	}
	raw := false
	conn, err := icmp.ListenPacket(e.plain, from)
	if err != nil { // net.ipv4.ping_group_range leaves us out
		raw = true
		if conn, err = icmp.ListenPacket(e.raw, from); err != nil {
			return failed(ReasonLocal, "%v", err)
		}
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(q.Check.ConnectTimeout.Value))
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	return e.exchange(conn, to, raw)
}

// exchange tells the reply by the random bytes in it: the kernel chooses the identifier of a
// datagram socket, and a raw one hears everybody's.
func (e *echo) exchange(conn *icmp.PacketConn, to netip.Addr, raw bool) Result {
	token := make([]byte, 16)
	_, _ = rand.Read(token) // never fails
	body := &icmp.Echo{ID: int(binary.BigEndian.Uint16(token)), Seq: 1, Data: token}
	packed, err := (&icmp.Message{Type: e.request, Body: body}).Marshal(nil)
	if err != nil {
		return failed(ReasonLocal, "%v", err)
	}
	var peer net.Addr = &net.UDPAddr{IP: to.AsSlice(), Zone: to.Zone()}
	if raw {
		peer = &net.IPAddr{IP: to.AsSlice(), Zone: to.Zone()}
	}
	if _, err := conn.WriteTo(packed, peer); err != nil {
		return failure(err)
	}
	reply := make([]byte, 1500)
	for { // until the deadline: a raw socket hears what is not for us
		n, from, err := conn.ReadFrom(reply)
		if err != nil {
			return failure(err)
		}
		if addrOf(from) == to.WithZone("") && e.replies(reply[:n], token) {
			return good()
		}
	}
}

// replies reports whether a message is the reply with our token.
func (e *echo) replies(message, token []byte) bool {
	m, err := icmp.ParseMessage(e.proto, message)
	if err != nil || m.Type != e.reply {
		return false
	}
	body, ok := m.Body.(*icmp.Echo)
	return ok && bytes.Equal(body.Data, token)
}

func addrOf(a net.Addr) netip.Addr {
	var ip net.IP
	switch a := a.(type) {
	case *net.UDPAddr:
		ip = a.IP
	case *net.IPAddr:
		ip = a.IP
	}
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}
