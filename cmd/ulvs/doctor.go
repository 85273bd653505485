package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"ulvs/config"
	"ulvs/control"
	"ulvs/doctor"
)

// doctorFlags say what is examined.
type doctorFlags struct {
	offline bool
	explain string
}

func (a *app) doctorCommand() *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor [FILE]",
		Short: "Find what is wrong with this director, its real servers and its network, and say what to do",
		Long: "Reads the machine, asks the ulvs that runs, and asks real servers, other directors and the LAN with\n" +
			"frames of its own. It changes nothing and ends within seconds. Without FILE it examines the ulvs that\n" +
			"runs, or " + defaultConfig + ".\n" +
			"Exit codes: 0 healthy, 1 findings, 2 it could not examine. Every code is explained in docs/doctor.md.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.explain != "" {
				return a.explain(f.explain)
			}
			return a.doctor(cmd.Context(), args, &f)
		},
	}
	cmd.Flags().BoolVar(&f.offline, "offline", false, "send nothing: only the machine, and what the running ulvs says")
	cmd.Flags().StringVar(&f.explain, "explain", "", "explain a code, like UD203, and end")
	return cmd
}

func (a *app) doctor(ctx context.Context, args []string, f *doctorFlags) error {
	p, notes, err := a.patient(ctx, args, f)
	if err != nil {
		return misuse{err}
	}
	if p.Network != nil {
		defer p.Network.Close()
	}
	r := doctor.Examine(ctx, p, a.doctorProgress())
	r.Unknown = append(r.Unknown, notes...)
	if a.json {
		err = printJSON(a.out, r)
	} else {
		printDoctor(a.out, r)
	}
	if err == nil && !r.Healthy {
		err = errors.New(count(len(r.Findings), "finding"))
	}
	return err
}

// doctorProgress shows each probe as it ends, beside the result.
func (a *app) doctorProgress() func(doctor.Probe) {
	if a.json {
		return nil
	}
	return func(p doctor.Probe) {
		result := "ok"
		if p.Findings > 0 {
			result = count(p.Findings, "finding")
		}
		fmt.Fprintf(a.errOut, "  %-22s %5.2fs  %s\n", p.Name, p.Seconds, result)
	}
}

// patient gathers what can be examined; notes say what cannot.
func (a *app) patient(
	ctx context.Context, args []string, f *doctorFlags,
) (p *doctor.Patient, notes []string, err error) {
	client := control.NewClient(a.socket)
	p = &doctor.Patient{Machine: readMachine(), Facts: doctor.Ask(ctx, client), Now: time.Now, Rules: nftRules}
	for _, u := range p.Machine.Unread {
		notes = append(notes, "cannot read "+u.What)
	}
	path := defaultConfig
	st := p.Facts.Status
	switch {
	case len(args) == 1:
		path = args[0]
	case st != nil && st.ConfigPath != "":
		path = st.ConfigPath
	default:
		if _, err := os.Stat(path); err != nil {
			return nil, nil, errors.New("no ulvs answers on " + a.socket + " and there is no " + path +
				": name the configuration to examine")
		}
	}
	if p.Config, err = config.Load(path, machine(false)); err != nil {
		return nil, nil, configFailure(err)
	}
	switch {
	case f.offline:
	case os.Geteuid() != 0:
		notes = append(notes, "only root may send frames: nothing was asked on the wire")
	default:
		p.Network = &doctor.Network{}
		if st != nil {
			p.Network.Data = doctor.CaptureData(client)
		}
	}
	return p, notes, nil
}

// nftRules returns the host's packet filter; nothing without nft, which then has made none.
func nftRules(ctx context.Context) ([]byte, error) {
	path, err := exec.LookPath("nft")
	if err != nil {
		return nil, nil
	}
	cmd := exec.CommandContext(ctx, path, "-j", "list", "ruleset")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("nft -j list ruleset: %w", err)
	}
	return out, nil
}

func printDoctor(w io.Writer, r *doctor.Report) {
	for _, f := range r.Findings {
		fmt.Fprintf(w, "\n%s %-7s  %s: %s\n  %s\n  -> %s\n", f.Code, f.Severity, f.Subject, title(f.Code), f.What, f.Remedy)
	}
	printList(w, "\nnot examined:", r.Unknown)
	running := "ulvs runs"
	if !r.Running {
		running = "ulvs does not run"
	}
	if r.Healthy {
		fmt.Fprintf(w, "\nhealthy: nothing found by %d probes; %s\n", len(r.Probes), running)
		return
	}
	fmt.Fprintf(w, "\n%s by %d probes; %s\n", count(len(r.Findings), "finding"), len(r.Probes), running)
}

func title(code string) string {
	for _, c := range doctor.Codes {
		if c.Code == code {
			return c.Title
		}
	}
	return ""
}

// explain prints what a code means.
func (a *app) explain(code string) error {
	for _, c := range doctor.Codes {
		if c.Code == code {
			if a.json {
				return printJSON(a.out, c)
			}
			_, err := fmt.Fprintf(a.out, "%s %s: %s\n-> %s\n", c.Code, c.Severity, c.Title, c.Remedy)
			return err
		}
	}
	return misuse{fmt.Errorf("no finding has the code %q; docs/doctor.md lists them", code)}
}
