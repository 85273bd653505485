package ha

import (
	"encoding/binary"
	"net/netip"
	"time"

	"ulvs/packet"
)

// Proto is VRRP's IP protocol number.
const Proto = 112

// Groups that adverts are sent to (RFC 9568 sections 5.1.1.2 and 5.1.2.2).
var (
	GroupV4 = netip.AddrFrom4([4]byte{224, 0, 0, 18})
	GroupV6 = netip.MustParseAddr("ff02::12")
)

// Limits of an advert.
const (
	headerLen = 8
	authLen   = 8 // after the addresses in version 2, whatever the type

	// MaxAddrs is what the count of an advert can say.
	MaxAddrs = 255
	// MaxAdvertLen is the longest advert in bytes, IP header excluded.
	MaxAdvertLen = headerLen + MaxAddrs*16 + authLen
	// MaxIntervalV3 is what twelve bits of centiseconds can say.
	MaxIntervalV3 = 4095 * centisecond
	// MaxIntervalV2 is what eight bits of seconds can say.
	MaxIntervalV2 = 255 * time.Second
)

const centisecond = 10 * time.Millisecond

// AuthType is how a version 2 advert is authenticated (RFC 2338 section 5.3.6; RFC 3768 dropped it).
type AuthType uint8

// The types. AH was never common and is only recognised.
const (
	AuthNone AuthType = iota
	AuthPass          // a password in the clear: it tells apart, it does not protect
	AuthAH
)

// Advert is a VRRP advertisement.
type Advert struct {
	Version  uint8 // 2 or 3
	VRID     uint8
	Priority uint8         // 0: the master gives up; 255: it owns the addresses
	Interval time.Duration // between adverts: whole seconds in version 2, centiseconds in version 3
	Auth     AuthType      // version 2
	Password [8]byte       // version 2, zero padded
	Addrs    []netip.Addr  // the VIPs, all of one family
}

// Reject is why an advert was not taken. The zero value says that it was.
type Reject uint8

// The reasons, in the order in which they are looked for.
const (
	RejectNone      Reject = iota
	RejectShort            // fewer bytes than its header and addresses need
	RejectTTL              // TTL or hop limit is not 255: it came through a router
	RejectVersion          // neither 2 nor 3, or not the instance's
	RejectType             // not an advertisement
	RejectVRID             // no instance here has that id; or it is 0
	RejectFamily           // version 2 over IPv6, or addresses of another family
	RejectChecksum         // damaged
	RejectAuth             // another authentication type, or another password
	RejectInterval         // version 2: another interval than ours; both would become master
	RejectSource           // unicast, and not from a configured peer
	RejectOwn              // our own advert came back
	RejectUnclaimed        // claims are demanded, and the sender's director has made none

	NumRejects
)

var rejectNames = [NumRejects]string{
	"none", "short", "ttl", "version", "type", "vrid", "family", "checksum", "auth", "interval", "source", "own",
	"unclaimed",
}

// String returns the counter's name.
func (r Reject) String() string {
	if r < NumRejects {
		return rejectNames[r]
	}
	return "unknown"
}

// Arrival is what the IP header said about an advert.
type Arrival struct {
	Src, Dst netip.Addr
	TTL      uint8 // or hop limit
}

// Len returns how many bytes the advert takes.
func (a *Advert) Len() int {
	n := headerLen
	for _, addr := range a.Addrs {
		n += addr.BitLen() / 8
	}
	if a.Version == 2 {
		n += authLen
	}
	return n
}

// Append appends the advert to b as it goes from src to dst, checksum included. Interval and number of addresses
// must be within the limits above; both are cut to them.
func (a *Advert) Append(b []byte, src, dst netip.Addr) []byte {
	at := len(b)
	addrs := a.Addrs[:min(len(a.Addrs), MaxAddrs)]
	b = append(b, a.Version<<4|1, a.VRID, a.Priority, uint8(len(addrs)))
	if a.Version == 2 {
		seconds := min(a.Interval, MaxIntervalV2) / time.Second
		b = append(b, uint8(a.Auth), uint8(seconds))
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(min(a.Interval, MaxIntervalV3)/centisecond))
	}
	b = append(b, 0, 0)
	for _, addr := range addrs {
		b = append(b, addr.AsSlice()...)
	}
	if a.Version == 2 {
		b = append(b, a.Password[:]...)
	}
	adv := b[at:]
	sum := packet.Fold(packet.Sum(adv, pseudo(a.Version, src, dst, len(adv))))
	binary.LittleEndian.PutUint16(adv[6:], uint16(sum)) // packet sums little-endian loads
	return b
}

// Decode reads an advert of len(b) bytes, the IP header excluded. Bytes behind it are allowed: a short Ethernet
// frame is padded. a.Addrs is reused. Of a version 3 advert over IPv4 both checksums are taken, with the pseudo
// header (RFC 5798, keepalived) and without (RFC 9568).
func (a *Advert) Decode(b []byte, at Arrival) Reject {
	if len(b) < headerLen {
		return RejectShort
	}
	a.Version, a.VRID, a.Priority = b[0]>>4, b[1], b[2]
	v6 := at.Src.Is6()
	switch {
	case a.Version != 2 && a.Version != 3:
		return RejectVersion
	case b[0]&0xf != 1:
		return RejectType
	case a.VRID == 0:
		return RejectVRID
	case a.Version == 2 && v6:
		return RejectFamily
	}
	size := addrSize(v6)
	n := headerLen + int(b[3])*size
	if a.Version == 2 {
		n += authLen
	}
	if len(b) < n {
		return RejectShort
	}
	b = b[:n]
	if !checksumOK(b, a.Version, at) {
		return RejectChecksum
	}
	a.fill(b, size)
	return RejectNone
}

func addrSize(v6 bool) int {
	if v6 {
		return 16
	}
	return 4
}

// fill reads what is behind the first four bytes; b is exactly as long as the advert.
func (a *Advert) fill(b []byte, size int) {
	a.Auth, a.Password = AuthNone, [8]byte{}
	if a.Version == 2 {
		a.Auth, a.Interval = AuthType(b[4]), time.Duration(b[5])*time.Second
		copy(a.Password[:], b[len(b)-authLen:])
	} else {
		a.Interval = time.Duration(binary.BigEndian.Uint16(b[4:])&0xfff) * centisecond
	}
	a.Addrs = a.Addrs[:0]
	for i := range int(b[3]) {
		addr, _ := netip.AddrFromSlice(b[headerLen+i*size:][:size])
		a.Addrs = append(a.Addrs, addr)
	}
}

func checksumOK(b []byte, version uint8, at Arrival) bool {
	if packet.Fold(packet.Sum(b, pseudo(version, at.Src, at.Dst, len(b)))) == 0 {
		return true
	}
	return version == 3 && at.Src.Is4() && packet.Fold(packet.Sum(b, 0)) == 0
}

// pseudo returns the sum of the pseudo header: none in version 2 (RFC 3768 section 5.3.8).
func pseudo(version uint8, src, dst netip.Addr, length int) uint32 {
	switch {
	case version == 2:
		return 0
	case src.Is4() && dst.Is4():
		return packet.PseudoV4(uint64(packet.WireV4(src))|uint64(packet.WireV4(dst))<<32, Proto, length)
	case src.Is6() && dst.Is6():
		s, d := packet.WireV6(src), packet.WireV6(dst)
		return packet.PseudoV6(&[4]uint64{s[0], s[1], d[0], d[1]}, Proto, length)
	}
	return 0
}
