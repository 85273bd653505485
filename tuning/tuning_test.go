package tuning_test

import (
	"runtime"
	"strings"
	"testing"

	"ulvs/tuning"
)

func TestPinnedThreadRunsOnItsCPUOnly(t *testing.T) {
	all, err := tuning.CPUs()
	if err != nil || len(all) == 0 {
		t.Fatalf("CPUs() = %v, %v", all, err)
	}
	done := make(chan []int)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with its affinity
		if err := tuning.PinThread(all[0]); err != nil {
			t.Error(err)
		}
		now, err := tuning.CPUs()
		if err != nil {
			t.Error(err)
		}
		done <- now
	}()
	if now := <-done; len(now) != 1 || now[0] != all[0] {
		t.Errorf("pinned to %d, the thread may run on %v", all[0], now)
	}
}

func TestPinningToACoreThatIsNotThereFails(t *testing.T) {
	if err := tuning.PinThread(1000); err == nil || !strings.Contains(err.Error(), "CPU 1000") {
		t.Errorf("err = %v, want one that names CPU 1000", err)
	}
}

func TestLoopbackHasOneQueue(t *testing.T) {
	if n, err := tuning.Queues("lo"); n != 1 || err != nil {
		t.Errorf("Queues(lo) = %d, %v, want 1", n, err)
	}
}

func TestQueuesOfUnknownInterfacesAreAnError(t *testing.T) {
	for _, name := range []string{"ulvs-none", "a-name-that-is-much-too-long"} {
		if n, err := tuning.Queues(name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Queues(%q) = %d, %v, want an error with the name", name, n, err)
		}
	}
}
