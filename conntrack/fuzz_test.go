package conntrack

import "testing"

// FuzzOperations lets bytes choose operations on few keys in a table of 64 buckets; a map knows
// what must come of them.
func FuzzOperations(f *testing.F) {
	f.Add([]byte("\x00\x01\x40\x01\x80\x01\xc0\x01\x00\x02"))
	f.Add([]byte("insert some, delete some, look all of them up"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		table := newTable(t, Options{Bits: MinBits, Heap: true, Seed: 3, entries: 600, over: 3, MaxConns: 500})
		h := table.Worker(0)
		m := newModel()
		for len(ops) >= 2 {
			fuzzOne(t, h, m, ops[0], ops[1])
			ops = ops[2:]
		}
		for _, c := range m.list {
			if got := lookup(t, h, &c.spec.Key); got != c.ref {
				t.Errorf("%+v: %#x, want %#x", c.spec.Key, got, c.ref)
			}
		}
		checkIndex(t, table)
	})
}

func fuzzOne(t *testing.T, h *Handle, m *model, op, key byte) {
	s := flow(uint64(key), op&1 != 0, Flags(op>>1&1))
	s.L4 ^= uint64(op>>2&1) << 20
	have := m.ref(s.Key)
	switch op >> 6 {
	case 0, 1:
		r, res := h.Insert(&s, 0)
		if res == Inserted && have == 0 {
			m.insert(s, r)
		} else if res != Full && (res != Exists || r != have) {
			t.Errorf("insert: %v %#x, have %#x", res, r, have)
		}
	case 2:
		for i, c := range m.list {
			if c.ref == have.Conn() && h.Delete(have) {
				m.remove(i)
				break
			}
		}
	default:
		if got := lookup(t, h, &s.Key); got != have {
			t.Errorf("lookup: %#x, want %#x", got, have)
		}
		h.Quiesce()
	}
}
