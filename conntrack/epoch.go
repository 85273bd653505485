package conntrack

import "sync/atomic"

// epochs tell when no worker can hold a Ref to a removed entry any more. The global epoch moves
// when every reader that is not offline has seen it. An entry removed in epoch e was found, if
// at all, by a reader whose own epoch was at most e then; at e+2 each has passed a boundary.
type epochs struct {
	global  atomic.Uint64
	_       [120]byte
	readers []reader
}

// reader is one worker's epoch, on lines of its own.
type reader struct {
	local atomic.Uint64
	_     [120]byte
}

// offline is the epoch of a reader that holds no Ref and is not waited for.
const offline = ^uint64(0)

// firstEpoch lets the zero bag be older than any epoch a Ref was held in.
const firstEpoch = numBags

func (d *epochs) init(readers int) {
	d.readers = make([]reader, readers)
	for i := range d.readers {
		d.readers[i].local.Store(offline)
	}
	d.global.Store(firstEpoch)
}

// enter brings reader i online, at the epoch that is current when it is done.
func (d *epochs) enter(i int) uint64 {
	for {
		e := d.global.Load()
		d.readers[i].local.Store(e)
		if d.global.Load() == e {
			return e
		}
	}
}

// advance moves the epoch if all readers have seen it.
func (d *epochs) advance() {
	e := d.global.Load()
	for i := range d.readers {
		if seen := d.readers[i].local.Load(); seen != e && seen != offline {
			return
		}
	}
	d.global.CompareAndSwap(e, e+1)
}

// advanceEvery is how many batch boundaries a worker with removed entries lets pass between
// two attempts to move the epoch: each reads a line of every worker.
const advanceEvery = 4

// Quiesce marks a batch boundary: this worker holds no Ref from before, and its counts are
// published. Parked, it does nothing.
func (h *Handle) Quiesce() {
	if h.epoch == offline {
		return
	}
	d := &h.t.epochs
	if e := d.global.Load(); e != h.epoch {
		d.readers[h.id].local.Store(e)
		h.epoch = e
	}
	if h.waiting {
		h.reclaim(false)
	}
	h.publish()
}

// reclaim moves the epoch if it may and frees what has waited long enough.
func (h *Handle) reclaim(now bool) {
	if h.boundary++; h.boundary%advanceEvery != 0 && !now {
		return
	}
	d := &h.t.epochs
	d.advance()
	e := d.global.Load()
	h.t.v4.mature(&h.v4, e)
	h.t.v6.mature(&h.v6, e)
	h.waiting = h.v4.waiting() || h.v6.waiting()
}

func (l *local) waiting() bool {
	for i := range l.bags {
		if b := &l.bags[i]; b.head != 0 || b.full != 0 {
			return true
		}
	}
	return false
}

// Park takes the worker offline while it sleeps: it holds no Ref and is not waited for.
// Of a Handle's methods only Unpark may be called until then.
func (h *Handle) Park() {
	if h.epoch == offline {
		return
	}
	h.publish()
	h.epoch = offline
	h.t.epochs.readers[h.id].local.Store(offline)
}

// Unpark brings the worker back.
func (h *Handle) Unpark() {
	if h.epoch == offline {
		h.epoch = h.t.epochs.enter(h.id)
	}
}
