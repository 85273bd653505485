package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ulvs/config"
	"ulvs/control"
	"ulvs/tuning"
)

// defaultConfig is where the package has its configuration.
const defaultConfig = "/etc/ulvs/ulvs.toml"

// tuneFlags say what is planned for.
type tuneFlags struct {
	interfaces []string
	journal    string
	all        bool
}

func (a *app) tuneCommand() *cobra.Command {
	var f tuneFlags
	cmd := &cobra.Command{
		Use:   "tune",
		Short: "Fit cores, queues, interrupts and offloads of this machine to the data plane, and back",
		Long: "Reads the machine and plans what it should be for the data plane: one worker per queue, as many queues as\n" +
			"cores, interrupts on their workers' cores, offloads, rings, huge pages, frequencies. Without FILE and\n" +
			"--interface it plans for the ulvs that runs, or for " + defaultConfig + ". See docs/tuning.md.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&f.journal, "journal", tuning.DefaultJournal, "file with what was there before")
	plan := &cobra.Command{
		Use: "plan [FILE]", Short: "Show what is, what should be, and why; change nothing", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.tunePlan(cmd.Context(), args, &f) },
	}
	plan.Flags().BoolVar(&f.all, "all", false, "show every setting on its own line, also those that are as they should be")
	apply := &cobra.Command{
		Use: "apply [FILE]", Short: "Do what plan shows, all of it or nothing", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.tuneApply(cmd.Context(), args, &f) },
	}
	for _, c := range []*cobra.Command{plan, apply} {
		c.Flags().StringSliceVarP(&f.interfaces, "interface", "i", nil, "NICs that carry VIP traffic, instead of FILE's")
	}
	undo := &cobra.Command{
		Use: "undo", Short: "Put back what was there before the first apply", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.tuneUndo(&f) },
	}
	status := &cobra.Command{
		Use: "status", Short: "Show whether the machine is tuned, and what others changed since", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.tuneStatus(&f) },
	}
	cmd.AddCommand(plan, apply, undo, status)
	return cmd
}

// tuner changes this machine.
func (f *tuneFlags) tuner() (*tuning.Tuner, tuning.FileStore) {
	store := tuning.FileStore{Path: f.journal}
	return &tuning.Tuner{Host: &tuning.System{Tool: tuning.KernelTool{}}, Store: store, Read: readMachine}, store
}

func readMachine() *tuning.Machine { return tuning.Read("", tuning.KernelTool{}) }

// wish finds out what to plan for: the flags, a file, the ulvs that runs, or the usual file. running says that
// there is such a ulvs.
func (a *app) wish(ctx context.Context, args []string, f *tuneFlags) (w tuning.Wish, running bool, err error) {
	st, err := control.NewClient(a.socket).Status(ctx)
	running = err == nil
	if len(f.interfaces) > 0 {
		w = tuning.Wish{Interfaces: f.interfaces}
		return w, running, nil
	}
	path := ""
	switch {
	case len(args) == 1:
		path = args[0]
	case running && st.ConfigPath != "":
		path = st.ConfigPath
	default:
		path = defaultConfig
		if _, err := os.Stat(path); err != nil {
			return w, running, misuse{errors.New("no ulvs runs and there is no " + path +
				": name the configuration, or the NICs with --interface eth0")}
		}
	}
	c, err := config.Load(path, machine(false))
	if err != nil {
		return w, running, configFailure(err)
	}
	w = wishOf(c)
	if running && len(args) == 0 && len(w.CPUs) == 0 {
		w.CPUs = workerCPUs(&st)
	}
	return w, running, nil
}

func wishOf(c *config.Config) tuning.Wish {
	return tuning.Wish{
		Interfaces: c.Node.Interfaces, Workers: c.Node.Workers, CPUs: c.Node.CPUs, Frames: c.Node.Frames,
		KeepIRQs: !c.Tuning.PinIRQs, KeepBalancer: !c.Tuning.StopIrqbalance,
		ReserveCores: c.Tuning.ReserveCores,
	}
}

// workerCPUs returns where workers run; nil if not all of them are pinned.
func workerCPUs(st *control.Status) (cpus []int) {
	for _, w := range st.Workers {
		if w.CPU < 0 {
			return nil
		}
		cpus = append(cpus, w.CPU)
	}
	return cpus
}

func (a *app) tunePlan(ctx context.Context, args []string, f *tuneFlags) error {
	w, _, err := a.wish(ctx, args, f)
	if err != nil {
		return err
	}
	p, err := tuning.MakePlan(readMachine(), w)
	if err != nil {
		return err
	}
	if a.json {
		return printJSON(a.out, p)
	}
	printTunePlan(a.out, p, f.all)
	return nil
}

func (a *app) tuneApply(ctx context.Context, args []string, f *tuneFlags) error {
	w, running, err := a.wish(ctx, args, f)
	if err != nil {
		return err
	}
	t, store := f.tuner()
	unlock, err := store.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	p, err := tuning.MakePlan(readMachine(), w)
	if err != nil {
		return err
	}
	if running && p.ChangesQueues() {
		return errors.New("ulvs runs, and its workers serve the queues that there are now: stop it, tune, and start it again")
	}
	done := 0
	t.Progress = func(it tuning.Item) {
		done++
		if !a.json {
			fmt.Fprintf(a.out, "%3d  %s %s: %s -> %s\n", done, it.Subject, it.What, it.Now, it.Wanted)
		}
	}
	begin := time.Now()
	if p, err = t.Apply(w); err != nil {
		return err
	}
	if a.json {
		return printJSON(a.out, p)
	}
	fmt.Fprintf(a.out, "%s changed in %v; ulvs tune undo puts everything back\n", count(done, "setting"),
		time.Since(begin).Round(time.Millisecond))
	return nil
}

func (a *app) tuneUndo(f *tuneFlags) error {
	t, store := f.tuner()
	unlock, err := store.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	u, err := t.Undo()
	switch {
	case err != nil:
		return err
	case a.json:
		return printJSON(a.out, u)
	case u.Stale:
		fmt.Fprintln(a.out, "the machine was restarted since it was tuned: nothing to put back")
		return nil
	case u.Restored+len(u.Gone) == 0:
		fmt.Fprintln(a.out, "the machine is not tuned: nothing to put back")
		return nil
	}
	fmt.Fprintf(a.out, "%s as before\n", count(u.Restored, "setting"))
	printList(a.out, "changed by others since, put back all the same:", u.Changed)
	printList(a.out, "not there any more:", u.Gone)
	return nil
}

func printList(w io.Writer, title string, list []string) {
	if len(list) > 0 {
		fmt.Fprintf(w, "%s\n  %s\n", title, strings.Join(list, "\n  "))
	}
}

func (a *app) tuneStatus(f *tuneFlags) error {
	t, _ := f.tuner()
	st, err := t.Status()
	switch {
	case err != nil:
		return err
	case a.json:
		return printJSON(a.out, st)
	case st.Stale:
		fmt.Fprintln(a.out, "not tuned since the machine was started")
		return nil
	case !st.Applied:
		fmt.Fprintln(a.out, "not tuned")
		return nil
	case !st.Complete:
		fmt.Fprintln(a.out, "tuned in part: an apply was cut short; run ulvs tune apply again, or ulvs tune undo")
	}
	fmt.Fprintf(a.out, "tuned: %s\n", count(st.Settings, "setting"))
	for _, d := range st.Drifted {
		fmt.Fprintf(a.out, "  %s: applied %.40s, now %.40s\n", d.Setting, d.Applied, orDash(d.Now))
	}
	return nil
}

// tuneFirst tunes the machine before ulvs starts. What fails has been taken back, and is no reason not to forward.
func tuneFirst(c *config.Config, log *slog.Logger) {
	if !c.Tuning.Apply {
		return
	}
	if err := tuning.UnlimitMemlock(); err != nil {
		log.Warn("not tuned", "err", err)
	}
	t, store := (&tuneFlags{journal: tuning.DefaultJournal}).tuner()
	unlock, err := store.Lock()
	if err != nil {
		log.Warn("the machine is not tuned", "err", err)
		return
	}
	defer unlock()
	n := 0
	t.Progress = func(it tuning.Item) {
		n++
		log.Debug("tune", "setting", it.Setting.String(), "now", it.Now, "wanted", it.Wanted)
	}
	p, err := t.Apply(wishOf(c))
	if err != nil {
		log.Warn("the machine is not tuned", "err", err)
		return
	}
	log.Info("machine tuned", "changed", n, "undo", "ulvs tune undo")
	for _, note := range p.Notes {
		log.Warn("tuning", "note", note)
	}
}
