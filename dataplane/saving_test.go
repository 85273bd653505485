package dataplane

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"

	"ulvs/conntrack"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

// TestWhatHashingSavesOfReplication prints the table of docs/replication.md: how many records the same sessions cost
// by scheduler, when they are made, after one real server came and after one went.
func TestWhatHashingSavesOfReplication(t *testing.T) {
	if testutil.RaceEnabled {
		t.Skip("counts what one goroutine does")
	}
	const flows = 2000
	t.Logf("%-4s %12s %10s %12s %12s %10s", "", "real servers", "sessions", "when made", "after +1", "after -1")
	for _, scheduler := range []string{"rr", "sh", "mh"} {
		for _, reals := range []int{5, 20, 50} {
			made := countTold(t, scheduler, reals, reals, flows)
			more := countTold(t, scheduler, reals, reals+1, flows) - made
			less := countTold(t, scheduler, reals, reals-1, flows) - made
			t.Logf("%-4s %12d %10d %12s %12s %10s", scheduler, reals, flows, percent(made, flows), percent(more, flows),
				percent(less, flows))
			switch {
			case scheduler == "rr" && made != flows, scheduler != "rr" && made != 0:
				t.Errorf("%s: %d records of %d sessions", scheduler, made, flows)
			case scheduler == "mh" && (more > 3*flows/(reals+1) || less > flows/20):
				t.Errorf("mh with %d real servers: %d exceptions after one came, %d after one went", reals, more, less)
			}
		}
	}
}

func percent(n, of int) string { return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of)) }

// countTold makes sessions with some real servers, changes how many there are, and returns how many records
// peers were told; not those of sessions whose real server went, which end.
func countTold(t *testing.T, scheduler string, reals, after, flows int) (n int) {
	t.Helper()
	config := func(n int) lvs.Service {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf("10.0.0.%d:80", 21+i))
		}
		s := service(vip4, lvs.MethodDR, list...)
		if s.Scheduler = scheduler; scheduler != "rr" {
			s.SchedFlags = lvs.SchedPort
		}
		return s
	}
	b := newBed(t, bedOptions{log: 1 << 14, workers: 2, bits: 14}, config(reals))
	for i := range flows {
		for _, flags := range []uint8{packet.TCPSyn, packet.TCPAck} {
			src := fmt.Sprintf("192.0.%d.1:%d", i%200, 1024+i)
			b.one(0, seg{src: src, dst: vip4, flags: flags}.bytes(t), 1)
		}
	}
	n = len(b.told())
	if after == reals {
		return n
	}
	b.apply(config(after))
	r := NewReplica(ReplicaOptions{Table: b.table, Handle: 1, Snapshots: &b.snapshots, Term: new(atomic.Uint32)})
	r.Begin(b.now)
	defer r.End()
	r.Exceptions(conntrack.MakeVersion(1, 1), func(rec *conntrack.Record) {
		for i := range min(reals, after) {
			if rec.DestAddr[0] == uint64(packet.WireV4(netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", 21+i)))) {
				n++
			}
		}
	})
	return n
}
