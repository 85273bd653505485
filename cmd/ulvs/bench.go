package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"

	"ulvs/bench/gaps"
	"ulvs/bench/measure"
	"ulvs/bench/picks"
	"ulvs/bench/pipeline"
	"ulvs/bench/table"
)

// benchFlags are those of every benchmark.
type benchFlags struct {
	full   bool
	rounds int
	sample time.Duration
	plot   string
	out    string
}

func (f *benchFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&f.full, "full", false, "every size and kind, which takes minutes")
	flags.IntVar(&f.rounds, "rounds", 0, "samples of each case (default 5); 6 and more make comparisons sharp")
	flags.DurationVar(&f.sample, "sample", 0, "how long a sample takes (default 100ms)")
	flags.StringVar(&f.plot, "plot", "", "draw the result into this SVG `file`")
	flags.StringVarP(&f.out, "output", "o", "", "keep the result, as JSON, in this `file`, for compare")
}

func (a *app) benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure ulvs on this machine",
		Long: "bench measures what ulvs costs on this machine: its parts in memory, or all of it with traffic. The\n" +
			"result is a table, with the machine, the settings and how noisy the run was; JSON with --json or -o; a plot\n" +
			"with --plot.\n\n" +
			"Wall time is what an operation took; cpu is the time that its thread computed for. On a busy machine the\n" +
			"first grows and the second hardly does. ±% is how far the samples of a figure are from its median.",
		Example: "  ulvs bench pipeline                       what a packet costs, without any interface\n" +
			"  ulvs bench pipeline --full --plot p.svg   up to ten million sessions, drawn\n" +
			"  sudo ulvs bench tcp                       connections and latency through ulvs, in a lab of its own\n" +
			"  ulvs bench table -o before.json           keep a result ...\n" +
			"  ulvs bench compare before.json after.json ... and see what changed, with benchstat's statistics",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.benchPipeline(), a.benchTable(), a.benchSched(), a.benchGaps(), a.benchForward(), a.benchTCP(),
		a.benchTakeover(), a.benchSync(), a.benchCompare(), a.benchShow(), a.benchLoad())
	return cmd
}

// benchRun runs one benchmark and prints what it found. A run that is interrupted prints what it has.
func (a *app) benchRun(cmd *cobra.Command, f *benchFlags, name string, cases int,
	fn func(context.Context, *measure.Run) error) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
	defer stop()
	run := measure.Start(measure.Options{
		Bench: name, Version: version(), Rounds: f.rounds, Sample: f.sample, Cases: cases, Progress: a.progress(),
	})
	err := fn(ctx, run)
	result := run.Finish()
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return errors.Join(err, a.benchResult(f, result))
}

// progress is where people look, if they do.
func (a *app) progress() (w interface{ Write([]byte) (int, error) }) {
	if file, is := a.errOut.(*os.File); is {
		return measure.Terminal(file)
	}
	return nil
}

func (a *app) benchResult(f *benchFlags, r *measure.Result) error {
	if f.out != "" {
		file, err := os.Create(f.out)
		if err != nil {
			return fmt.Errorf("keep the result: %w", err)
		}
		if err := errors.Join(printJSON(file, r), file.Close()); err != nil {
			return err
		}
	}
	if f.plot != "" {
		if err := r.WritePlot(f.plot); err != nil {
			return err
		}
	}
	if a.json {
		return printJSON(a.out, r)
	}
	r.Print(a.out)
	return nil
}

func (a *app) benchPipeline() *cobra.Command {
	f := &benchFlags{}
	growth, still := false, false
	cmd := &cobra.Command{
		Use: "pipeline", Short: "What a packet and a new session cost in memory, by method, scheduler and sessions",
		Long: "pipeline runs the data plane without interfaces: frames are made in memory, parsed, looked up, scheduled,\n" +
			"rewritten and given back. It needs neither root nor network.",
		Example: "  ulvs bench pipeline\n" +
			"  ulvs bench pipeline --growth --plot growth.svg   1 Ki to 10 Mi sessions, 1 to 10 000 services",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := pipeline.Short()
			switch {
			case growth:
				p = pipeline.Growth()
			case f.full:
				p = pipeline.Full()
			}
			p.Still = still
			return a.benchRun(cmd, f, "pipeline", len(p.Cases()), func(ctx context.Context, run *measure.Run) error {
				return pipeline.Measure(ctx, run, p)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&growth, "growth", false, "how cost grows with sessions and with services")
	cmd.Flags().BoolVar(&still, "still", false, "stop the clock: no session is written for its timer")
	return cmd
}

func (a *app) benchTable() *cobra.Command {
	f := &benchFlags{}
	cmd := &cobra.Command{
		Use: "table", Short: "What the connection table costs: insert, find, expire, and memory for each session",
		Long: "table fills connection tables of growing size and works on them. It needs neither root nor network;\n" +
			"--full goes up to 16 Mi sessions and needs about four gigabytes of memory.",
		Example: "  ulvs bench table\n  ulvs bench table --full --plot table.svg",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := table.Short()
			if f.full {
				p = table.Full()
			}
			return a.benchRun(cmd, f, "table", p.Cases(), func(ctx context.Context, run *measure.Run) error {
				return table.Measure(ctx, run, p)
			})
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) benchSched() *cobra.Command {
	f := &benchFlags{}
	cmd := &cobra.Command{
		Use: "sched", Short: "What each scheduler costs, with 10 to 10 000 real servers",
		Long:    "sched picks real servers from lists of growing length. It needs neither root nor network.",
		Example: "  ulvs bench sched\n  ulvs bench sched --full -o sched.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := picks.Short()
			if f.full {
				p = picks.Full()
			}
			if f.sample == 0 {
				f.sample = 20 * time.Millisecond
			}
			return a.benchRun(cmd, f, "sched", p.Cases(), func(ctx context.Context, run *measure.Run) error {
				return picks.Measure(ctx, run, p)
			})
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) benchGaps() *cobra.Command {
	f := &benchFlags{}
	cmd := &cobra.Command{
		Use: "gaps", Short: "How long a worker ever leaves its queue alone: reloads, replication, a growing table",
		Long: "gaps times every turn of a worker's loop in memory, while the same process reloads 10 000 services,\n" +
			"replicates 100 000 sessions a second, or the table grows. It needs neither root nor network, and a quiet\n" +
			"machine.",
		Example: "  ulvs bench gaps\n  ulvs bench gaps --full",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := gaps.Short()
			if f.full {
				p = gaps.Full()
			}
			if f.rounds == 0 {
				f.rounds = 2
			}
			return a.benchRun(cmd, f, "gaps", 6, func(ctx context.Context, run *measure.Run) error {
				return gaps.Measure(ctx, run, p)
			})
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) benchCompare() *cobra.Command {
	return &cobra.Command{
		Use: "compare OLD NEW", Short: "Say what changed between two results, and whether it can be chance",
		Long: "compare matches two results that -o kept, case by case: medians, their ratio, and the p of benchstat's\n" +
			"Mann-Whitney U test. ~ says that the samples do not tell a difference; five samples each are the fewest that can.",
		Example: "  ulvs bench pipeline -o before.json\n  ulvs bench pipeline -o after.json\n" +
			"  ulvs bench compare before.json after.json",
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			old, err := measure.Read(args[0])
			if err != nil {
				return err
			}
			now, err := measure.Read(args[1])
			if err != nil {
				return err
			}
			changes := measure.Compare(old, now)
			if a.json {
				return printJSON(a.out, changes)
			}
			if old.Machine != now.Machine {
				fmt.Fprintf(a.out, "the machines differ:\n  %s\n  %s\n", old.Machine.String(), now.Machine.String())
			}
			measure.PrintChanges(a.out, changes)
			return nil
		},
	}
}

func (a *app) benchShow() *cobra.Command {
	plot := ""
	cmd := &cobra.Command{
		Use: "show FILE", Short: "Print or draw a result that was kept", Args: cobra.ExactArgs(1),
		Example: "  ulvs bench show before.json --plot before.svg",
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := measure.Read(args[0])
			if err != nil {
				return err
			}
			return a.benchResult(&benchFlags{plot: plot}, r)
		},
	}
	cmd.Flags().StringVar(&plot, "plot", "", "draw it into this SVG `file`")
	return cmd
}
