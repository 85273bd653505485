package picks

import (
	"testing"

	"ulvs/lvs"
)

// Every scheduler picks from short and long lists, and sessions end where they began.
func TestEverySchedulerPicks(t *testing.T) {
	for _, name := range Names() {
		for _, n := range []int{10, 5000} {
			b, err := New(name, n)
			if err != nil {
				t.Fatal(err)
			}
			for _, step := range []func(int) error{b.Pick, b.Sessions, b.Sessions} {
				if err := step(living); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.Edit(2); err != nil {
				t.Fatal(err)
			}
			if sum := active(b.list); sum != living {
				t.Errorf("%s: %d sessions, want %d", name, sum, living)
			}
		}
	}
}

func active(list []lvs.Destination) (sum int) {
	for i := range list {
		sum += int(list[i].Load.Active())
	}
	return sum
}

func TestListsThatAreTooLong(t *testing.T) {
	for _, n := range []int{0, MaxServers + 1} {
		if _, err := New("rr", n); err == nil {
			t.Errorf("%d servers are taken", n)
		}
	}
	if _, err := New("nonsense", 1); err == nil {
		t.Error("a scheduler that is none is taken")
	}
}
