package gossip

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
)

// A datagram on the wire, all of it big-endian:
//
//	 0 kind (lane or memberlist) | 1 version | 2 key id u16 | 4 sender u64 | 12 epoch tag u32 | 16 counter u64
//	24 ciphertext | tag 16
//
// The first 24 bytes are authenticated with it; the last 12 of them are the nonce. The key follows from the
// cluster's, the sender and its epoch (random
// at every start), so that the counter may begin at 1 each time and never repeats.
const (
	kindMemberlist = 0xf0
	kindLane       = 0xf1

	wireVersion = 1

	sealHeader   = 24
	sealTag      = 16
	sealOverhead = sealHeader + sealTag

	// maxDatagram fits Ethernet's MTU of 1500 behind IPv4 and UDP headers.
	maxDatagram = 1472
	// maxPayload is what a datagram carries for us.
	maxPayload = maxDatagram - sealOverhead
)

// NodeID names a director: 64 bits of its name's hash.
type NodeID uint64

// IDOf returns the id of the director with a name.
func IDOf(name string) NodeID {
	sum := sha256.Sum256([]byte("ulvs node " + name))
	return NodeID(binary.BigEndian.Uint64(sum[:]))
}

// Epoch is random at each start of a director.
type Epoch [16]byte

// NewEpoch draws one.
func NewEpoch() (e Epoch) {
	_, _ = rand.Read(e[:]) // never fails
	return e
}

// Tag is what a datagram shows of the epoch.
func (e Epoch) Tag() uint32 { return binary.BigEndian.Uint32(e[:]) }

// Reject says why something from the network was refused.
type Reject uint8

// Reasons; each has a counter, see Rejects.
const (
	RejectShort          Reject = iota // not even a header, or longer than any of ours
	RejectFormat                       // another kind or version
	RejectKey                          // sealed with a key that is not ours: a foreign cluster, or an old key
	RejectOwn                          // our own datagram came back
	RejectEpoch                        // of a director or a start of it that has not proved itself yet
	RejectForged                       // the tag is wrong
	RejectReplay                       // was here before, or is older than the window
	RejectHandshake                    // a stream that did not begin as ours do, or not in time
	RejectStream                       // a record of a stream is forged, torn or too long
	RejectBusy                         // too many streams at once
	RejectRecord                       // well sealed, but not a session: another version of ulvs
	RejectMemberlistFull               // memberlist does not keep up
	RejectLaneFull                     // the session lane does not keep up; repaired

	// NumRejects is the number of reasons.
	NumRejects = int(RejectLaneFull) + 1
)

var rejectNames = [NumRejects]string{
	"short", "format", "unknown_key", "own", "unknown_epoch", "forged", "replay", "handshake", "stream", "busy",
	"bad_record", "memberlist_full", "lane_full",
}

// String returns the reason's name.
func (r Reject) String() string { return rejectNames[r] }

// Rejects counts by reason.
type Rejects [NumRejects]atomic.Uint64

func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err == nil {
		var aead cipher.AEAD
		if aead, err = cipher.NewGCM(block); err == nil {
			return aead
		}
	}
	panic("gossip: " + err.Error()) // the key is 32 bytes
}

// datagramAEAD is the cipher of all datagrams that a director sends during one epoch.
func datagramAEAD(k *clusterKey, id NodeID, e Epoch) cipher.AEAD {
	var salt [8]byte
	binary.BigEndian.PutUint64(salt[:], uint64(id))
	return newAEAD(k.derive(salt[:], "ulvs datagram"+string(e[:]), keySize))
}

// sealer seals what this director sends. Any goroutine may use it.
type sealer struct {
	header  [sealHeader]byte // without kind and counter
	aead    cipher.AEAD
	counter atomic.Uint64
}

func newSealer(k *clusterKey, id NodeID, e Epoch) *sealer {
	s := &sealer{aead: datagramAEAD(k, id, e)}
	s.header[1] = wireVersion
	binary.BigEndian.PutUint16(s.header[2:], k.id)
	binary.BigEndian.PutUint64(s.header[4:], uint64(id))
	binary.BigEndian.PutUint32(s.header[12:], e.Tag())
	return s
}

// seal appends the datagram for payload to dst, which must not overlap it.
func (s *sealer) seal(dst []byte, kind uint8, payload []byte) []byte {
	at := len(dst)
	dst = append(dst, s.header[:]...)
	h := dst[at : at+sealHeader]
	h[0] = kind
	binary.BigEndian.PutUint64(h[16:], s.counter.Add(1))
	return s.aead.Seal(dst, h[12:24], payload, h)
}

// opener opens what other directors send. Any goroutine may use it.
type opener struct {
	keys Keys
	self NodeID

	mu      sync.Mutex
	senders map[NodeID]*sender
}

// sender is what is known of a director that has proved its epoch.
type sender struct {
	epoch  Epoch
	aeads  [2]cipher.AEAD // by index of the key
	window window
}

// sendersMax bounds how many directors are remembered: far more than any cluster has.
const sendersMax = 256

func newOpener(keys Keys, self NodeID) *opener {
	return &opener{keys: keys, self: self, senders: map[NodeID]*sender{}}
}

// learn accepts datagrams of a director's epoch, which it has just proved over a stream, and no others of it.
func (o *opener) learn(id NodeID, e Epoch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := o.senders[id]; s != nil && s.epoch == e || id == o.self {
		return
	}
	if len(o.senders) >= sendersMax && o.senders[id] == nil {
		for old := range o.senders { // any: it proves itself again when it is heard
			delete(o.senders, old)
			break
		}
	}
	s := &sender{epoch: e}
	for i := range o.keys.keys {
		s.aeads[i] = datagramAEAD(&o.keys.keys[i], id, e)
	}
	o.senders[id] = s
}

// opened is a datagram that was sealed by a director of the cluster, now, and came for the first time.
type opened struct {
	kind    uint8
	from    NodeID
	payload []byte // in place
}

// errReject carries a Reject as an error.
type errReject Reject

func (e errReject) Error() string { return "gossip: " + Reject(e).String() }

// open authenticates a datagram and decrypts it in place.
func (o *opener) open(b []byte) (out opened, err error) {
	if len(b) < sealOverhead || len(b) > 2*maxDatagram {
		return out, errReject(RejectShort)
	}
	if b[0] != kindMemberlist && b[0] != kindLane || b[1] != wireVersion {
		return out, errReject(RejectFormat)
	}
	out.kind, out.from = b[0], NodeID(binary.BigEndian.Uint64(b[4:]))
	key := -1
	for i := range o.keys.keys {
		if o.keys.keys[i].id == binary.BigEndian.Uint16(b[2:]) {
			key = i
		}
	}
	switch {
	case key < 0:
		return out, errReject(RejectKey)
	case out.from == o.self:
		return out, errReject(RejectOwn)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.senders[out.from]
	if s == nil || s.epoch.Tag() != binary.BigEndian.Uint32(b[12:]) {
		return out, errReject(RejectEpoch)
	}
	counter := binary.BigEndian.Uint64(b[16:])
	if !s.window.fresh(counter) {
		return out, errReject(RejectReplay)
	}
	out.payload, err = s.aeads[key].Open(b[sealHeader:sealHeader], b[12:24], b[sealHeader:], b[:sealHeader])
	if err != nil {
		return out, errReject(RejectForged)
	}
	s.window.mark(counter)
	return out, nil
}

// window tells which counters were seen: all below the highest less its size count as seen.
type window struct {
	high uint64
	bits [windowSize / 64]uint64
}

// windowSize is how late a datagram may be. Directors send from several goroutines.
const windowSize = 4096

func (w *window) fresh(n uint64) bool {
	switch {
	case n > w.high:
		return true
	case n == 0 || w.high-n >= windowSize:
		return false
	}
	return w.bits[n/64%(windowSize/64)]>>(n%64)&1 == 0
}

func (w *window) mark(n uint64) {
	if n > w.high {
		if n-w.high >= windowSize {
			clear(w.bits[:])
		} else {
			for i := w.high + 1; i <= n; i++ {
				w.bits[i/64%(windowSize/64)] &^= 1 << (i % 64)
			}
		}
		w.high = n
	}
	w.bits[n/64%(windowSize/64)] |= 1 << (n % 64)
}

// String returns 16 hexadecimal digits.
func (id NodeID) String() string { return fmt.Sprintf("%016x", uint64(id)) }
