package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"

	"ulvs/bench/measure"
)

// Defaults. Four runs on two cores at a load of 5, the code unchanged, all passed; two of them showed one or two cases
// as faster by 13 to 18 %, so that much is this machine's noise, and what is tolerated lies above it.
const (
	rounds   = 24
	notable  = 0.05 // changes that are reported
	tolerate = 0.25 // a slow-down by more fails, if it cannot be chance
	// tolerateWall is the same of wall time, which others' work stretches: it is there to find who waits.
	tolerateWall = 1.0
)

// Names of the metrics that are compared.
const (
	cpuRatio  = "ratio"
	wallRatio = "wall ratio"
)

func main() {
	file := flag.String("baseline", "bench/baseline/guard.json", "what to compare with")
	save := flag.Bool("save", false, "write the baseline anew")
	n := flag.Int("rounds", rounds, "samples of each case")
	limit := flag.Float64("tolerate", tolerate, "the slow-down that fails, as a share")
	flag.Parse()
	if err := guard(*file, *save, *n, *limit); err != nil {
		fmt.Fprintln(os.Stderr, "guard:", err)
		os.Exit(1)
	}
}

func guard(file string, save bool, rounds int, limit float64) error {
	now, err := measureAll(rounds)
	if err != nil {
		return err
	}
	if save {
		text, err := json.MarshalIndent(now, "", " ")
		if err != nil {
			return err
		}
		now.Print(os.Stdout)
		return os.WriteFile(file, append(text, '\n'), 0o644)
	}
	old, err := measure.Read(file)
	if err != nil {
		return err
	}
	fmt.Println(now.Noise.String())
	return judge(os.Stdout, old, now, limit)
}

// measureAll goes through the cases round by round.
func measureAll(rounds int) (r *measure.Result, err error) {
	run := measure.Start(measure.Options{
		Bench: "guard", Version: "(guard)", Rounds: rounds, Progress: measure.Terminal(os.Stderr),
	})
	run.Say("establishing sessions")
	list, err := makeCases()
	defer func() { err = errors.Join(err, closeCases(list)) }()
	if err != nil {
		return nil, err
	}
	rows := make([]measure.Row, len(list))
	for round := range rounds + 1 {
		for i, g := range list {
			run.Say("round %d of %d: %s", round, rounds, g.name)
			row := &rows[i]
			if round == 0 {
				row = &measure.Row{} // warms up
			}
			if err := g.sample(row); err != nil {
				return nil, fmt.Errorf("%s: %w", g.name, err)
			}
		}
	}
	for i, g := range list {
		rows[i].Case = measure.Case("case", g.name)
		run.Add(rows[i])
	}
	return run.Finish(), nil
}

// judge prints what changed and returns an error for what became slower by more than limit and not by chance. A
// case that one side lacks is one, too: a baseline that fits nothing guards nothing.
func judge(w io.Writer, old, now *measure.Result, limit float64) error {
	var shown []measure.Change
	var errs []error
	ratios := 0
	for _, c := range measure.Compare(old, now) {
		most := limit
		switch c.Metric {
		case cpuRatio:
			ratios++
			if c.Significant && math.Abs(c.Worse()) > notable {
				shown = append(shown, c)
			}
		case wallRatio:
			most = max(limit, tolerateWall)
		default:
			continue
		}
		if c.Significant && c.Worse() > most {
			errs = append(errs, fmt.Errorf("%s: %s %.0f %% worse than the baseline", c.Case, c.Metric, 100*c.Worse()))
		}
	}
	if ratios != len(old.Rows) || ratios != len(now.Rows) {
		errs = append(errs, fmt.Errorf("%d cases are in the baseline, %d were measured, %d in both: make bench-save",
			len(old.Rows), len(now.Rows), ratios))
	}
	_, _ = fmt.Fprintf(w, "%d cases; changed by more than %.0f %% of the ratio to the control, not by chance: %d\n",
		ratios, 100*notable, len(shown))
	if len(shown) > 0 {
		measure.PrintChanges(w, shown)
	}
	return errors.Join(errs...)
}
