package kernelsync

import (
	"encoding/binary"
	"net/netip"

	"ulvs/conntrack"
	"ulvs/dataplane"
	"ulvs/ha/ipvssync"
	"ulvs/lvs"
	"ulvs/packet"
)

// timeoutMax bounds a kernel's timeouts, in seconds: ipvsadm's longest persistence.
const timeoutMax = 31 * 86400

const (
	portFTP        = 21
	portFTPData    = 20
	portUnreserved = 1024
)

// heard turns what a kernel tells into what the table takes. ok is false for what is refused, and why says so.
func (b *Backup) heard(c *ipvssync.Conn) (k dataplane.KernelConn, why Reject, ok bool) {
	template := c.Flags&ipvssync.FlagTemplate != 0
	switch {
	case c.Flags&ipvssync.FlagOnePacket != 0:
		return k, RejectOnePacket, false
	case c.PEName != nil || c.PEData != nil:
		return k, RejectEngine, false
	case c.Flags&ipvssync.MethodMask >= ipvssync.MethodBypass:
		return k, RejectMethod, false
	case !template && (c.Flags&ipvssync.FlagNoCPort != 0 || c.Client.Port() == 0):
		return k, RejectNoPort, false
	}
	rec := &k.Record
	if rec.State, why, ok = stateOf(c, template); !ok {
		return k, why, false
	}
	rec.Key = keyOf(c)
	rec.DestAddr = wireAddr(c.Dest.Addr())
	rec.DestPort = packet.WirePort(c.Dest.Port())
	rec.Timeout = conntrack.Tick(min(c.Timeout, timeoutMax)) * conntrack.TicksPerSecond
	rec.Flags, k.Inactive = flagsOf(c.Flags), c.Flags&ipvssync.FlagInactive != 0
	b.candidates(c, template, &k)
	return k, 0, true
}

// stateOf is a state of the protocol (ip_vs_proc_sync_conn refuses others), or of a template.
func stateOf(c *ipvssync.Conn, template bool) (conntrack.State, Reject, bool) {
	first, last := conntrack.TCPNone, conntrack.TCPSynAck
	switch {
	case template:
		first, last = conntrack.TemplateNone, conntrack.TemplateAssured
	case c.Proto == lvs.ProtoTCP:
	case c.Proto == lvs.ProtoUDP:
		first, last = conntrack.UDPNormal, conntrack.UDPNormal
	case c.Proto == lvs.ProtoSCTP:
		first, last = conntrack.SCTPNone, conntrack.SCTPClosed
	default:
		return 0, RejectProtocol, false
	}
	if c.State > uint16(last-first) {
		return 0, RejectState, false
	}
	return first + conntrack.State(c.State), 0, true
}

func keyOf(c *ipvssync.Conn) (k conntrack.Key) {
	client, vip := wireAddr(c.Client.Addr()), wireAddr(c.VIP.Addr())
	k.V6 = c.V6()
	if k.V6 {
		k.Addr = [4]uint64{client[0], client[1], vip[0], vip[1]}
	} else {
		k.Addr[0] = client[0] | vip[0]<<32
	}
	k.L4 = uint64(packet.WirePort(c.Client.Port())) | uint64(packet.WirePort(c.VIP.Port()))<<16 | uint64(c.Proto)<<32
	return k
}

func wireAddr(a netip.Addr) [2]uint64 {
	if a.Is4() {
		return [2]uint64{uint64(packet.WireV4(a))}
	}
	return packet.WireV6(a)
}

func flagsOf(kernel uint32) (f conntrack.Flags) {
	switch {
	case kernel&ipvssync.FlagTemplate != 0:
		return conntrack.FlagTemplate
	case kernel&ipvssync.MethodMask == ipvssync.MethodNAT:
		f = conntrack.FlagNAT
	case kernel&ipvssync.MethodMask == ipvssync.MethodTUN:
		f = conntrack.FlagTUN
	}
	if kernel&ipvssync.FlagNoOutput != 0 {
		f |= conntrack.FlagNoOutput
	}
	return f
}

// candidates are the services that the connection may be of, in the order in which a kernel looks
// (ip_vs_service_find): its mark's, the one at its address and port, FTP's for its data connections, the one for all
// ports. Version 0 tells no mark, but that of a template is the VIP in it.
func (b *Backup) candidates(c *ipvssync.Conn, template bool, k *dataplane.KernelConn) {
	n := 0
	add := func(key lvs.ServiceKey) {
		k.Services[n] = b.identity(key)
		n++
	}
	vip, mark := c.VIP.Addr(), c.Mark
	if mark == 0 && template && c.Proto == 0 {
		mark = markIn(vip)
	}
	if mark != 0 {
		any := netip.IPv4Unspecified()
		if c.V6() {
			any = netip.IPv6Unspecified()
		}
		add(lvs.ServiceKey{Addr: any, Mark: mark})
	}
	port := c.VIP.Port()
	if port != 0 {
		add(lvs.ServiceKey{Addr: vip, Port: port, Proto: c.Proto})
	}
	if c.Proto == lvs.ProtoTCP && (port == portFTPData || port >= portUnreserved || template && port == 0) {
		add(lvs.ServiceKey{Addr: vip, Port: portFTP, Proto: c.Proto})
	}
	if c.Proto != 0 {
		add(lvs.ServiceKey{Addr: vip, Proto: c.Proto})
	}
}

// markIn is the mark that a mark's template has for a VIP (ip_vs_sched_persist).
func markIn(vip netip.Addr) uint32 { return binary.BigEndian.Uint32(vip.AsSlice()) }

// identitiesMax bounds the identities that are remembered: they cost a microsecond to make.
const identitiesMax = 1 << 16

func (b *Backup) identity(key lvs.ServiceKey) uint64 {
	id, known := b.identities[key]
	if !known {
		if len(b.identities) >= identitiesMax {
			clear(b.identities)
		}
		id = key.Identity()
		b.identities[key] = id
	}
	return id
}

// told are the TCP states that a kernel's master tells of (ip_vs_sync_conn_needed).
const told = 1<<conntrack.TCPEstablished | 1<<conntrack.TCPFinWait | 1<<conntrack.TCPClose |
	1<<conntrack.TCPCloseWait | 1<<conntrack.TCPTimeWait

// tells turns a record into what a kernel takes; false for what a kernel would not send either.
func tells(rec *conntrack.Record, svc *lvs.Service) (c ipvssync.Conn, ok bool) {
	proto := rec.Proto()
	if rec.Op != conntrack.OpPut || proto == lvs.ProtoTCP && !rec.Template() && told>>rec.State&1 == 0 {
		return c, false
	}
	first := conntrack.TCPNone
	switch {
	case rec.Template():
		first = conntrack.TemplateNone
	case proto == lvs.ProtoUDP:
		first = conntrack.UDPNormal
	case proto == lvs.ProtoSCTP:
		first = conntrack.SCTPNone
	}
	c.Proto, c.State = proto, uint16(rec.State-first)
	c.Flags = kernelFlags(rec, svc)
	ports := uint32(rec.L4)
	client, vip := addrs(&rec.Key)
	c.Client = netip.AddrPortFrom(client, packet.WirePort(uint16(ports)))
	c.VIP = netip.AddrPortFrom(vip, packet.WirePort(uint16(ports>>16)))
	c.Dest = netip.AddrPortFrom(destAddr(rec), packet.WirePort(rec.DestPort))
	left := rec.Remaining
	if rec.Template() {
		left = max(left, rec.Timeout)
	}
	c.Timeout = max(1, uint32((left+conntrack.TicksPerSecond-1)/conntrack.TicksPerSecond))
	if svc != nil {
		c.Mark = svc.Key.Mark
	}
	return c, true
}

func kernelFlags(rec *conntrack.Record, svc *lvs.Service) (f uint32) {
	f = methodOf(rec, svc)
	if rec.Template() {
		f |= ipvssync.FlagTemplate
	}
	if rec.Flags&conntrack.FlagNoOutput != 0 || rec.Template() && f&ipvssync.MethodMask != ipvssync.MethodNAT {
		f |= ipvssync.FlagNoOutput
	}
	if !rec.State.Active() {
		f |= ipvssync.FlagInactive
	}
	return f
}

// methodOf is how a session is forwarded; a template is as its real server is.
func methodOf(rec *conntrack.Record, svc *lvs.Service) uint32 {
	switch {
	case rec.Template() && svc != nil:
		at := destAddr(rec)
		for i := range svc.Destinations {
			if d := &svc.Destinations[i]; d.Addr == at {
				return kernelMethod(d.Method)
			}
		}
	case rec.Flags&conntrack.FlagNAT != 0:
		return ipvssync.MethodNAT
	case rec.Flags&conntrack.FlagTUN != 0:
		return ipvssync.MethodTUN
	}
	return ipvssync.MethodDR
}

func kernelMethod(m lvs.Method) uint32 {
	switch m {
	case lvs.MethodNAT:
		return ipvssync.MethodNAT
	case lvs.MethodTUN:
		return ipvssync.MethodTUN
	}
	return ipvssync.MethodDR
}

func addrs(k *conntrack.Key) (client, vip netip.Addr) {
	if k.V6 {
		return packet.AddrV6([2]uint64{k.Addr[0], k.Addr[1]}), packet.AddrV6([2]uint64{k.Addr[2], k.Addr[3]})
	}
	return packet.AddrV4(uint32(k.Addr[0])), packet.AddrV4(uint32(k.Addr[0] >> 32))
}

func destAddr(rec *conntrack.Record) netip.Addr {
	if rec.V6 {
		return packet.AddrV6(rec.DestAddr)
	}
	return packet.AddrV4(uint32(rec.DestAddr[0]))
}
