package config

import (
	"fmt"
	"testing"
)

func TestWorkersThatSpinLeaveACoreToTheRest(t *testing.T) {
	for _, c := range []struct {
		idle, tuning string
		want         int
	}{
		{"auto", "", 0},
		{"poll", "", 0},
		{"spin", "", 1},
		{"spin", "reserve_cores = 0", 0},
		{"auto", "reserve_cores = 2", 2},
	} {
		text := fmt.Sprintf("[node]\ninterfaces = [\"eth0\"]\nidle = %q\n[tuning]\n%s\n", c.idle, c.tuning)
		conf, err := Parse("f", []byte(text), Options{})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := conf.Tuning.ReserveCores; got != c.want {
			t.Errorf("idle = %q, %s: %d cores are kept back, want %d", c.idle, c.tuning, got, c.want)
		}
	}
}
