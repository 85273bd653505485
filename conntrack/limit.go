package conntrack

import "sync/atomic"

// limit is max_conns. Workers lease room in lots, so that the shared count is not written for
// every conn; what others have leased and not used makes it refuse a little early, never late.
type limit struct {
	max  int64 // 0: none
	lot  int
	used atomic.Int64 // leased by the workers
}

// maxLot bounds what one worker leases at once.
const maxLot = 64

func (m *limit) init(maxConns, workers int) {
	m.max = int64(maxConns)
	// At most 1/32 of the limit lies unused with the workers (each keeps up to two lots).
	m.lot = min(maxLot, max(1, maxConns/(64*workers)))
}

// lease makes sure the worker may insert one more conn.
func (m *limit) lease(h *Handle) bool {
	if m.max == 0 || h.lease > 0 {
		return true
	}
	for {
		used := m.used.Load()
		n := min(int64(m.lot), m.max-used)
		if n <= 0 {
			return false
		}
		if m.used.CompareAndSwap(used, used+n) {
			h.lease = int(n)
			return true
		}
	}
}

// spend uses one leased conn; refund takes one back.
func (m *limit) spend(h *Handle) {
	if m.max != 0 {
		h.lease--
	}
}

func (m *limit) refund(h *Handle) {
	if m.max == 0 {
		return
	}
	if h.lease++; h.lease >= 2*m.lot {
		m.used.Add(int64(-m.lot))
		h.lease -= m.lot
	}
}
