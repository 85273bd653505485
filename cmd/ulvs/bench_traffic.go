package main

import (
	"context"

	"github.com/spf13/cobra"

	"ulvs/bench/measure"
	"ulvs/bench/tcp"
)

func (a *app) benchTCP() *cobra.Command {
	f := &benchFlags{}
	web, connections := false, 0
	cmd := &cobra.Command{
		Use: "tcp [ADDRESS:PORT]", Short: "Connections and requests per second, and what they take",
		Long: "tcp drives the TCP service at an address, which need not be ulvs's: a web server with --http, or the other\n" +
			"end of this benchmark (ulvs bench load serve --port 7). Without an address it builds a lab of network\n" +
			"namespaces and measures ulvs there, beside the kernel's own forwarding; that needs root, touches nothing else\n" +
			"and leaves nothing.",
		Example: "  sudo ulvs bench tcp                        in a lab of its own\n" +
			"  ulvs bench tcp 192.168.1.8:80 --http       through a director, from here\n" +
			"  ulvs bench tcp 10.0.0.21:80 --http         the same server without it",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			p := tcp.Short()
			if f.full {
				p = tcp.Full()
			}
			if p.Targets, err = addrPorts(args); err != nil {
				return err
			}
			p.HTTP, p.Connections = web, connections
			if f.sample > 0 {
				p.Sample = f.sample
			}
			return a.benchRun(cmd, f, "tcp", p.Cases(), func(ctx context.Context, run *measure.Run) error {
				return tcp.Measure(ctx, run, p)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&web, "http", false, "the target is a web server: GET /")
	cmd.Flags().IntVar(&connections, "connections", 32, "at a time")
	return cmd
}
