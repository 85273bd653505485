package dataplane

import (
	"sync/atomic"

	"ulvs/internal/release"
	"ulvs/lvs"
)

// DestStats are a destination's counters as IPVS keeps them: bytes are IP total lengths as
// received, In is client to real server, Out is what NAT replies carried back.
type DestStats struct {
	Conns, InPackets, OutPackets, InBytes, OutBytes uint64
}

// Add adds o to s.
func (s *DestStats) Add(o DestStats) {
	s.Conns += o.Conns
	s.InPackets += o.InPackets
	s.OutPackets += o.OutPackets
	s.InBytes += o.InBytes
	s.OutBytes += o.OutBytes
}

// Stats are a worker's counters. The worker counts in plain words of its own and
// publishes once per batch what changed; everybody else reads the published ones.
type Stats struct {
	received    uint64
	own         uint64 // from our own stack
	batches     uint64
	txFull      uint64
	noticesLost uint64
	verdicts    [NumCounters]uint64
	dests       []DestStats // deltas since the last publish
	touched     []uint32    // destinations with a delta

	generation  atomic.Uint64
	pubReceived atomic.Uint64
	pubOwn      atomic.Uint64
	pubBatches  atomic.Uint64
	pubTxFull   atomic.Uint64
	pubLost     atomic.Uint64
	pubVerdicts [NumCounters]atomic.Uint64
	shown       [NumCounters]uint64 // what pubVerdicts holds, to see what changed
	pubDests    []destCounters
	pubServices []destCounters
}

type destCounters struct {
	conns, inPackets, outPackets, inBytes, outBytes atomic.Uint64
}

// init reserves counters for n destinations, 0 being as many as there can be; memory is touched as used.
func (s *Stats) init(n int) {
	if n == 0 {
		n = lvs.MaxDestinations
	}
	s.dests = make([]DestStats, n)
	s.pubDests = make([]destCounters, n)
	s.pubServices = make([]destCounters, min(n, lvs.MaxServices))
	s.touched = make([]uint32, 0, 4*BatchSize)
}

func (s *Stats) in(dest uint32, bytes uint16) {
	d := s.touch(dest)
	d.InPackets++
	d.InBytes += uint64(bytes)
}

func (s *Stats) out(dest uint32, bytes uint16) {
	d := s.touch(dest)
	d.OutPackets++
	d.OutBytes += uint64(bytes)
}

func (s *Stats) conn(dest uint32) { s.touch(dest).Conns++ }

// touch returns the delta of dest, noting that it has one. A batch touches at most
// three times BatchSize destinations (held frames are a batch of their own), so touched
// never grows past its capacity.
func (s *Stats) touch(dest uint32) *DestStats {
	d := &s.dests[dest]
	if d.InPackets|d.OutPackets|d.Conns == 0 {
		s.touched = append(s.touched, dest)
	}
	return d
}

func (s *Stats) publish(snap *Snapshot) {
	s.batches++
	release.Store(&s.pubBatches, s.batches)
	if s.received == s.pubReceived.Load() && len(s.touched) == 0 && s.shown == s.verdicts {
		return
	}
	release.Store(&s.pubReceived, s.received)
	release.Store(&s.pubOwn, s.own)
	release.Store(&s.pubTxFull, s.txFull)
	release.Store(&s.pubLost, s.noticesLost)
	for v := range s.verdicts {
		if s.verdicts[v] != s.shown[v] {
			s.shown[v] = s.verdicts[v]
			release.Store(&s.pubVerdicts[v], s.verdicts[v])
		}
	}
	for _, id := range s.touched {
		d := &s.dests[id]
		s.pubDests[id].add(d)
		if int(id) < len(snap.Dests) {
			s.pubServices[snap.Dests[id].Service].add(d)
		}
		*d = DestStats{}
	}
	s.touched = s.touched[:0]
}

// add has one writer, so that load and store need not be one step; only what changed is
// stored, a store being the expensive half.
func (c *destCounters) add(d *DestStats) {
	bump(&c.conns, d.Conns)
	bump(&c.inPackets, d.InPackets)
	bump(&c.outPackets, d.OutPackets)
	bump(&c.inBytes, d.InBytes)
	bump(&c.outBytes, d.OutBytes)
}

func bump(c *atomic.Uint64, n uint64) {
	if n != 0 {
		release.Store(c, c.Load()+n)
	}
}

func (c *destCounters) read() DestStats {
	return DestStats{
		Conns: c.conns.Load(), InPackets: c.inPackets.Load(), OutPackets: c.outPackets.Load(),
		InBytes: c.inBytes.Load(), OutBytes: c.outBytes.Load(),
	}
}

// Own returns the packets that came from our own stack: they have verdicts, too.
func (s *Stats) Own() uint64 { return s.pubOwn.Load() }

// Received returns the frames received.
func (s *Stats) Received() uint64 { return s.pubReceived.Load() }

// Batches returns how often the worker looked for frames.
func (s *Stats) Batches() uint64 { return s.pubBatches.Load() }

// TxFull returns how many frames of the tx verdicts the transmit rings refused.
func (s *Stats) TxFull() uint64 { return s.pubTxFull.Load() }

// NoticesLost returns how many notices to the director found the channel full.
func (s *Stats) NoticesLost() uint64 { return s.pubLost.Load() }

// Generation returns the snapshot generation that the worker runs.
func (s *Stats) Generation() uint64 { return s.generation.Load() }

// Verdict returns how many frames ended with v, a verdict or a parse reason.
func (s *Stats) Verdict(v Verdict) uint64 { return s.pubVerdicts[v].Load() }

// Dest returns a destination's counters.
func (s *Stats) Dest(id lvs.DestID) DestStats { return s.pubDests[id].read() }

// Service returns a service's counters.
func (s *Stats) Service(id lvs.ServiceID) DestStats { return s.pubServices[id].read() }
