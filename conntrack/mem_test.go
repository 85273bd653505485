package conntrack

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// TestATableFitsIntoLittleAddressSpace runs itself in a child that may map 6 GiB, less than a
// default table would reserve.
func TestATableFitsIntoLittleAddressSpace(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector itself maps terabytes")
	}
	if os.Getenv("CONNTRACK_CHILD") == "" {
		cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), "CONNTRACK_CHILD=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	limit := unix.Rlimit{Cur: 6 << 30, Max: 6 << 30}
	if err := unix.Setrlimit(unix.RLIMIT_AS, &limit); err != nil {
		t.Fatal(err)
	}
	table := newTable(t, Options{})
	h := table.Worker(0)
	for i := range uint64(10_000) {
		mustInsert(t, h, flow(i, i%2 == 0, 0), 0)
	}
	if n := len(table.v4.narrow); n >= roomy || n < 1<<DefaultBits {
		t.Errorf("room for %d conns", n)
	}
	if _, err := New(Options{Bits: MaxBits}); err == nil {
		t.Error("a table of 134 million conns fits into 6 GiB")
	}
}
