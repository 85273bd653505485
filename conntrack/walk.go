package conntrack

import (
	"encoding/binary"
	"net/netip"
)

// Info is a conn decoded for people: ports in host order, addresses unmapped.
type Info struct {
	Client, VIP, Dest netip.AddrPort
	Proto             uint8 // IP protocol
	State             State
	Flags             Flags
	DestID, ServiceID uint32 // lvs ids
	Aux               uint32
	Seen, Timeout     Tick
	Control           Ref // its template, 0 for none
	Controlled        int // conns that hang on this template
}

// Expires returns the ticks left at now, 0 when the conn's time is over.
func (i *Info) Expires(now Tick) Tick {
	d := uint64(i.Seen) + uint64(i.Timeout)
	if d <= uint64(now) {
		return 0
	}
	return Tick(d - uint64(now))
}

// walkChunk is how many entries are visited before the walk lets removed ones go.
const walkChunk = 256

// Walk calls fn for every conn that lives throughout the walk, and perhaps for ones that come
// or go meanwhile, until fn returns false. Workers go on. r and e are good until
// fn returns. One Walk runs at a time; fn must not Walk or Close.
func (t *Table) Walk(fn func(r Ref, e *Entry, i Info) bool) {
	t.walking.Lock()
	defer t.walking.Unlock()
	if t.closed {
		return
	}
	self := len(t.epochs.readers) - 1
	defer t.epochs.readers[self].local.Store(offline)
	if t.v4.walk(func() { t.epochs.enter(self) }, fn) {
		t.v6.walk(func() { t.epochs.enter(self) }, fn)
	}
}

// walk visits one part; enter marks that nothing from before is held. False: fn had enough.
func (p *part) walk(enter func(), fn func(Ref, *Entry, Info) bool) bool {
	for i := uint32(1); i < p.high.Load(); i++ {
		if i%walkChunk == 1 {
			enter()
		}
		e := p.entry(i)
		info, ok := e.info()
		if ok && !fn(p.ref(uint64(i), matchForward), e, info) {
			return false
		}
	}
	return true
}

// info decodes a live entry; false if it is not one, or ceased to be one meanwhile.
func (e *Entry) info() (Info, bool) {
	m := e.load(3)
	if m&lifeMask != lifeLive {
		return Info{}, false
	}
	timer := e.load(4)
	i := Info{
		Proto: e.Proto(), State: State(m & stateMask >> stateShift), Flags: Flags(m >> flagShift),
		DestID: e.Dest(), ServiceID: e.Service(), Aux: e.Aux(),
		Seen: Tick(timer), Timeout: Tick(timer >> 32), Control: e.Control(),
	}
	if i.Flags&FlagTemplate != 0 {
		i.Controlled = e.Controlled()
	}
	client, vip, dest := e.addrs()
	i.Client = netip.AddrPortFrom(client, swap16(e.ClientPort()))
	i.VIP = netip.AddrPortFrom(vip, swap16(e.VIPPort()))
	i.Dest = netip.AddrPortFrom(dest, swap16(e.DestPort()))
	after := e.load(3)
	return i, after&lifeMask == lifeLive && after>>genShift == m>>genShift
}

func (e *Entry) addrs() (client, vip, dest netip.Addr) {
	if e.V6() {
		return addr6(e.Client6()), addr6(e.VIP6()), addr6(e.DestAddr6())
	}
	return addr4(e.Client4()), addr4(e.VIP4()), addr4(e.DestAddr4())
}

func addr4(a uint32) netip.Addr {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], a)
	return netip.AddrFrom4(b)
}

func addr6(a [2]uint64) netip.Addr {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], a[0])
	binary.LittleEndian.PutUint64(b[8:], a[1])
	return netip.AddrFrom16(b)
}

func swap16(v uint16) uint16 { return v<<8 | v>>8 }
