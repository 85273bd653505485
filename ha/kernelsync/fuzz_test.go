package kernelsync

import (
	"encoding/hex"
	"sync"
	"testing"

	"ulvs/conntrack"
	"ulvs/dataplane"
	"ulvs/ha/ipvssync"
	"ulvs/lvs"
)

// lastTable keeps what it was given last.
type lastTable struct {
	got   []dataplane.KernelConn
	index map[uint64]*lvs.Service
}

// Begin implements Table.
func (t *lastTable) Begin() { t.got = t.got[:0] }

// End implements Table.
func (t *lastTable) End() {}

// ApplyKernel implements Table.
func (t *lastTable) ApplyKernel(k *dataplane.KernelConn) conntrack.Applied {
	t.got = append(t.got, *k)
	return conntrack.AppliedInserted
}

// Own implements Table.
func (t *lastTable) Own(uint64, int, func(*conntrack.Record)) uint64 { return 0 }

// Service implements Table.
func (t *lastTable) Service(identity uint64) *lvs.Service { return t.index[identity] }

// FuzzTake: no bytes panic; what is taken has a state of its protocol; and what a kernel would send of it, taken again,
// is the same session.
func FuzzTake(f *testing.F) {
	for _, text := range []string{
		"0005002c0101000000060024000000830001138900500050000000000000038 4ac1001010a0000010a010001",
		"00050050010100000106004800000083000113890050005000000000000003842001",
	} {
		b, _ := hex.DecodeString(text) // odd ones are as good
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		table := &lastTable{}
		b := NewBackup(BackupOptions{MaxLen: ipvssync.MaxMessage, Table: table, Mu: new(sync.Mutex)})
		b.Take(msg)
		first := append([]dataplane.KernelConn(nil), table.got...)
		for i := range first {
			rec := first[i].Record
			if int(rec.State) >= conntrack.NumStates {
				t.Fatalf("state %d", rec.State)
			}
			rec.Op, rec.Remaining = conntrack.OpPut, rec.Timeout
			c, ok := tells(&rec, nil)
			if !ok {
				continue // a TCP state that masters do not tell
			}
			m := ipvssync.NewBuilder(1, 0, ipvssync.MaxMessage)
			m.Add(&c)
			b.Take(m.Bytes())
			if len(table.got) != 1 || table.got[0].Key != rec.Key || table.got[0].State != rec.State ||
				table.got[0].DestAddr != rec.DestAddr || table.got[0].DestPort != rec.DestPort {
				t.Fatalf("\n     %+v\ntold %+v\ntaken %+v", rec, c, table.got)
			}
		}
	})
}
