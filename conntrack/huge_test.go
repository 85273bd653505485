package conntrack

import (
	"testing"

	"golang.org/x/sys/unix"

	"ulvs/internal/testutil"
)

// A process that may not mount anything, as one that a director is upgraded to, has huge pages all the same.
func TestAMemfdGetsHugePages(t *testing.T) {
	f, err := smallFile()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !hugePagesToBeHad(t) {
		testutil.Require(t, testutil.NeedHugePages, "this kernel has no MADV_COLLAPSE, or no huge page is free")
	}
	table := newTable(t, Options{HugePages: true, Keep: Keep{File: f, Generation: 1}})
	h := table.Worker(0)
	for i := range uint64(100_000) { // 6 MiB
		mustInsert(t, h, flow(i, false, 0), 0)
	}
	table.populate(startPieces)
	if huge := table.Stats().Huge; huge < 3*hugePage {
		t.Errorf("%d bytes are in huge pages", huge)
	}
}

// hugePagesToBeHad tries what the table wants on memory of its own.
func hugePagesToBeHad(t *testing.T) bool {
	t.Helper()
	f, err := smallFile()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := memory{huge: true, file: f}
	defer func() { _ = m.close() }()
	raw, err := m.reserve(8*hugePage, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		raw[i*hugePage] = 1
	}
	return unix.Madvise(raw, unix.MADV_COLLAPSE) == nil
}
