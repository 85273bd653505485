package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ulvs/config"
	"ulvs/control"
)

func (a *app) checkCommand() *cobra.Command {
	var offline bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration and show what would run",
		Args:  oneFile,
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := config.Load(args[0], machine(offline))
			if err != nil {
				return a.checkFailure(hintImport(args[0], err))
			}
			plan := planOf(c)
			if a.json {
				return printJSON(a.out, plan)
			}
			printPlan(a.out, args[0], &plan)
			return nil
		},
	}
	cmd.Flags().BoolVar(&offline, "offline", false,
		"the file is for another machine: do not look for its interfaces and CPUs")
	return cmd
}

// plan is what check reports about a good file.
type plan struct {
	OK       bool              `json:"ok"`
	Errors   []planError       `json:"errors"`
	Node     *config.Node      `json:"node,omitempty"`
	Timeouts *planTimeouts     `json:"timeouts,omitempty"`
	Services []control.Service `json:"services"`
}

type planTimeouts struct {
	TCP    int64 `json:"tcp_seconds"`
	TCPFin int64 `json:"tcpfin_seconds"`
	UDP    int64 `json:"udp_seconds"`
}

type planError struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Key     string `json:"key"`
	Message string `json:"message"`
}

// checkFailure is the error of check; with --json the list is also on standard output.
func (a *app) checkFailure(err error) error {
	var list config.ErrorList
	if !errors.As(err, &list) {
		return err
	}
	if a.json {
		p := plan{Errors: make([]planError, len(list)), Services: []control.Service{}}
		for i, e := range list {
			p.Errors[i] = planError{e.File, e.Line, e.Key, e.Msg}
		}
		return errors.Join(errors.New("the file has errors"), printJSON(a.out, p))
	}
	return configFailure(err)
}

func planOf(c *config.Config) plan {
	p := plan{OK: true, Errors: []planError{}, Services: []control.Service{}}
	p.Node = &c.Node
	p.Timeouts = &planTimeouts{seconds(c.Timeouts.TCP), seconds(c.Timeouts.TCPFin), seconds(c.Timeouts.UDP)}
	for _, s := range c.Services() {
		p.Services = append(p.Services, control.ServiceOf(&s))
	}
	sortServices(p.Services)
	return p
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func printPlan(w io.Writer, path string, p *plan) {
	n := p.Node
	fmt.Fprintf(w, "%s is good. ulvs run would start:\n\n", path)
	g := newGrid("Setting", "Value")
	g.row("name", n.Name)
	g.row("interfaces", strings.Join(n.Interfaces, ", "))
	g.row("workers", workersWord(n))
	g.row("io", fmt.Sprintf("%s, xdp mode %s, idle %s, %d frames per worker", n.IO, n.XDPMode, n.Idle, n.Frames))
	g.row("VIPs", vipWord(n.VIPMode))
	g.row("sessions", sessionsWord(n))
	t := p.Timeouts
	g.row("timeouts", fmt.Sprintf("tcp %s, tcpfin %s, udp %s", period(t.TCP), period(t.TCPFin), period(t.UDP)))
	g.row("control socket", n.ControlSocket)
	g.print(w)
	fmt.Fprintln(w)
	printServices(w, p.Services, columns{[]string{"Forward", ">Weight", ">Upper", ">Lower"}, noCells,
		func(r *control.RealServer) []any {
			return []any{forward(r.Method), r.Weight, r.UpperThreshold, r.LowerThreshold}
		}})
}

func workersWord(n *config.Node) string {
	count := "one per queue"
	if n.Workers > 0 {
		count = fmt.Sprint(n.Workers)
	}
	if n.CPUs == nil {
		return count + ", cores chosen at start"
	}
	return fmt.Sprintf("%s, on cores %s", count, strings.Trim(fmt.Sprint(n.CPUs), "[]"))
}

func vipWord(m config.VIPMode) string {
	if m == config.VIPNetlink {
		return "on the interfaces"
	}
	return "in userspace: on no interface, ulvs answers ARP and ND"
}

func sessionsWord(n *config.Node) string {
	limit := "no limit"
	if n.MaxConns > 0 {
		limit = fmt.Sprintf("limit %d", n.MaxConns)
	}
	return fmt.Sprintf("table sized for %d, %s", 1<<n.ConnTabBits, limit)
}

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Help with configuration files",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "example",
		Short: "Print a commented configuration with every key",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(a.out, config.Example())
			return err
		},
	})
	return cmd
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return printJSON(a.out, map[string]string{"version": version()})
			}
			_, err := fmt.Fprintln(a.out, "ulvs", version())
			return err
		},
	}
}
