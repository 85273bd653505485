package afxdp

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// PortStats counts one port's frames since Open. Kernel values are of
// XDP_STATISTICS.
type PortStats struct {
	Name      string
	RX        uint64 // frames lent by Recv
	TX        uint64 // frames the TX ring took
	TXFull    uint64 // frames given up: the ring was full after a kick
	TXErrors  uint64 // frames given up: the interface is gone
	TXInvalid uint64 // frames given up: length 0 or beyond the chunk
	BadDescs  uint64 // descriptors from the kernel that made no sense
	Kicks     uint64 // system calls made to start the kernel
	KickAgain uint64 // of them, those the kernel could not finish (EAGAIN, EBUSY, ENOBUFS)
	KickError uint64 // of them, those that failed (ENETDOWN: the link is down)
	FillShort uint64 // refills cut short because no chunk was free
	InRX      uint64 // chunks in the receive rings now
	InTX      uint64 // chunks in the transmit rings now
	Misused   uint64 // frames given back twice, of the whole Set
	Down      bool   // the interface is gone

	KernelRXDropped     uint64 // dropped for other reasons than the next three
	KernelRXRingFull    uint64 // dropped: the worker did not keep up
	KernelFillRingEmpty uint64 // times the kernel found no chunk to receive into
	KernelRXInvalid     uint64 // bad descriptors in the fill ring
	KernelTXInvalid     uint64 // bad descriptors in the TX ring
	KernelTXRingEmpty   uint64 // times the kernel found nothing to send
}

// Stats reads all ports' counters, in the order of Frame.Port. After Close, and
// for a port whose interface is gone, the kernel's are 0.
func (s *Set) Stats() []PortStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]PortStats, len(s.ports))
	for i := range s.ports {
		out[i] = s.ports[i].stats(!s.closed.Load())
		out[i].Name = s.opts.Interfaces[i].Name
		out[i].Misused = s.misused.Load()
	}
	return out
}

func (p *port) stats(open bool) PortStats {
	st := p.c.read()
	if open && !st.Down {
		st.addKernel(p.k)
	}
	return st
}

// read copies the counters.
func (c *portCounters) read() PortStats {
	return PortStats{
		RX: c.rx.Load(), TX: c.tx.Load(), TXFull: c.txFull.Load(), TXErrors: c.txErrors.Load(),
		TXInvalid: c.txInvalid.Load(), BadDescs: c.badDescs.Load(), Kicks: c.kicks.Load(),
		KickAgain: c.kickAgain.Load(), KickError: c.kickErrors.Load(), FillShort: c.fillShort.Load(),
		InRX: c.inRX.Load(), InTX: c.inTX.Load(), Down: c.dead.Load(),
	}
}

// addKernel adds XDP_STATISTICS; they stay 0 when they cannot be read.
func (st *PortStats) addKernel(k interface {
	stats() (unix.XDPStatistics, error)
}) {
	s, err := k.stats()
	if err != nil {
		return
	}
	st.KernelRXDropped, st.KernelRXRingFull = s.Rx_dropped, s.Rx_ring_full
	st.KernelFillRingEmpty, st.KernelRXInvalid = s.Rx_fill_ring_empty_descs, s.Rx_invalid_descs
	st.KernelTXInvalid, st.KernelTXRingEmpty = s.Tx_invalid_descs, s.Tx_ring_empty_descs
}

// Account says where the chunks of a Set are.
type Account struct {
	Total int
	Free  int
	Lent  int           // with the worker
	Ports []PortAccount // in the order of Frame.Port
}

// PortAccount counts the chunks of one port, RX and TX being all of its receive and
// transmit side; the rings are as they stood when looked at, and what of RX and
// TX they do not show is inside the kernel.
type PortAccount struct {
	RX, TX                         int
	Fill, RXRing, TXRing, Complete int
}

// Account counts the chunks. Only the worker's goroutine may call it.
func (s *Set) Account() Account {
	a := Account{Total: len(s.umem.owner), Free: len(s.umem.free), Ports: make([]PortAccount, len(s.ports))}
	for _, o := range s.umem.owner {
		switch {
		case o == ownerLent:
			a.Lent++
		case o >= ownerPort && (o-ownerPort)%2 == 0:
			a.Ports[(o-ownerPort)/2].RX++
		case o >= ownerPort:
			a.Ports[(o-ownerPort)/2].TX++
		}
	}
	if s.closed.Load() {
		return a
	}
	for i := range s.ports {
		if s.ports[i].dead {
			continue
		}
		p, r := &a.Ports[i], s.ports[i].rings
		p.Fill, p.RXRing, p.TXRing, p.Complete = r.fill.used(), r.rx.used(), r.tx.used(), r.completion.used()
	}
	return a
}

// Check returns an error unless every chunk is in exactly one place.
func (a Account) Check() error {
	sum := a.Free + a.Lent
	var errs []error
	for i, p := range a.Ports {
		sum += p.RX + p.TX
		if p.TXRing+p.Complete > p.TX || p.Fill+p.RXRing > p.RX {
			errs = append(errs, fmt.Errorf("port %d: rings hold more than the port has: %+v", i, p))
		}
	}
	if sum != a.Total {
		errs = append(errs, fmt.Errorf("%d chunks of %d are accounted for: %+v", sum, a.Total, a))
	}
	return errors.Join(errs...)
}
