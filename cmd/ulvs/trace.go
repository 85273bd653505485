package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"ulvs/control"
)

func (a *app) traceCommand() *cobra.Command {
	var port string
	cmd := &cobra.Command{
		Use:   "trace FLOW",
		Short: "Say where a packet would go, and why",
		Long: "trace asks the running ulvs which service, session, real server and next hop a packet would meet, and\n" +
			"how it would end. Nothing is sent, counted or changed: schedulers stay where they are.",
		Example: "  ulvs trace \"tcp 192.0.2.1:40000 > 192.168.1.8:80\"\n" +
			"  ulvs trace \"tcp 10.0.0.21:80 > 192.0.2.1:40000 ack\"     the reply of a NAT real server\n" +
			"  ulvs trace \"icmp 192.0.2.1 > 192.168.1.8\"",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := control.ParseFlow(strings.Join(args, " "))
			if err != nil {
				return misuse{err}
			}
			f.Port = port
			out, err := control.NewClient(a.socket).Trace(cmd.Context(), f)
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(a.out, out)
			}
			printTrace(a.out, &out)
			return nil
		},
	}
	cmd.Flags().StringVar(&port, "interface", "", "it arrives on; default: where the route to its source leads")
	return cmd
}

func printTrace(w io.Writer, t *control.Trace) {
	fmt.Fprintf(w, "%s, arriving on %s\n", t.Flow, t.Port)
	for _, step := range t.Steps {
		fmt.Fprintf(w, "  %s\n", step)
	}
	fmt.Fprintf(w, "%s\n", t.Verdict)
}
