package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"ulvs/control"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the running director: workers, interfaces, sessions, verdicts",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := control.NewClient(a.socket).Status(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(a.out, st)
			}
			printStatus(a.out, &st)
			return nil
		},
	}
}

func printStatus(w io.Writer, st *control.Status) {
	fmt.Fprintf(w, "%s: ulvs %s, pid %d, up %s, generation %d\n",
		st.Name, st.Version, st.PID, period(st.UptimeSeconds), st.Generation)
	if st.ConfigPath != "" {
		fmt.Fprintf(w, "configuration: %s%s\n", st.ConfigPath, modifiedWords(st))
	}
	for _, alarm := range st.Alarms {
		fmt.Fprintf(w, "ALARM: %s\n", alarm)
	}
	printSessions(w, &st.Sessions)
	printRestart(w, &st.Restart)
	r := &st.Routing
	fmt.Fprintf(w, "routing: %d links, %d routes, %d neighbours; %d next hops in use, %d unresolved\n",
		r.Links, r.Routes, r.Neighbours, r.NextHops, r.Unresolved)
	printStack(w, &st.Stack)
	printWorkers(w, st.Workers)
	printPorts(w, st.Ports)
	printVerdicts(w, st.Verdicts)
}

// printRestart says who keeps the sessions, and what was found of an earlier director's.
func printRestart(w io.Writer, r *control.Restart) {
	switch {
	case r.Reason != "":
		fmt.Fprintf(w, "restart: sessions end with the process: %s\n", r.Reason)
	case r.Keeper == "off":
		fmt.Fprintln(w, "restart: sessions end with the process")
	default:
		by := map[string]string{"keeper": "ulvs keep", "systemd": "systemd"}[r.Keeper]
		fmt.Fprintf(w, "restart: sessions are kept by %s\n", by)
	}
	if r.ShardsDropped > 0 {
		fmt.Fprintf(w, "restart: %s of the director before could not be read: ulvs events\n",
			count(r.ShardsDropped, "piece")+" of memory")
	}
	if r.Generation < 2 {
		return
	}
	fmt.Fprintf(w, "recovered: %d sessions, %d templates in %.0f ms after a gap of %.0f ms; %d expired meanwhile\n",
		r.Sessions, r.Templates, r.Seconds*1000, r.GapSeconds*1000, r.Expired)
	if r.Dropped > 0 {
		fmt.Fprintf(w, "dropped: %d torn, %d without their service, %d without their real server, %d twice, "+
			"%d over max_conns\n", r.Torn, r.NoService, r.NoRealServer, r.Twice, r.Full)
	}
}

// printStack says nothing of a stack that nobody has used.
func printStack(w io.Writer, s *control.Stack) {
	if s.Frames+s.Lost+s.ProbesRefused+s.Accepted+s.Refused+s.Unreachable == 0 {
		return
	}
	fmt.Fprintf(w, "own stack: %d of %d checks under way, %d refused; %d of %d sessions with servers on this host, "+
		"%d refused, %d unreachable; %s lost\n", s.Probes, s.ProbeLimit, s.ProbesRefused, s.Sessions, s.SessionLimit,
		s.Refused, s.Unreachable, count(int(s.Lost), "packet"))
}

// modifiedWords says in what the running state differs from the file.
func modifiedWords(st *control.Status) string {
	var what []string
	if n := st.ModifiedServices; n > 0 {
		what = append(what, count(n, "service"))
	}
	if st.ModifiedTimeouts {
		what = append(what, "timeouts")
	}
	if n := st.ModifiedSettings; n > 0 {
		what = append(what, count(n, "setting"))
	}
	if !st.Modified {
		return ""
	}
	return " (what runs differs: " + strings.Join(what, ", ") + "; keep it with: ulvs save)"
}

// count is 1 service, 2 services.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func printSessions(w io.Writer, s *control.Sessions) {
	limit := "no limit"
	if s.MaxConns > 0 {
		limit = fmt.Sprintf("limit %d, %d refused", s.MaxConns, s.Refused)
	} else if s.Refused > 0 {
		limit = fmt.Sprintf("no limit, %d refused for want of memory", s.Refused)
	}
	fmt.Fprintf(w, "sessions: %d active, %d inactive, %d templates; sized for %d, %s; %s of memory\n",
		s.Active, s.Inactive, s.Templates, s.SizeHint, limit, size(s.Bytes))
}

func printWorkers(w io.Writer, workers []control.WorkerStatus) {
	g := newGrid(">Worker", ">CPU", ">Queue", "IO", "Interfaces", ">Gen", ">Frames", ">Batches", ">Idle")
	for _, k := range workers {
		cpu := "-"
		if k.CPU >= 0 {
			cpu = fmt.Sprint(k.CPU)
		}
		idle := fmt.Sprintf("%.0f%%", k.IdleFraction*100)
		g.row(k.ID, cpu, k.Queue, k.IO, strings.Join(k.Ports, ","), k.Generation, k.Frames, k.Batches, idle)
	}
	fmt.Fprintln(w)
	g.print(w)
}

func printPorts(w io.Writer, ports []control.PortStatus) {
	g := newGrid("Interface", "MAC", ">MTU", "Link", "XDP", ">Queues", ">RX", ">TX", ">TXLost", ">KernelDrops", ">Steered",
		">Passed")
	for _, p := range ports {
		link := "down"
		if p.LinkUp {
			link = "up"
		}
		g.row(p.Name, p.MAC, p.MTU, link, p.XDPMode+"/"+p.CopyMode, p.Queues, p.RXFrames, p.TXFrames, p.TXFull+p.TXErrors,
			p.RXDropped+p.RXRingFull+p.InvalidDescs, p.SteeredFrames, p.PassedFrames)
	}
	fmt.Fprintln(w)
	g.print(w)
	for i := range ports {
		printPortNotes(w, &ports[i])
	}
}

// printPortNotes says what a row has no room for: a bond's members, and why frames are copied.
func printPortNotes(w io.Writer, p *control.PortStatus) {
	var sends, waits []string
	for _, m := range p.Members {
		if m.Sends {
			sends = append(sends, m.Name)
		} else {
			waits = append(waits, m.Name)
		}
	}
	if len(p.Members) > 0 {
		fmt.Fprintf(w, "%s: sends on %s\n", p.Name, cmp.Or(strings.Join(sends, ", "), "no member"))
	}
	if len(waits) > 0 {
		fmt.Fprintf(w, "%s: does not send on %s now\n", p.Name, strings.Join(waits, ", "))
	}
	if p.ZeroCopyFailure != "" {
		fmt.Fprintf(w, "%s: copies: %s\n", p.Name, p.ZeroCopyFailure)
	}
}

// printVerdicts shows what happened at all; the rest is in --json.
func printVerdicts(w io.Writer, verdicts []control.Verdict) {
	g := newGrid("Verdict", ">Frames", "")
	for _, v := range verdicts {
		if v.Frames == 0 {
			continue
		}
		kind := ""
		if v.Drop {
			kind = "drop"
		}
		g.row(v.Name, v.Frames, kind)
	}
	fmt.Fprintln(w)
	if len(g.rows) == 1 {
		fmt.Fprintln(w, "No frames yet.")
		return
	}
	g.print(w)
}
