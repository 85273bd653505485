// Command drive looks for differences between the pipeline and the model of IPVS.
//
//	go run ./test/differential/drive -steps 1000000 -seed 1 [-workers 0]
//
// It owns its flags and the report; package differential does the work. Episodes of some thousand steps start from
// nothing, with 1, 2 and 3 workers in turn unless -workers says otherwise. The exit status is 1 if a difference was
// found; it is shrunk to the fewest steps first.
package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"ulvs/test/differential"
)

func main() {
	steps := flag.Int("steps", 100_000, "how many steps in all")
	seed := flag.Uint64("seed", 1, "of the first episode")
	workers := flag.Int("workers", 0, "of the director; 0: 1, 2 and 3 in turn")
	length := flag.Int("episode", 4000, "steps of an episode")
	first := flag.Uint64("first", 0, "the episode to begin with")
	flag.Parse()
	start := time.Now()
	var sum differential.Totals
	for n := *first; sum.Steps < *steps; n++ {
		w := *workers
		if w == 0 {
			w = int(1 + n%3)
		}
		e := differential.NewEpisode(*seed<<32+n, w, min(*length, *steps-sum.Steps))
		t, err := e.Run()
		sum.Add(t)
		if err != nil {
			var d *differential.Difference
			if errors.As(err, &d) {
				err = d.Shrink()
			}
			fmt.Printf("episode %d: %v\n", n, err)
			os.Exit(1)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(sum.Kinds)) {
		fmt.Printf("%10d %s\n", sum.Kinds[k], k)
	}
	fmt.Printf("no difference in %d steps: %d packets, %d frames, %d commands, %d texts, %v of their time in %v\n",
		sum.Steps, sum.Packets, sum.Frames, sum.Commands, sum.Texts, sum.Virtual.Round(time.Second),
		time.Since(start).Round(time.Second))
}
