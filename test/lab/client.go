package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// clientCommand runs Load where it is called: "ip netns exec ulvs-c1 ulvs lab client ...".
func clientCommand() *cobra.Command {
	var o LoadOptions
	var source string
	cmd := &cobra.Command{
		Use: "client http|tcp|udp ADDRESS:PORT", Hidden: true, Short: "Be a client here: make requests, say who answered",
		Args: cobra.ExactArgs(2), ValidArgs: []string{string(KindHTTP), string(KindTCP), string(KindUDP)},
	}
	f := cmd.Flags()
	f.IntVarP(&o.Connections, "connections", "c", 1, "how many in all; for udp, sockets")
	f.IntVarP(&o.Parallel, "parallel", "p", 1, "of those, open at once")
	f.IntVarP(&o.Requests, "requests", "n", 1, "on each connection")
	f.Int64Var(&o.Download, "download", 0, "bytes of each answer (http)")
	f.Int64Var(&o.Upload, "upload", 0, "bytes of each request")
	f.BoolVar(&o.Together, "together", false, "open all parallel connections before the first request")
	f.DurationVar(&o.Timeout, "timeout", DefaultTimeout, "of a connect and of a request")
	f.StringVar(&source, "source", "", "the client's address")
	jsonOut := asJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		o.Kind = Kind(args[0])
		if o.Target, err = netip.ParseAddrPort(args[1]); err != nil {
			return fmt.Errorf("target: want ADDRESS:PORT: %w", err)
		}
		if source != "" {
			if o.Source, err = netip.ParseAddr(source); err != nil {
				return fmt.Errorf("source: %w", err)
			}
		}
		return runClient(cmd, o, *jsonOut)
	}
	return cmd
}

// runClient prints the report, and fails when a request did.
func runClient(cmd *cobra.Command, o LoadOptions, jsonOut bool) error {
	ctx, cancel := signal.NotifyContext(orBackground(cmd.Context()), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	r, err := Load(ctx, o)
	if err != nil {
		return err
	}
	if jsonOut {
		err = printJSON(cmd.OutOrStdout(), r)
	} else {
		err = r.Print(cmd.OutOrStdout())
	}
	if err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return r.Err()
}
