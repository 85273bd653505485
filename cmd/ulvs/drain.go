package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ulvs/control"
)

// drainPoll is how often a drain's progress is asked for.
const drainPoll = time.Second

func (a *app) drainCommand() *cobra.Command {
	var r control.DrainRequest
	var timeout time.Duration
	var now bool
	cmd := &cobra.Command{
		Use:   "drain [SERVICE] REAL",
		Short: "Take a real server out of use without breaking sessions",
		Long: "Take a real server out of use: no new sessions, those that there are go on. Shows how many are left until\n" +
			"there are none, or until the timeout; then what is left meets the service's on_failure. The real server\n" +
			"stays drained until: ulvs enable. SERVICE is like 192.0.2.10:80, udp/192.0.2.10:53 or fwm/7; REAL an\n" +
			"address with or without port. An interrupt ends the command, not the drain.",
		Example: "  ulvs drain 192.0.2.10:80 192.0.2.21:80 --timeout 10m\n  ulvs drain --all 192.0.2.21",
		Args:    serverArgs(&r),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout < 0 {
				return misuse{fmt.Errorf("--timeout: %v is negative", timeout)}
			}
			r.TimeoutSeconds = int64(timeout.Seconds())
			return a.drain(cmd.Context(), r, now)
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "end the drain then, whatever is left")
	cmd.Flags().BoolVar(&r.All, "all", false, "of every service that has this real server")
	cmd.Flags().BoolVar(&now, "no-wait", false, "begin and do not wait")
	return cmd
}

func (a *app) enableCommand() *cobra.Command {
	var r control.DrainRequest
	cmd := &cobra.Command{
		Use:     "enable [SERVICE] REAL",
		Short:   "Take a drained real server into use again",
		Example: "  ulvs enable 192.0.2.10:80 192.0.2.21:80\n  ulvs enable --all 192.0.2.21",
		Args:    serverArgs(&r),
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := control.NewClient(a.socket).Enable(cmd.Context(), r)
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(a.out, list)
			}
			for i := range list {
				fmt.Fprintf(a.out, "%s: %s: %s\n", list[i].Service, list[i].RealServer, list[i].State)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&r.All, "all", false, "of every service that has this real server")
	return cmd
}

// serverArgs reads SERVICE REAL, or REAL alone with --all, into r.
func serverArgs(r *control.DrainRequest) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case r.All && len(args) != 1:
			return misuse{fmt.Errorf("--all takes a real server and no service")}
		case !r.All && len(args) != 2:
			return misuse{fmt.Errorf("give a service and a real server, or --all and a real server")}
		case !r.All:
			name, err := control.ServiceName(args[0])
			if err != nil {
				return misuse{err}
			}
			r.Service = name
		}
		var err error
		r.RealServer, err = serverArg(args[len(args)-1])
		return err
	}
}

func serverArg(text string) (netip.AddrPort, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(addr, 0), nil
	}
	ap, err := netip.ParseAddrPort(text)
	if err != nil {
		return ap, misuse{fmt.Errorf("%.60q is no real server; give an address like 192.0.2.21:80 or 192.0.2.21", text)}
	}
	return ap, nil
}

// drain begins a drain and shows its progress until it is over.
func (a *app) drain(ctx context.Context, r control.DrainRequest, now bool) error {
	client := control.NewClient(a.socket)
	list, err := client.Drain(ctx, r)
	if err != nil {
		return err
	}
	ours := map[string]bool{}
	for i := range list {
		ours[drainName(&list[i])] = true
	}
	shown := ""
	for {
		if text := progress(list); !a.json && text != shown {
			io.WriteString(a.out, text)
			shown = text
		}
		if now || ended(list) {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(drainPoll):
		}
		if list, err = client.Drains(ctx); err != nil {
			return err
		}
		list = only(list, ours)
	}
	if a.json {
		return printJSON(a.out, list)
	}
	return nil
}

func drainName(d *control.Drain) string { return d.Service + " " + d.RealServer.String() }

func only(list []control.Drain, ours map[string]bool) (out []control.Drain) {
	for i := range list {
		if ours[drainName(&list[i])] {
			out = append(out, list[i])
		}
	}
	return out
}

// ended reports whether nothing is being drained any more: drained, or enabled by somebody meanwhile.
func ended(list []control.Drain) bool {
	for i := range list {
		if list[i].State == control.StateDraining {
			return false
		}
	}
	return true
}

func progress(list []control.Drain) string {
	var b strings.Builder
	for i := range list {
		d := &list[i]
		fmt.Fprintf(&b, "%s: %s: %s, %d sessions left\n", d.Service, d.RealServer, d.State, d.SessionsLeft)
	}
	return b.String()
}
