package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ulvs/control"
)

func (a *app) syncCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Show whether the other directors have all sessions, and this one theirs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := control.NewClient(a.socket).Sync(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(a.out, v)
			}
			printSync(a.out, &v)
			return nil
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use: "keygen", Short: "Print a new key for key_file of [sync]; all directors share it", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			var key [32]byte
			_, _ = rand.Read(key[:]) // never fails
			_, err := fmt.Fprintln(a.out, base64.StdEncoding.EncodeToString(key[:]))
			return err
		},
	})
	return cmd
}

func printSync(w io.Writer, v *control.Sync) {
	if v.Address != "" {
		printPeers(w, v)
	}
	if len(v.IPVS) > 0 {
		printIPVS(w, v.IPVS)
	}
}

// printIPVS shows the daemons that speak to kernels.
func printIPVS(w io.Writer, daemons []control.IPVSDaemon) {
	g := newGrid("IPVS daemon", "Interface", ">Sync id", "Group", ">For", ">Messages", ">Sessions", ">Failed")
	for i := range daemons {
		d := &daemons[i]
		g.row(d.Role, d.Interface, d.SyncID, fmt.Sprintf("%s port %d", d.Group, d.Port), period(int64(d.Seconds)), d.Messages,
			d.Conns, d.Failed)
	}
	g.print(w)
	for i := range daemons {
		printCounts(w, daemons[i].Role+" records", daemons[i].Records)
		printCounts(w, daemons[i].Role+" rejected", daemons[i].Rejected)
	}
}

// printPeers shows the other directors.
func printPeers(w io.Writer, v *control.Sync) {
	ready := "not ready to take over"
	if v.Ready {
		ready = "ready to take over"
	}
	fmt.Fprintf(w, "%s at %s: %d sessions, %s, term %d", v.Name, v.Address, v.Sessions, ready, v.Term)
	if !v.Secure {
		fmt.Fprint(w, ", INSECURE: no key")
	}
	fmt.Fprintln(w)
	g := newGrid("Peer", "Address", "State", ">Lag ms", ">Sessions", ">Here %", ">Equal for", ">Differing", ">Repaired",
		">Records/s")
	for i := range v.Peers {
		p := &v.Peers[i]
		equal := "never"
		if p.MatchedSeconds >= 0 {
			equal = fmt.Sprintf("%.0fs ago", p.MatchedSeconds)
		}
		g.row(p.Name, p.Address, p.State, fmt.Sprintf("%.1f", p.LagMS), p.Sessions, fmt.Sprintf("%.1f", p.Coverage), equal,
			p.Differing, p.Repaired, fmt.Sprintf("%.0f", p.Rate))
	}
	for _, addr := range v.Missing {
		g.row("-", addr, "missing", "-", "-", "-", "-", "-", "-", "-")
	}
	g.print(w)
	for i := range v.Peers {
		for _, note := range v.Peers[i].Notes {
			fmt.Fprintf(w, "%s %s\n", v.Peers[i].Name, note)
		}
	}
	printCounts(w, "records", v.Records)
	printCounts(w, "rejected", v.Rejected)
	if v.Unbound > 0 {
		fmt.Fprintf(w, "%d sessions are of services or real servers that are not configured here\n", v.Unbound)
	}
}

func printCounts(w io.Writer, what string, counts map[string]uint64) {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%s %d", name, counts[name]))
	}
	if len(words) > 0 {
		fmt.Fprintf(w, "%s: %s\n", what, strings.Join(words, ", "))
	}
}
