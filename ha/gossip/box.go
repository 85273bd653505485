package gossip

// Box seals what one director sends in one epoch, and opens what others send it, as its Transport does: for simulators,
// whose network is not the kernel's. One goroutine uses it.
type Box struct {
	seal *sealer
	open *opener
}

// NewBox makes the Box of a director that was just started.
func NewBox(k Keys, id NodeID, e Epoch) *Box {
	return &Box{newSealer(&k.keys[0], id, e), newOpener(k, id)}
}

// Learn accepts a director's epoch, which it has to prove over a stream where there is one, and no others of it.
func (b *Box) Learn(id NodeID, e Epoch) { b.open.learn(id, e) }

// Seal returns the datagram of the session lane for a payload.
func (b *Box) Seal(payload []byte) []byte { return b.seal.seal(nil, kindLane, payload) }

// Open returns who sealed a datagram and what is in it; d is overwritten. The error says why it was refused: a datagram
// that was here before is.
func (b *Box) Open(d []byte) (from NodeID, payload []byte, err error) {
	o, err := b.open.open(d)
	return o.from, o.payload, err
}
