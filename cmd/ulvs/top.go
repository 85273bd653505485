package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ulvs/control"
	"ulvs/control/top"
)

// minInterval keeps a typing error from asking the director all the time.
const minInterval = 100 * time.Millisecond

func (a *app) topCommand() *cobra.Command {
	o := top.Options{}
	var once bool
	var vip string
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch services, real servers, rates, drops and workers live",
		Long: "Watch services, real servers, rates, drops and workers live; ? shows the keys.\n" +
			"With --once, with --json, or into a pipe: one table, with rates averaged over some seconds.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Filter.VIP, err = control.ParseMatch(vip); err != nil {
				return misuse{fmt.Errorf("--vip: %w", err)}
			}
			if o.Interval < minInterval {
				return misuse{fmt.Errorf("--interval %v is too short; give %v or more", o.Interval, minInterval)}
			}
			o.Source = control.NewClient(a.socket)
			return a.top(cmd, o, once)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "print one table and end")
	cmd.Flags().DurationVar(&o.Interval, "interval", top.DefaultInterval, "time between two looks")
	cmd.Flags().StringVar(&o.Sort, "sort", "", "sort by: "+strings.Join(top.SortWords(), ", "))
	cmd.Flags().StringVar(&vip, "vip", "", "only services of this address, prefix or address:port")
	cmd.Flags().StringVar(&o.Filter.Protocol, "protocol", "", "only tcp or only udp")
	return cmd
}

func (a *app) top(cmd *cobra.Command, o top.Options, once bool) error {
	out, isFile := a.out.(*os.File)
	var err error
	if once || a.json || !isFile || !top.IsTerminal(out) || !top.IsTerminal(os.Stdin) {
		err = top.Once(cmd.Context(), o, a.out, a.json)
	} else {
		err = top.Run(cmd.Context(), o, os.Stdin, out)
	}
	if errors.Is(err, top.ErrSort) {
		return misuse{err}
	}
	return err
}
