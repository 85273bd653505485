package differential

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Step is one thing to do. What exactly follows from Seed and from what is there when it is done, so that steps make
// sense in whatever order and company.
type Step struct {
	Kind byte
	Seed uint32
}

// acts are what steps do, with their share of the 256 kinds.
var acts = []struct {
	name  string
	share int
	do    func(w *world)
}{
	{"client", 44, (*world).clientPacket},
	{"known client", 52, (*world).knownClient},
	{"real server", 40, (*world).reply},
	{"odd packet", 12, (*world).oddPacket},
	{"icmp", 16, (*world).icmpPacket},
	{"fragments", 5, (*world).fragments},
	{"server", 18, (*world).serverCommand},
	{"weight", 8, (*world).weightCommand},
	{"come back", 9, (*world).comeBack},
	{"service", 10, (*world).serviceCommand},
	{"other command", 4, (*world).otherCommand},
	{"setting", 5, (*world).changeSetting},
	{"short wait", 15, (*world).shortWait},
	{"wait until due", 6, (*world).waitUntilDue},
	{"long wait", 2, (*world).longWait},
	{"listing", 10, (*world).listing},
}

// actOf says what a kind does.
func actOf(kind byte) int {
	n := int(kind)
	for i, a := range acts {
		if n -= a.share; n < 0 {
			return i
		}
	}
	return len(acts) - 1
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// one reports whether a chance of one in n came true.
func (w *world) one(n int) bool { return w.rng.IntN(n) == 0 }

// plan is a service that may exist.
type plan struct {
	option, address string
	key             key
}

var plans = func() (list []plan) {
	for _, line := range []string{
		"-t 198.18.0.100:80", "-t 198.18.0.100:443", "-u 198.18.0.100:53", "-t 198.18.0.10:8080", "-t 198.18.0.10:0",
		"-u 198.18.0.10:0", "-f 5", "-t [2001:db8:c::100]:80", "-u [2001:db8:c::100]:53", "-t 198.18.1.7:80",
	} {
		option, address, _ := strings.Cut(line, " ")
		list = append(list, plan{option, address, parsed([]string{"", option, address}).service.key})
	}
	return list
}()

// targets are what clients ask for.
var targets = func() (list []flow) {
	for _, p := range plans {
		switch {
		case p.key.mark != 0:
			for _, text := range []string{"198.18.1.1:80", "198.18.1.2:80", "198.18.1.2:53", "198.18.1.7:443"} {
				to := netip.MustParseAddrPort(text)
				list = append(list, flow{protoTCP, netip.AddrPort{}, to}, flow{protoUDP, netip.AddrPort{}, to})
			}
		case p.key.port == 0:
			for _, port := range []uint16{21, 80, 5000} {
				list = append(list, flow{proto: p.key.proto, vip: netip.AddrPortFrom(p.key.addr, port)})
			}
		default:
			list = append(list, flow{proto: p.key.proto, vip: netip.AddrPortFrom(p.key.addr, p.key.port)})
		}
	}
	closed := netip.MustParseAddrPort("198.18.0.100:81")
	return append(list, flow{protoTCP, netip.AddrPort{}, closed}, flow{protoUDP, netip.AddrPort{}, closed})
}()

var (
	clients4 = []string{"192.0.2.1", "192.0.2.2", "192.0.2.77", "192.0.2.130", "203.0.113.9", "203.0.113.10", "10.0.0.21"}
	clients6 = []string{"2001:db8:77::1", "2001:db8:77::2", "2001:db8:78::1", "fd00::22"}
)

// anyFlow is a client's, new or not. A client's port belongs to one target: whom a real server's packet answers
// would be a matter of luck otherwise.
func (w *world) anyFlow() flow {
	n := w.rng.IntN(len(targets))
	f := targets[n]
	client := pick(w.rng, clients4...)
	if f.vip.Addr().Is6() {
		client = pick(w.rng, clients6...)
	}
	f.client = netip.AddrPortFrom(netip.MustParseAddr(client), uint16(2000+16*n+w.rng.IntN(4)))
	return f
}

// knownFlow is a session's, if there is any that fits.
func (w *world) knownFlow(fits func(*session) bool) *session {
	var list []*session
	for _, s := range w.model.sessions {
		if fits(s) {
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return nil
	}
	slices.SortFunc(list, func(a, b *session) int {
		return cmp.Or(a.client.Compare(b.client), a.vip.Compare(b.vip), cmp.Compare(a.proto, b.proto))
	})
	return pick(w.rng, list...)
}

// portOf is where packets from a arrive.
func portOf(a netip.Addr) int {
	if realOf(a) >= 0 {
		return portS0
	}
	return portC0
}

// packet makes one of a flow, in either direction.
func (w *world) packet(proto byte, from, to netip.AddrPort, flags byte) *ip {
	p := &ip{src: from.Addr(), dst: to.Addr(), ttl: 64, proto: proto, id: uint32(w.rng.IntN(1 << 16)), df: w.one(2)}
	if p.v6() {
		p.df, p.id, p.flow = false, 0, uint32(w.rng.IntN(1<<20))
	}
	n := w.rng.IntN(40)
	switch {
	case w.one(30):
		n = 1380 + w.rng.IntN(90)
	case w.one(30):
		n = w.rng.IntN(1400)
	}
	p.body = make([]byte, 8, 1600)
	if proto == protoTCP {
		p.body = make([]byte, 20, 1600)
		for i := 4; i < 12; i++ {
			p.body[i] = byte(w.rng.Uint32())
		}
		p.body[12], p.body[13], p.body[14] = 5<<4, flags, 0x20
	} else {
		put16(p.body[4:], 8+n)
	}
	put16(p.body, int(from.Port()))
	put16(p.body[2:], int(to.Port()))
	for range n {
		p.body = append(p.body, byte(w.rng.Uint32()))
	}
	p.setSum()
	if w.one(8) {
		w.twist(p)
	}
	return p
}

// twist makes a packet unusual.
func (w *world) twist(p *ip) {
	switch w.rng.IntN(6) {
	case 0:
		p.ttl = byte(1 + w.rng.IntN(3))
	case 1:
		p.tos = byte(w.rng.Uint32())
	case 2:
		if p.proto == protoUDP && !p.v6() {
			put16(p.body[6:], 0)
		}
	case 3:
		at := p.sumAt()
		put16(p.body[at:], get16(p.body[at:])^(1+w.rng.IntN(0xfffe)))
	case 4:
		p.ttl = byte(1 + w.rng.IntN(255))
	case 5:
		p.df = !p.v6() && !p.df
	}
}

var clientFlags = []byte{
	syn, syn, syn, syn, syn, ack, ack, fin | ack, rst, syn | ack, rst | ack, rst | syn, fin, 0, syn | fin, 0x18, 0xff,
	0xc2,
}

func (w *world) clientPacket() {
	f := w.anyFlow()
	w.inject(portOf(f.client.Addr()), w.packet(f.proto, f.client, f.vip, pick(w.rng, clientFlags...)))
}

func (w *world) knownClient() {
	s := w.knownFlow(func(*session) bool { return true })
	if s == nil {
		w.clientPacket()
		return
	}
	flags := pick[byte](w.rng, ack, ack, ack, ack, fin|ack, fin|ack, syn, syn, rst, syn|ack, 0)
	w.inject(portOf(s.client.Addr()), w.packet(s.proto, s.client, s.vip, flags))
}

func (w *world) reply() {
	s := w.knownFlow(func(s *session) bool { return s.method == "-m" })
	if s == nil || s.to.Addr() == s.client.Addr() || w.one(12) {
		w.strangersReply()
		return
	}
	flags := pick[byte](w.rng, syn|ack, syn|ack, ack, ack, ack, fin|ack, fin|ack, rst, 0)
	w.inject(portS0, w.packet(s.proto, s.to, s.client, flags))
}

// strangersReply is of a real server that answers no NAT session.
func (w *world) strangersReply() {
	f := w.anyFlow()
	from := netip.AddrPortFrom(realAddr(w.rng.IntN(reals), f.vip.Addr().Is6()), f.vip.Port())
	var known []*dest
	for _, s := range w.model.services {
		for _, d := range s.list {
			if d.addr.Is6() == f.vip.Addr().Is6() && d.method == "-m" && d.port != 0 {
				known = append(known, d)
			}
		}
	}
	if len(known) > 0 && w.one(2) {
		from = pick(w.rng, known...).addrPort()
	}
	if w.one(6) && !f.vip.Addr().Is6() {
		from = f.vip // a DR real server whose answer came our way
	}
	if from.Addr() == f.client.Addr() {
		return
	}
	w.inject(portS0, w.packet(f.proto, from, f.client, pick[byte](w.rng, ack, syn|ack, rst, fin|ack)))
}

// oddPacket is what no host sends.
func (w *world) oddPacket() {
	f := w.anyFlow()
	if s := w.knownFlow(func(*session) bool { return true }); s != nil && w.one(2) {
		f = s.flow
	}
	p := w.packet(f.proto, f.client, f.vip, pick(w.rng, clientFlags...))
	b := p.encode()
	port := portOf(p.src)
	switch w.rng.IntN(8) {
	case 0:
		b = b[:w.rng.IntN(len(b))]
	case 1:
		if p.v6() {
			b[4] ^= 0x80
		} else {
			b[10+w.rng.IntN(2)] ^= byte(1 + w.rng.IntN(254))
		}
	case 2:
		b[0] ^= byte(1+w.rng.IntN(15)) << 4
	case 3:
		if !p.v6() {
			b[0] = b[0]&0xf0 | byte(w.rng.IntN(5))
		}
	case 4:
		p.body = p.body[:w.rng.IntN(8)]
		b = p.encode()
	case 5:
		b = append(b, make([]byte, w.rng.IntN(60))...) // padding
	case 6:
		p.proto = pick[byte](w.rng, 2, 88, 103, 253)
		b = p.encode()
		if isLocal(p.dst) {
			return // answered by the host's stack, which is nothing of IPVS
		}
	case 7:
		w.injectBytes(port, [6]byte{2, 9, 9, 9, 9, 9}, b)
		return
	}
	w.injectBytes(port, ownMACs[port], b)
}

func (w *world) fragments() {
	f := w.anyFlow()
	if s := w.knownFlow(func(s *session) bool { return true }); s != nil && w.one(2) {
		f = s.flow
	}
	p := w.packet(f.proto, f.client, f.vip, pick(w.rng, clientFlags...))
	if s := w.model.sessions[f]; s != nil && s.method == "-m" && w.one(3) {
		p = w.packet(f.proto, s.to, s.client, pick[byte](w.rng, ack, syn|ack, fin|ack))
	}
	if p.src == p.dst {
		return
	}
	for n := 40 + w.rng.IntN(2600); n > 0; n-- {
		p.body = append(p.body, byte(n))
	}
	if p.proto == protoUDP {
		put16(p.body[4:], len(p.body))
	}
	p.setSum()
	p.id = uint32(w.rng.Uint32())
	if !p.v6() {
		p.id &= 0xffff
	}
	list := p.cut(pick(w.rng, 1500, 1500, 1280, 600+w.rng.IntN(300)))
	if len(list) == 1 {
		return
	}
	if w.one(3) {
		slices.Reverse(list)
	}
	if w.one(12) {
		list = list[1:] // one is lost
	}
	for _, part := range list {
		w.inject(portOf(p.src), part)
	}
}

func (w *world) icmpPacket() {
	s := w.knownFlow(func(*session) bool { return true })
	if s == nil || w.one(8) {
		f := w.anyFlow()
		w.echo(f)
		return
	}
	// The packet that the error is about, as its sender saw it.
	from, to := s.vip, s.client
	var p ip
	switch w.rng.IntN(4) {
	case 0, 1: // what the client got
		p.src, p.dst = s.client.Addr(), s.vip.Addr()
		if w.one(3) {
			p.src = netip.MustParseAddr(map[bool]string{false: "192.0.2.200", true: "2001:db8:77::200"}[s.vip.Addr().Is6()])
		}
	case 2: // what the real server got
		from, to = s.client, s.to
		p.src, p.dst = s.to.Addr(), s.client.Addr()
		if s.method == "-i" || s.method == "-g" {
			to = s.vip
		}
		if p.src.Is6() != p.dst.Is6() {
			return
		}
	case 3: // of nobody we know
		from, to = netip.AddrPortFrom(s.vip.Addr(), 9), s.client
		p.src, p.dst = s.client.Addr(), s.vip.Addr()
		if f := w.anyFlow(); w.one(2) && f.proto == s.proto && f.client.Addr().Is6() == p.src.Is6() {
			from, to, p.src, p.dst = f.vip, f.client, f.client.Addr(), f.vip.Addr()
		}
	}
	quoted := w.packet(s.proto, from, to, ack).encode()
	least := 28
	if p.src.Is6() {
		least = 48
	}
	quoted = quoted[:min(len(quoted), least+w.rng.IntN(100))]
	kind, code := pick[byte](w.rng, 3, 3, 11, 4), byte(w.rng.IntN(5))
	p.proto, p.ttl = protoICMP, pick[byte](w.rng, 64, 64, 64, 1, 2)
	if p.src.Is6() {
		kind, p.proto = pick[byte](w.rng, 1, 2, 3, 4), protoICMP6
	}
	p.body = append([]byte{kind, code, 0, 0, 0, 0, 5, byte(w.rng.IntN(256))}, quoted...)
	p.setSum()
	if p.src == p.dst {
		return
	}
	if w.one(12) && !p.v6() { // of IPv6 the kernel mends what was damaged, and we do not
		p.body[3]++
	}
	w.inject(portOf(p.src), &p)
}

func (w *world) echo(f flow) {
	p := &ip{src: f.client.Addr(), dst: f.vip.Addr(), ttl: 64, proto: protoICMP, id: uint32(w.rng.IntN(1 << 16))}
	p.body = []byte{pick[byte](w.rng, 8, 8, 0, 13), 0, 0, 0, 1, 2, 3, 4, 5}
	if p.v6() {
		p.proto, p.id, p.body[0] = protoICMP6, 0, pick[byte](w.rng, 128, 128, 129)
	}
	p.setSum()
	if w.one(10) {
		p.body[8]++
	}
	if w.one(4) {
		p.dst = realAddr(w.rng.IntN(reals), p.v6())
		p.setSum()
	}
	if p.src == p.dst {
		return
	}
	w.inject(portOf(p.src), p)
}

func (w *world) shortWait() { w.wait(time.Duration(w.rng.IntN(4000)) * time.Millisecond) }

func (w *world) longWait() { w.wait(time.Duration(w.rng.IntN(400)) * time.Second) }

// waitUntilDue goes to just before, to, or just behind the moment when something happens of itself.
func (w *world) waitUntilDue() {
	at := w.model.due() + int64(w.rng.IntN(3)) - 1
	if d := time.Duration(at)*tick - w.director.Clock(); d > 0 && d < time.Hour {
		w.wait(d)
	}
}

func (w *world) listing() {
	w.show(strings.Fields(pick(w.rng, "-Ln", "-Ln --stats", "-Ln --rate", "-Ln --thresholds", "-Ln --persistent-conn",
		"-Ln --tun-info", "-Ln --nosort", "-Sn", "-Lcn", "-Lcn", "-L --timeout"))...)
}
