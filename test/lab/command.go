package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ulvs/lvs"
)

// readyLine is what "lab serve" prints when it listens.
const readyLine = "ready"

// Command returns "lab" with its sub-commands, for the ulvs binary.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "A small site of network namespaces: client, director, real servers",
		Long: "A small site of network namespaces to try ulvs in: a client, a director with two NICs, real servers\n" +
			"set up for DR, NAT and TUN, and a gateway. It needs root, and touches nothing that it did not make.",
		SilenceUsage: true, SilenceErrors: true,
	}
	cmd.AddCommand(upCommand(), downCommand(), statusCommand(), configCommand(), serveCommand(), clientCommand(),
		payloadCommand())
	return cmd
}

// asJSON adds --json to a command.
func asJSON(cmd *cobra.Command) *bool { return cmd.Flags().Bool("json", false, "print JSON") }

func addPrefix(cmd *cobra.Command, prefix *string) {
	cmd.Flags().StringVar(prefix, "prefix", DefaultPrefix, "what the names of the namespaces begin with")
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func upCommand() *cobra.Command {
	var o Options
	cmd := &cobra.Command{Use: "up", Short: "Bring the lab up; does nothing if it stands", Args: cobra.NoArgs}
	f := cmd.Flags()
	addPrefix(cmd, &o.Prefix)
	f.IntVar(&o.RealServers, "real-servers", DefaultRealServers, "how many")
	f.IntVar(&o.Directors, "directors", 1, "how many")
	f.IntVar(&o.Queues, "queues", 1, "of each director port")
	f.IntVar(&o.MTU, "mtu", DefaultMTU, "bytes")
	f.IntVar(&o.ServerMTU, "server-mtu", 0, "bytes, of the server side (default: as --mtu)")
	f.BoolVar(&o.VLAN, "vlan", false, "director ports carry 802.1Q tags")
	f.BoolVar(&o.Bare, "bare", false, "real servers are not set up: ulvs realserver does that")
	jsonOut := asJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		begin := time.Now()
		l, err := Up(orBackground(cmd.Context()), o)
		if err != nil {
			return err
		}
		st, err := l.Status()
		if err != nil {
			return err
		}
		if *jsonOut {
			return printJSON(cmd.OutOrStdout(), st)
		}
		_, _ = fmt.Fprintf(cmd.OutOrStdout(), "lab %s is up (%d namespaces, %.1f s)\n\n",
			st.Prefix, len(st.Namespaces), time.Since(begin).Seconds())
		return errors.Join(st.print(cmd.OutOrStdout()), st.printNext(cmd.OutOrStdout()))
	}
	return cmd
}

func downCommand() *cobra.Command {
	var prefix string
	cmd := &cobra.Command{Use: "down", Short: "Take the lab down, processes in it included", Args: cobra.NoArgs}
	addPrefix(cmd, &prefix)
	jsonOut := asJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		n, err := Down(orBackground(cmd.Context()), prefix)
		if err != nil {
			return err
		}
		if *jsonOut {
			return printJSON(cmd.OutOrStdout(), map[string]any{"prefix": prefix, "removed": n})
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "lab %s is down (%d namespaces removed)\n", prefix, n)
		return err
	}
	return cmd
}

func statusCommand() *cobra.Command {
	var prefix string
	cmd := &cobra.Command{Use: "status", Short: "What stands of the lab", Args: cobra.NoArgs}
	addPrefix(cmd, &prefix)
	jsonOut := asJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		st, err := Inspect(prefix)
		if err != nil {
			return err
		}
		if *jsonOut {
			return printJSON(cmd.OutOrStdout(), st)
		}
		return st.print(cmd.OutOrStdout())
	}
	return cmd
}

// print writes the table of namespaces and the VIPs.
func (s *Status) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "NAMESPACE\tSTATE\tROLE\tIPV4\tIPV6\tPROCESSES")
	for _, ns := range s.Namespaces {
		var v4, v6 []string
		for _, a := range ns.Addresses {
			v4, v6 = append(v4, a.IPv4.String()), append(v6, a.IPv6.String())
		}
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%d\n", ns.Name, ns.State, ns.Role,
			strings.Join(v4, " "), strings.Join(v6, " "), len(ns.Processes))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	a := s.Addresses
	_, err := fmt.Fprintf(w, "\nVIPs: dr %s %s  nat %s %s  tun %s %s\n",
		a.DR.IPv4, a.DR.IPv6, a.NAT.IPv4, a.NAT.IPv6, a.TUN.IPv4, a.TUN.IPv6)
	return err
}

// printNext says what can be done with the lab, as lines to type.
func (s *Status) printNext(w io.Writer) error {
	p := s.Prefix
	_, err := fmt.Fprintf(w, `
Next: servers    ip netns exec %[1]s-r1 ulvs lab serve --name r1 --http :80 --tcp :7 --udp :7    (r2 ... alike)
      director   ulvs lab config --prefix %[1]s --method dr >lab.toml; ip netns exec %[1]s-d1 ulvs run lab.toml
      client     ip netns exec %[1]s-c1 ulvs lab client http %[2]s:80 --connections 9
`, p, s.Addresses.DR.IPv4)
	return err
}

func configCommand() *cobra.Command {
	var prefix string
	var methods []string
	var c ConfigOptions
	cmd := &cobra.Command{Use: "config", Short: "Print a director's configuration for the lab", Args: cobra.NoArgs}
	f := cmd.Flags()
	addPrefix(cmd, &prefix)
	f.StringVar(&c.Director, "director", "d1", "whose")
	f.StringSliceVar(&methods, "method", nil, "dr, nat, tun (default: all)")
	f.IntVar(&c.Family, "family", 0, "4 or 6 (default: both)")
	f.BoolVar(&c.CrossFamily, "cross-family", false, "tun: IPv4 in IPv6 and the other way round")
	f.StringVar(&c.Scheduler, "scheduler", "rr", "of every service")
	f.StringVar(&c.IO, "io", "", "afxdp or asavie")
	f.StringVar(&c.XDPMode, "xdp-mode", "", "as the configuration's xdp_mode")
	f.IntVar(&c.Workers, "workers", 0, "how many (default: one for each queue)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, word := range methods {
			m, ok := lvs.ParseMethod(word)
			if !ok {
				return fmt.Errorf("method %q: want dr, nat or tun", word)
			}
			c.Methods = append(c.Methods, m)
		}
		l, err := Open(prefix)
		if err != nil {
			return err
		}
		_, err = io.WriteString(cmd.OutOrStdout(), l.Config(c))
		return err
	}
	return cmd
}

func serveCommand() *cobra.Command {
	var o ServeOptions
	cmd := &cobra.Command{
		Use: "serve", Hidden: true, Short: "Be a real server here: HTTP, TCP echo, UDP echo", Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&o.Name, "name", "", "what every answer begins with")
	f.StringVar(&o.HTTP, "http", "", "listen address of the web server")
	f.StringVar(&o.TCP, "tcp", "", "listen address of the TCP echo")
	f.StringVar(&o.UDP, "udp", "", "listen address of the UDP echo")
	untilEOF := f.Bool("until-eof", false, "end with standard input")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := signal.NotifyContext(orBackground(cmd.Context()), os.Interrupt, syscall.SIGTERM)
		defer cancel()
		if *untilEOF {
			go func() {
				_, _ = io.Copy(io.Discard, cmd.InOrStdin())
				cancel()
			}()
		}
		return Serve(ctx, o, func() { _, _ = fmt.Fprintln(cmd.OutOrStdout(), readyLine) })
	}
	return cmd
}

func payloadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "payload", Hidden: true, Short: "Print the payload that clients verify", Args: cobra.NoArgs,
	}
	n := cmd.Flags().Int64("bytes", 1<<20, "how many")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		_, err := io.Copy(cmd.OutOrStdout(), NewPayload(*n))
		return err
	}
	return cmd
}

// orBackground is for a command that was executed without a context.
func orBackground(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}
