package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"ulvs/bench/measure"
	"ulvs/bench/takeover"
	"ulvs/test/lab"
)

func main() {
	lab.RunHelper() // the takeovers' servers are this executable
	var o options
	flag.StringVar(&o.binary, "ulvs", "bin/ulvs", "the ulvs to race")
	flag.IntVar(&o.rounds, "rounds", 3, "how often everybody has a turn; 1 is also quicker in what it does")
	flag.StringVar(&o.only, "only", "", "contenders whose name contains this, and kernel forwarding")
	folder := flag.String("o", "", "keep JSON and plots in this folder")
	flag.Parse()
	if err := race1(o, *folder); err != nil {
		fmt.Fprintln(os.Stderr, "versus:", err)
		os.Exit(1)
	}
}

// Slices of time in which everything but UDP's search is measured.
const (
	slice      = time.Second
	quickSlice = 300 * time.Millisecond
)

// race1 holds one race and prints it. One that is interrupted prints what it has.
func race1(o options, folder string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	binary, err := filepath.Abs(o.binary)
	if err != nil {
		return err
	}
	o.binary, o.quick, o.slice = binary, o.rounds == 1, slice
	if o.quick {
		o.slice = quickSlice
	}
	run := measure.Start(measure.Options{Bench: "versus", Version: "(races)", Rounds: o.rounds, Sample: o.slice,
		Progress: measure.Terminal(os.Stderr)})
	run.Result.Settings["links"] = "veth, all offloads off at all ends, MTU 1500, XDP copy mode"
	run.Result.Settings["nice"] = fmt.Sprint(nice())
	err = hold(ctx, run, o)
	r := run.Finish()
	if len(r.Rows) == 0 {
		return err
	}
	r.Print(os.Stdout)
	fmt.Println("\nRatios to kernel forwarding of the same round, medians:")
	fmt.Println()
	compared := ratios(r)
	compared.PrintTable(os.Stdout)
	err = errors.Join(err, keep(r, compared, folder))
	if err != nil || o.only != "" && o.only != "keepalived" {
		return err
	}
	return takeovers(ctx, o, folder)
}

// takeovers kills directors, ulvs and keepalived in turns.
func takeovers(ctx context.Context, o options, folder string) error {
	run := measure.Start(measure.Options{Bench: "takeover", Version: "(races)", Rounds: o.rounds,
		Progress: measure.Terminal(os.Stderr)})
	p := takeover.Short()
	p.Binary, p.Keepalived = o.binary, true
	if err := takeover.Measure(ctx, run, p); err != nil {
		return err
	}
	r := run.Finish()
	fmt.Println()
	r.Print(os.Stdout)
	if folder == "" {
		return nil
	}
	return write(r, filepath.Join(folder, "takeover.json"))
}

func nice() int {
	n, _ := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	return 20 - n // as the system call has it
}

func write(r *measure.Result, file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// keep writes the JSON and a plot of each of the main metrics.
func keep(r, compared *measure.Result, folder string) error {
	if folder == "" {
		return nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	errs := []error{write(r, filepath.Join(folder, "versus.json"))}
	for file, metric := range map[string]string{
		"new-conn": newConns, "requests": requests, "udp": udpRate, "bulk": bulkRate, "cpu-conn": "cpu/conn", "p50": "p50",
	} {
		compared.Plot = measure.Plot{Metric: metric}
		errs = append(errs, compared.WritePlot(filepath.Join(folder, file+".svg")))
	}
	return errors.Join(errs...)
}
