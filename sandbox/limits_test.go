package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// generations are processes that each start the next one, as upgrades do, and what each believes of the one before.
type generations struct {
	Before  Limits
	Distort []string // by generation: what comes in between
}

// again enters as one generation, prints how many filters there are, and starts the next.
func again(text string) int {
	var g generations
	if err := json.Unmarshal([]byte(text), &g); err != nil {
		fmt.Println(err)
		return 1
	}
	now, err := Enter(Options{Before: g.Before})
	if err != nil && !errors.Is(err, ErrCgo) {
		fmt.Println("enter:", err)
		return 1
	}
	fmt.Println("filters", now.Filters)
	if len(g.Distort) == 0 {
		return 0
	}
	switch g.Before = now; g.Distort[0] {
	case "unknown":
		g.Before = Limits{}
	case "another list":
		g.Before.Denied = g.Before.Denied[1:]
	case "a filter of somebody else":
		if err := denyCalls(); err != nil { // as good as any
			fmt.Println(err)
			return 1
		}
	}
	g.Distort = g.Distort[1:]
	next, err := json.Marshal(g)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stdout = append(os.Environ(), insideVariable+"="+string(next)), os.Stdout
	if err := cmd.Run(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func TestTheSameFilterIsNotPutOnTwice(t *testing.T) {
	if filters() == 0 && !kernelCounts() {
		t.Skip("this kernel does not count filters (before 5.9)")
	}
	for _, c := range []struct {
		distort []string
		want    []int
	}{
		{[]string{"", "", ""}, []int{1, 1, 1, 1}},
		{[]string{"unknown", ""}, []int{1, 2, 2}},
		{[]string{"another list", ""}, []int{1, 2, 2}},
		{[]string{"a filter of somebody else", ""}, []int{1, 3, 3}},
	} {
		how, err := json.Marshal(generations{Distort: c.distort})
		if err != nil {
			t.Fatal(err)
		}
		out, got := enter(t, string(how)), []int(nil)
		for _, line := range strings.Split(out, "\n") {
			var n int
			if _, err := fmt.Sscanf(line, "filters %d", &n); err == nil {
				got = append(got, n-filters())
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: %v filters, want %v\n%s", c.distort, got, c.want, out)
		}
	}
}

// kernelCounts reports whether the kernel says how many filters there are.
func kernelCounts() bool {
	text, err := os.ReadFile("/proc/self/status")
	return err == nil && strings.Contains(string(text), "Seccomp_filters:")
}

func TestWhatTheProcessBeforeGaveUpIsMissedBeforeItIsNeeded(t *testing.T) {
	fits := Limits{Kept: keptNumbers(), Denied: denied(), Filters: 1}
	more := Limits{Kept: append(keptNumbers(), unix.CAP_SYS_ADMIN), Denied: denied()[1:], Filters: 1}
	for _, l := range []Limits{{}, fits, more} {
		if err := l.Lacks(); err != nil {
			t.Errorf("%+v: %v", l, err)
		}
	}
	for _, c := range []struct {
		before Limits
		want   string
	}{
		{Limits{Kept: keptNumbers()[1:]}, fmt.Sprintf("capability %d (", Kept[0].Number)},
		{Limits{Denied: append(denied(), unix.SYS_READ)}, fmt.Sprintf("system call %d:", unix.SYS_READ)},
	} {
		if err := c.before.Lacks(); !errors.Is(err, ErrLacks) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%+v: %v, want %q", c.before, err, c.want)
		}
	}
}
