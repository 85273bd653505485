package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ulvs/control"
)

func (a *app) vrrpCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vrrp",
		Short: "Show who holds the VIPs: VRRP instances, states, priorities",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := control.NewClient(a.socket).VRRP(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(a.out, v)
			}
			printVRRP(a.out, &v)
			return nil
		},
	}
	cmd.AddCommand(a.releaseCommand("release", false, "Give an instance's VIPs to another director, and leave them there",
		"Give the VIPs of an instance, or of its sync group, to another director: sessions are handed over first,\n"+
			"and what still arrives here is forwarded for a second. This director does not take them back until\n"+
			"ulvs vrrp resume, unless nobody else is left."),
		a.releaseCommand("resume", true, "Let a released instance preempt again", ""))
	return cmd
}

func (a *app) releaseCommand(use string, resume bool, short, long string) *cobra.Command {
	return &cobra.Command{
		Use: use + " INSTANCE|GROUP", Short: short, Long: long, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return control.NewClient(a.socket).Release(cmd.Context(), args[0], resume)
		},
	}
}

func printVRRP(w io.Writer, v *control.VRRP) {
	if len(v.Instances) == 0 {
		fmt.Fprintln(w, "No [[vrrp]] in the configuration: this director holds all VIPs.")
		return
	}
	columns := []string{"Instance", "Group", "Interface", ">VRID", "State", ">For", ">Priority", ">Advert ms", ">Term",
		"Owner", "VIPs"}
	virtual := slices.ContainsFunc(v.Instances, func(in control.VRRPInstance) bool { return in.VirtualMAC != "" })
	if virtual {
		columns = append(columns, "Virtual MAC")
	}
	g := newGrid(columns...)
	for i := range v.Instances {
		in := &v.Instances[i]
		prio := fmt.Sprint(in.EffectivePriority)
		if in.Priority != in.EffectivePriority {
			prio = fmt.Sprintf("%d (%d)", in.EffectivePriority, in.Priority)
		}
		row := []any{in.Name, orDash(in.Group), in.Interface, in.VRID, stateWord(in), period(int64(in.StateSeconds)), prio,
			in.MasterMillis, in.Term, orDash(in.Owner), orDash(strings.Join(in.VIPs, " "))}
		if virtual {
			row = append(row, orDash(in.VirtualMAC))
		}
		g.row(row...)
	}
	g.print(w)
	for i := range v.Instances {
		if in := &v.Instances[i]; in.Alarm != "" {
			fmt.Fprintf(w, "ALARM: %s: %s\n", in.Name, in.Alarm)
		}
	}
	if len(v.Rejected) > 0 {
		var words []string
		for _, reason := range slices.Sorted(maps.Keys(v.Rejected)) {
			words = append(words, fmt.Sprintf("%s %d", reason, v.Rejected[reason]))
		}
		fmt.Fprintf(w, "adverts rejected: %s\n", strings.Join(words, ", "))
	}
}

// stateWord is the state and what keeps the instance in it.
func stateWord(in *control.VRRPInstance) string {
	switch {
	case in.Gateway == "silent":
		return in.State + " (gateway silent)"
	case in.Mode == "quorum" && in.Members < in.Directors/2+1:
		return fmt.Sprintf("%s (no majority: %d of %d)", in.State, in.Members, in.Directors)
	case in.Released:
		return in.State + " (released)"
	case in.State == "BACKUP" && in.PreemptSeconds > 0:
		return fmt.Sprintf("%s (preempt_delay %.0f s)", in.State, in.PreemptSeconds)
	}
	return in.State
}
