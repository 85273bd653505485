package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"ulvs/control"
)

func (a *app) healthCommand() *cobra.Command {
	var down bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "List the checks of real servers and what they found last",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := control.NewClient(a.socket).Health(cmd.Context())
			if err != nil {
				return err
			}
			if down {
				list = onlyDown(list)
			}
			if a.json {
				return printJSON(a.out, list)
			}
			printHealth(a.out, list)
			return nil
		},
	}
	cmd.Flags().BoolVar(&down, "down", false, "only real servers that are down")
	return cmd
}

// onlyDown leaves out what is well.
func onlyDown(list []control.ServiceHealth) []control.ServiceHealth {
	out := []control.ServiceHealth{}
	for _, s := range list {
		servers := []control.ServerHealth{}
		for _, r := range s.RealServers {
			if !r.Up {
				servers = append(servers, r)
			}
		}
		if s.RealServers = servers; len(servers) > 0 || !s.Quorum {
			out = append(out, s)
		}
	}
	return out
}

// printHealth writes a line for each check, and one for each real server that has none.
func printHealth(w io.Writer, list []control.ServiceHealth) {
	g := newGrid("  -> RealServer", "State", "Since", "Check", "Last", ">Latency", ">Failed", ">Of")
	for i := range list {
		s := &list[i]
		g.title(quorumLine(s))
		for k := range s.RealServers {
			printServerHealth(g, &s.RealServers[k])
		}
	}
	g.print(w)
}

func quorumLine(s *control.ServiceHealth) string {
	words := "quorum"
	if !s.Quorum {
		words = "QUORUM LOST"
	}
	line := fmt.Sprintf("%s  %s: weight %d of %d needed", s.Service, words, s.Live, s.Needed)
	if s.Suspended {
		line += ", not checked while the VIP is elsewhere"
	}
	return line
}

func printServerHealth(g *grid, r *control.ServerHealth) {
	if len(r.Checks) == 0 {
		g.row("  -> "+r.Address.String(), upWord(r.Up), clock(r.Since), "none", "", "", "", "")
	}
	name := "  -> " + r.Address.String()
	for i := range r.Checks {
		c := &r.Checks[i]
		last, latency := "not yet", ""
		if c.Answers > 0 {
			last, latency = c.Last, time.Duration(c.LatencySeconds*float64(time.Second)).Round(10*time.Microsecond).String()
		}
		g.row(name, upWord(c.Up), clock(c.Since), c.Target, last, latency, c.Failures, c.Answers)
		name = ""
	}
}

func upWord(up bool) string {
	if up {
		return control.StateUp
	}
	return control.StateDown
}

func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
