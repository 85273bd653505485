package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"ulvs/bench/measure"
	"ulvs/bench/standby"
	"ulvs/bench/takeover"
)

func (a *app) benchTakeover() *cobra.Command {
	f := &benchFlags{}
	advert, keepalived := time.Duration(0), false
	cmd := &cobra.Command{
		Use: "takeover", Short: "The gap that clients see when a director dies, and connections that it costs",
		Long: "takeover builds a lab of network namespaces with two directors, kills the master with -9 under traffic,\n" +
			"has it come back, and says what clients saw of both. It needs root: sudo ulvs bench takeover.",
		Example: "  sudo ulvs bench takeover\n  sudo ulvs bench takeover --advert 30ms --rounds 10\n" +
			"  sudo ulvs bench takeover --keepalived     keepalived in the directors' place, too (it has to be installed)",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := takeover.Short()
			if f.full {
				p = takeover.Full()
			}
			if advert > 0 {
				p.Adverts = []time.Duration{advert}
			}
			p.Keepalived = p.Keepalived || keepalived
			if f.rounds == 0 && !f.full {
				f.rounds = 3
			}
			return a.benchRun(cmd, f, "takeover", p.Cases(), func(ctx context.Context, run *measure.Run) error {
				return takeover.Measure(ctx, run, p)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().DurationVar(&advert, "advert", 0, "advert_int of both (default 100ms)")
	cmd.Flags().BoolVar(&keepalived, "keepalived", false, "measure keepalived, too")
	return cmd
}

func (a *app) benchSync() *cobra.Command {
	f := &benchFlags{}
	cmd := &cobra.Command{
		Use: "sync", Short: "How fast sessions get to another director, and what that costs either",
		Long: "sync runs two directors as processes on loopback, tables, logs and sealed sockets as in operation, without\n" +
			"packets. It needs no root.",
		Example: "  ulvs bench sync\n  ulvs bench sync --full     a million sessions, half a million changes a second",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := standby.Short()
			if f.full {
				p = standby.Full()
			}
			return a.benchRun(cmd, f, "sync", p.Cases(), func(ctx context.Context, run *measure.Run) error {
				return standby.Measure(ctx, run, p)
			})
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) loadStandby() *cobra.Command {
	return &cobra.Command{
		Use: "standby PEER", Short: "Be the second director of bench sync", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			peer, err := addrPorts(args)
			if err != nil {
				return err
			}
			return standby.Serve(peer[0], cmd.InOrStdin(), a.out)
		},
	}
}
