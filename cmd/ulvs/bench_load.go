package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ulvs/bench/load"
)

// benchLoad is the two ends of the benchmarks' traffic, for namespaces: the benchmarks start them.
func (a *app) benchLoad() *cobra.Command {
	cmd := &cobra.Command{
		Use: "load", Hidden: true, Short: "Be an end of a benchmark's traffic here", Example: "  ulvs bench load serve",
	}
	cmd.AddCommand(a.loadServe(), a.loadClient(), a.loadHold(), a.loadSend(), a.loadGenerate(), a.loadSink(),
		a.loadStandby())
	return cmd
}

// untilEnd is done by a signal, or with standard input. A signal that comes after that is heard, too: the end may
// have something left to say.
func untilEnd(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	heard, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(heard)
	go func() {
		_, _ = io.Copy(io.Discard, cmd.InOrStdin())
		cancel()
	}()
	return ctx, func() { cancel(); stop() }
}

func (a *app) loadServe() *cobra.Command {
	cmd := &cobra.Command{Use: "serve", Short: "Answer until standard input ends", Args: cobra.NoArgs}
	port := cmd.Flags().Uint16("port", 7, "TCP and UDP")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := load.Listen(*port)
		if err != nil {
			return err
		}
		defer s.Close()
		ctx, cancel := untilEnd(cmd)
		defer cancel()
		fmt.Fprintln(a.out, "ready")
		return s.Serve(ctx)
	}
	return cmd
}

// loadFlags are those of clients.
func loadFlags(cmd *cobra.Command, o *load.Options) (sources *[]string) {
	f := cmd.Flags()
	f.IntVar(&o.Parallel, "connections", 32, "at a time")
	f.IntVar(&o.Size, "size", 64, "bytes of a request and of an answer")
	f.DurationVar(&o.Duration, "time", 5*time.Second, "how long")
	f.BoolVar(&o.HTTP, "http", false, "the targets are web servers")
	return f.StringSlice("source", nil, "addresses of ours to use in turn")
}

// loadOptions reads the arguments of a client.
func loadOptions(o *load.Options, targets, sources []string) (err error) {
	if o.Targets, err = addrPorts(targets); err != nil {
		return err
	}
	for _, text := range sources {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return misuse{fmt.Errorf("source: %w", err)}
		}
		o.Sources = append(o.Sources, a)
	}
	return nil
}

func addrPorts(texts []string) (list []netip.AddrPort, err error) {
	for _, text := range texts {
		t, err := netip.ParseAddrPort(text)
		if err != nil {
			return nil, misuse{fmt.Errorf("target: want ADDRESS:PORT: %w", err)}
		}
		list = append(list, t)
	}
	return list, nil
}

func (a *app) loadClient() *cobra.Command {
	var o load.Options
	cmd := &cobra.Command{Use: "client TARGET...", Short: "Make connections or requests", Args: cobra.MinimumNArgs(1)}
	sources := loadFlags(cmd, &o)
	mode := cmd.Flags().String("mode", string(load.Connect), "connect or request")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := loadOptions(&o, args, *sources); err != nil {
			return err
		}
		o.Mode = load.Mode(*mode)
		r, err := load.Run(cmd.Context(), o)
		if err != nil {
			return err
		}
		return printJSON(a.out, r)
	}
	return cmd
}

func (a *app) loadHold() *cobra.Command {
	var o load.Options
	cmd := &cobra.Command{
		Use: "hold TARGET...", Short: "Open connections and hold them until standard input ends", Args: cobra.MinimumNArgs(1),
	}
	sources := loadFlags(cmd, &o)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := loadOptions(&o, args, *sources); err != nil {
			return err
		}
		ctx, cancel := untilEnd(cmd)
		defer cancel()
		_, err := load.Hold(ctx, o, func(n int) { fmt.Fprintln(a.out, "ready", n) })
		return err
	}
	return cmd
}

func (a *app) loadSend() *cobra.Command {
	var o load.SendOptions
	cmd := &cobra.Command{Use: "send TARGET...", Short: "Send datagrams at a rate", Args: cobra.MinimumNArgs(1)}
	f := cmd.Flags()
	f.IntVar(&o.Rate, "rate", 1000, "datagrams per second")
	f.IntVar(&o.Flows, "flows", 64, "sockets")
	f.IntVar(&o.Size, "size", 18, "bytes of payload")
	f.DurationVar(&o.Duration, "time", time.Second, "how long")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if o.Targets, err = addrPorts(args); err != nil {
			return err
		}
		r, err := load.Send(cmd.Context(), o)
		if err != nil {
			return err
		}
		return printJSON(a.out, r)
	}
	return cmd
}
