package gossip

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A stream begins with a hello of each side:
//
//	0 "ULVS" | 4 version | 5 purpose | 6 key id u16 | 8 node u64 | 16 epoch | 32 random
//
// Then come records, each sealed: length u16 (authenticated) | type u8, data | tag. The keys, one per direction, follow
// from the cluster's and all of both hellos; the counter of the records is the nonce. Each side's first record is
// empty: it proves that it has the key, now, which is when the other side believes its epoch. A stream ends with
// a record that says so: one that is cut off is noticed.
const (
	helloSize  = 64
	recordMax  = 32 << 10 // data of a record
	recordOver = 2 + 1 + sealTag

	recordData  = 0
	recordProof = 1
	recordEnd   = 2

	purposeMemberlist = 0
	purposeChallenge  = 1 // only to learn the other's epoch

	handshakeTimeout = 2 * time.Second
)

var helloMagic = [4]byte{'U', 'L', 'V', 'S'}

type hello struct {
	purpose uint8
	key     uint16
	node    NodeID
	epoch   Epoch
	random  [32]byte
}

func (h *hello) bytes() (b [helloSize]byte) {
	copy(b[:], helloMagic[:])
	b[4], b[5] = wireVersion, h.purpose
	binary.BigEndian.PutUint16(b[6:], h.key)
	binary.BigEndian.PutUint64(b[8:], uint64(h.node))
	copy(b[16:], h.epoch[:])
	copy(b[32:], h.random[:])
	return b
}

func parseHello(b *[helloSize]byte) (h hello, err error) {
	if [4]byte(b[:4]) != helloMagic || b[4] != wireVersion || b[5] > purposeChallenge {
		return h, errReject(RejectHandshake)
	}
	h.purpose, h.key, h.node = b[5], binary.BigEndian.Uint16(b[6:]), NodeID(binary.BigEndian.Uint64(b[8:]))
	h.epoch, h.random = Epoch(b[16:32]), [32]byte(b[32:64])
	return h, nil
}

// identity is what a side of a stream says of itself.
type identity struct {
	keys  Keys
	node  NodeID
	epoch Epoch
}

func (i *identity) hello(purpose uint8, key uint16) hello {
	h := hello{purpose: purpose, key: key, node: i.node, epoch: i.epoch}
	_, _ = rand.Read(h.random[:]) // never fails
	return h
}

// shake authenticates both ends of c and returns the sealed stream and the other's hello. client is the end that
// dialled. The deadline of c is the caller's.
func (i *identity) shake(c net.Conn, client bool, purpose uint8) (*stream, hello, error) {
	var mine, theirs [helloSize]byte
	key := &i.keys.keys[0]
	if client {
		h := i.hello(purpose, key.id)
		mine = h.bytes()
		if _, err := c.Write(mine[:]); err != nil {
			return nil, hello{}, err
		}
	}
	if _, err := io.ReadFull(c, theirs[:]); err != nil {
		return nil, hello{}, errReject(RejectHandshake)
	}
	peer, err := parseHello(&theirs)
	if err != nil {
		return nil, hello{}, err
	}
	if key = i.keys.find(peer.key); key == nil {
		return nil, hello{}, errReject(RejectKey)
	}
	if peer.node == i.node {
		return nil, hello{}, errReject(RejectOwn)
	}
	if !client {
		h := i.hello(peer.purpose, peer.key)
		mine = h.bytes()
		if _, err := c.Write(mine[:]); err != nil {
			return nil, hello{}, err
		}
	}
	s := newStream(c, key, client, mine, theirs)
	return s, peer, s.prove()
}

func newStream(c net.Conn, k *clusterKey, client bool, mine, theirs [helloSize]byte) *stream {
	first, second := mine, theirs
	if !client {
		first, second = theirs, mine
	}
	raw := k.derive(append(first[:], second[:]...), "ulvs stream", 2*keySize)
	s := &stream{Conn: c, out: newAEAD(raw[:keySize]), in: newAEAD(raw[keySize:])}
	s.buf, s.wbuf = make([]byte, recordMax+recordOver), make([]byte, 0, recordMax+recordOver)
	if !client {
		s.in, s.out = s.out, s.in
	}
	return s
}

// stream is a net.Conn whose data travels in sealed records. Reads are for one goroutine, writes for one.
type stream struct {
	net.Conn
	in, out   cipher.AEAD
	nIn, nOut uint64
	left      []byte // of the record last read
	buf       []byte // for reading
	wbuf      []byte // for writing
	writing   sync.Mutex
	ended     bool
	closed    bool
	broken    error
	reject    func(Reject) // counts; may be nil
}

func nonceOf(counter uint64) (n [12]byte) {
	binary.BigEndian.PutUint64(n[4:], counter)
	return n
}

// prove shows that this side has the key, and makes sure that the other one has.
func (s *stream) prove() error {
	if err := s.record(recordProof, nil); err != nil {
		return err
	}
	kind, data, err := s.next()
	if err != nil || kind != recordProof || len(data) != 0 {
		return errReject(RejectForged)
	}
	return nil
}

func (s *stream) record(kind uint8, data []byte) error {
	n := 1 + len(data) + sealTag
	s.wbuf = append(s.wbuf[:0], byte(n>>8), byte(n), kind)
	s.wbuf = append(s.wbuf, data...)
	s.nOut++
	nonce := nonceOf(s.nOut)
	s.out.Seal(s.wbuf[2:2], nonce[:], s.wbuf[2:], s.wbuf[:2])
	_, err := s.Conn.Write(s.wbuf[:2+n])
	return err
}

// Write implements net.Conn.
func (s *stream) Write(b []byte) (n int, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	for len(b) > 0 {
		part := b[:min(len(b), recordMax)]
		if err := s.record(recordData, part); err != nil {
			return n, err
		}
		n += len(part)
		b = b[len(part):]
	}
	return n, nil
}

// next reads one record; its data is good until the next call.
func (s *stream) next() (kind uint8, data []byte, err error) {
	head := s.buf[:2]
	if _, err := io.ReadFull(s.Conn, head); err != nil {
		return 0, nil, cut(err)
	}
	n := int(binary.BigEndian.Uint16(head))
	if n < 1+sealTag || n > recordMax+1+sealTag {
		return 0, nil, errReject(RejectStream)
	}
	body := s.buf[2 : 2+n]
	if _, err := io.ReadFull(s.Conn, body); err != nil {
		return 0, nil, cut(err)
	}
	s.nIn++
	nonce := nonceOf(s.nIn)
	plain, err := s.in.Open(body[:0], nonce[:], body, head)
	if err != nil {
		return 0, nil, errReject(RejectStream)
	}
	return plain[0], plain[1:], nil
}

// cut makes an end of the connection that nobody announced an error.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Read implements net.Conn. io.EOF is an end that the other side announced.
func (s *stream) Read(b []byte) (int, error) {
	for len(s.left) == 0 {
		if s.ended {
			return 0, io.EOF
		}
		if s.broken != nil {
			return 0, s.broken
		}
		kind, data, err := s.next()
		switch {
		case err == nil && kind == recordData:
			s.left = data
		case err == nil && kind == recordEnd:
			s.ended = true
		case err == nil:
			err = errReject(RejectStream)
			fallthrough
		default:
			s.fail(err)
		}
	}
	n := copy(b, s.left)
	s.left = s.left[n:]
	return n, nil
}

// fail remembers what broke the stream, but for a deadline, after which reading goes on at the same record only
// if nothing of it was read; memberlist gives such a connection up anyway.
func (s *stream) fail(err error) {
	s.broken = fmt.Errorf("gossip: stream: %w", err)
	var r errReject
	if errors.As(err, &r) && s.reject != nil {
		s.reject(Reject(r))
	}
}

// Close implements net.Conn: it announces the end.
func (s *stream) Close() error {
	s.writing.Lock()
	if !s.closed {
		s.closed = true
		_ = s.Conn.SetWriteDeadline(time.Now().Add(handshakeTimeout))
		_ = s.record(recordEnd, nil) // the other side may have gone before
	}
	s.writing.Unlock()
	return s.Conn.Close()
}
