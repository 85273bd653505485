package pipeline

import (
	"encoding/binary"
	"time"

	"ulvs/dataplane"
	"ulvs/lvs"
	"ulvs/packet"
)

// side is what the queue's next frames are.
type side uint8

const (
	none   side = iota // nothing arrives
	syn                // the client's first
	synAck             // the real server's answer, NAT only
	ack                // the client's
	hot                // acks of random resident sessions; NAT: every other one from the real server
)

// numFrames are cycled through, frameStep bytes apart like a UMEM's chunks.
const (
	numFrames = 1024
	frameStep = 2048
	headroom  = 256
)

// queue is a dataplane.Queue that makes frames. What is sent is forgotten.
type queue struct {
	id      int
	nat, v6 bool
	frames  [numFrames]packet.Frame
	at      int
	side    side
	next    uint64 // session, of sides that go through them in order
	last    uint64
	random  uint64
	hot     uint64 // sessions to draw from
	many    uint64 // services
	request template
	reply   template
	scratch [dataplane.BatchSize]packet.Frame
}

// template is a frame without its client and its VIP or server.
type template struct {
	bytes [frameLen6]byte
	len   int
	sum   uint32 // of an IPv4 header without them
}

const (
	frameLen4 = 64 // the smallest frame, without its FCS
	frameLen6 = 74 // Ethernet, IPv6, TCP
	flagsAt4  = packet.EthernetLen + packet.IPv4Len + 13
	flagsAt6  = packet.EthernetLen + packet.IPv6Len + 13
)

func newQueue(o Options, id int) *queue {
	q := &queue{
		id: id, nat: o.Method == lvs.MethodNAT, v6: o.V6, hot: uint64(o.Hot), many: uint64(o.Services),
		random: 88172645463325252 + uint64(id)*0x9e3779b97f4a7c15,
	}
	memory := make([]byte, numFrames*frameStep)
	for i := range q.frames {
		q.frames[i] = packet.Frame{Buf: memory[i*frameStep : (i+1)*frameStep : (i+1)*frameStep], Off: headroom}
	}
	q.request, q.reply = newTemplate(o.V6, portMAC(0)), newTemplate(o.V6, portMAC(1))
	return q
}

// newTemplate is an ACK to one of our ports.
func newTemplate(v6 bool, to packet.MAC) template {
	t := template{len: frameLen4}
	b := t.bytes[:]
	copy(b, to[:])
	copy(b[6:], []byte{2, 0, 0, 0, 9, 9})
	l4 := packet.EthernetLen + packet.IPv4Len
	if v6 {
		t.len, l4 = frameLen6, packet.EthernetLen+packet.IPv6Len
		binary.BigEndian.PutUint16(b[12:], packet.EtherTypeIPv6)
		b[14], b[19], b[20], b[21] = 0x60, packet.TCPLen, packet.ProtoTCP, 64
	} else {
		binary.BigEndian.PutUint16(b[12:], packet.EtherTypeIPv4)
		b[14], b[17], b[22], b[23] = 0x45, frameLen4-packet.EthernetLen, 64, packet.ProtoTCP
		for at := 14; at < 34; at += 2 {
			t.sum += uint32(binary.BigEndian.Uint16(b[at:]))
		}
	}
	b[l4+12] = 5 << 4
	return t
}

// play makes the queue's next frames those of sessions first to last-1, in order.
func (q *queue) play(s side, first, last uint64) { q.side, q.next, q.last = s, first, last }

// drawHot makes the next frames those of random sessions, without end.
func (q *queue) drawHot() { q.side = hot }

// Recv lends frames.
func (q *queue) Recv(frames []packet.Frame) int {
	n := len(frames)
	if q.side != hot {
		n = min(n, int(q.last-q.next))
	}
	for i := range frames[:n] {
		f := &frames[i]
		*f = q.frames[q.at%numFrames]
		q.at++
		s, session := q.side, q.next
		if s == hot {
			session = q.draw()
			s = ack
			if q.nat && i&1 == 1 {
				s = hot // the real server's
			}
		} else {
			q.next++
		}
		q.fill(f, s, session)
	}
	return n
}

// draw returns a random session.
func (q *queue) draw() uint64 {
	q.random ^= q.random << 13
	q.random ^= q.random >> 7
	q.random ^= q.random << 17
	return (q.random >> 32) * q.hot >> 32
}

var sideFlags = [...]byte{
	syn: packet.TCPSyn, synAck: packet.TCPSyn | packet.TCPAck, ack: packet.TCPAck, hot: packet.TCPAck,
}

// fill makes a frame of a session.
func (q *queue) fill(f *packet.Frame, s side, session uint64) {
	t, service := &q.request, session
	reply := s == synAck || s == hot
	if reply {
		t = &q.reply
		f.Port = 1
	}
	if q.many > 1 {
		service %= q.many
	} else {
		service = 0
	}
	f.Len = uint16(t.len)
	if q.v6 {
		q.fill6(f.Buf[headroom:headroom+frameLen6:headroom+frameLen6], t, reply, session, service)
		f.Buf[headroom+flagsAt6] = sideFlags[s]
		return
	}
	q.fill4(f.Buf[headroom:headroom+frameLen4:headroom+frameLen4], t, reply, session, service)
	f.Buf[headroom+flagsAt4] = sideFlags[s]
}

// Of a session: 64 client ports to an address.
func clientOf(session uint64) (addr uint32, port uint16) {
	return uint32(session>>6) + 11<<24, uint16(session&63) + 1024
}

func (q *queue) fill4(b []byte, t *template, reply bool, session, service uint64) {
	*(*[frameLen4]byte)(b) = *(*[frameLen4]byte)(t.bytes[:])
	addr, port := clientOf(session)
	far := uint32(service) + vip4
	if reply {
		far = uint32(service) + real4
	}
	sum := t.sum + addr>>16 + addr&0xffff + far>>16 + far&0xffff
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(b[24:], ^uint16(sum>>16+sum))
	if reply {
		binary.BigEndian.PutUint64(b[26:], uint64(far)<<32|uint64(addr))
		binary.BigEndian.PutUint32(b[34:], servicePort<<16|uint32(port))
		return
	}
	binary.BigEndian.PutUint64(b[26:], uint64(addr)<<32|uint64(far))
	binary.BigEndian.PutUint32(b[34:], uint32(port)<<16|servicePort)
}

func (q *queue) fill6(b []byte, t *template, reply bool, session, service uint64) {
	*(*[frameLen6]byte)(b) = t.bytes
	addr, port := clientOf(session)
	client, far := b[22:38], b[38:54]
	ports, prefix := uint32(port)<<16|servicePort, uint64(vip6)
	if reply {
		client, far, ports, prefix = far, client, servicePort<<16|uint32(port), real6
	}
	binary.BigEndian.PutUint64(client, client6)
	binary.BigEndian.PutUint64(client[8:], uint64(addr))
	binary.BigEndian.PutUint64(far, prefix)
	binary.BigEndian.PutUint64(far[8:], service+1)
	binary.BigEndian.PutUint32(b[54:], ports)
}

// Send takes frames.
func (q *queue) Send(frames []packet.Frame) int { return len(frames) }

// Release takes frames.
func (q *queue) Release([]packet.Frame) {}

// Alloc has none: nothing answers by itself here.
func (q *queue) Alloc([]packet.Frame) int { return 0 }

// Wait returns at once: there is always another frame.
func (q *queue) Wait(time.Duration) error { return nil }
