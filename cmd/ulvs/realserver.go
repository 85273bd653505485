package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"ulvs/realserver"
)

func (a *app) realserverCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "realserver",
		Short: "Set this host up as a real server, check it, take it back",
		Long: "Set this host up to serve behind a director, check that it is, and take it back. No daemon is needed:\n" +
			"setup changes the kernel's settings and ends. With --persist a unit of systemd keeps them in place, also when\n" +
			"somebody restarts the network.\n\n" +
			"  ulvs realserver setup --method dr  --vip 192.168.1.8\n" +
			"  ulvs realserver setup --method tun --vip 192.168.1.8 --persist\n" +
			"  ulvs realserver setup --method nat --gateway 192.168.1.2\n" +
			"  ulvs realserver check\n" +
			"  ulvs realserver remove",
	}
	cmd.AddCommand(a.realserverSetupCommand(), a.realserverCheckCommand(), a.realserverRemoveCommand(),
		a.realserverWatchCommand())
	return cmd
}

// realserverFlags are what setup and check have in common.
type realserverFlags struct {
	method         string
	vips, gateways []string
	config         realserver.Config
	host           realserver.Host
	keeper         realserver.Keeper
}

func (f *realserverFlags) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.addSelection(cmd)
	flags.StringSliceVar(&f.gateways, "gateway", nil,
		"nat: the director's address here; dr, tun: where replies leave, if not by the default route")
	flags.StringVar(&f.config.Interface, "interface", "",
		"where the director's packets arrive (default: the default route's)")
	flags.StringVar(&f.config.Decap, "decap", "",
		"tun: auto, kernel (tunl0, ip6tnl0) or xdp (a program on the interface)")
	flags.IntVar(&f.config.Table, "table", 0, fmt.Sprintf("dr, tun: routing table of --gateway (default %d)",
		realserver.DefaultTable))
}

// addSelection adds the flags that say which set-up is meant, and where its files are.
func (f *realserverFlags) addSelection(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.method, "method", "", "dr, tun or nat")
	flags.StringSliceVar(&f.vips, "vip", nil, "address of the service, IPv4 or IPv6; may be repeated")
	f.addFiles(cmd)
}

func (f *realserverFlags) addFiles(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.host.State, "state", realserver.DefaultState, "what was there before, for remove")
	flags.StringVar(&f.keeper.Config, "config", realserver.DefaultConfig, "what outlives a reboot")
	_ = flags.MarkHidden("state")
}

// parse reads the addresses.
func (f *realserverFlags) parse() (err error) {
	f.config.Method = f.method
	if f.config.VIPs, err = parseAddrs("vip", f.vips); err != nil {
		return err
	}
	f.config.Gateways, err = parseAddrs("gateway", f.gateways)
	return err
}

func parseAddrs(flag string, texts []string) (list []netip.Addr, err error) {
	for _, text := range texts {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, misuse{fmt.Errorf("--%s %.60q: want an address such as 192.168.1.8 or 2001:db8::8, "+
				"without port and mask", flag, text)}
		}
		list = append(list, addr)
	}
	return list, nil
}

func (a *app) realserverSetupCommand() *cobra.Command {
	var f realserverFlags
	var persist bool
	cmd := &cobra.Command{
		Use:   "setup --method dr|tun|nat --vip ADDRESS",
		Short: "Make this host a real server; does nothing twice",
		Long: "Make this host a real server.\n\n" +
			"dr: the VIPs on lo with a full mask, a route to each, arp_ignore = 1 and arp_announce = 2, so that it takes\n" +
			"their packets and never answers ARP for them. tun: the same, and tunnels are unpacked, by the kernel's tunl0\n" +
			"and ip6tnl0 or by a program on the interface, with rp_filter = 2 there. nat: the director (--gateway) becomes\n" +
			"the default gateway of everything this host sends: mind how you are logged in.\n\n" +
			"What is there already stays. What is in the way is named, and nothing is changed. remove takes back what setup\n" +
			"did, also after a crash. With --persist it is done again at each start of the machine, and what a restart of\n" +
			"the network takes away is put back within a second.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.parse(); err != nil {
				return err
			}
			if err := f.config.Validate(); err != nil {
				return misuse{err}
			}
			steps, err := f.host.Setup(f.config)
			if err != nil {
				return err
			}
			if persist {
				if steps, err = f.keep(cmd.Context(), steps); err != nil {
					return err
				}
			}
			return a.printSteps(steps)
		},
	}
	f.addTo(cmd)
	cmd.Flags().BoolVar(&persist, "persist", false, "keep it so: a systemd unit that also mends what others undo")
	return cmd
}

// keep has it outlive a reboot.
func (f *realserverFlags) keep(ctx context.Context, steps []realserver.Step) ([]realserver.Step, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := f.keeper.Keep(ctx, f.config, self); err != nil {
		return nil, fmt.Errorf("it is set up, but not kept: %w", err)
	}
	return append(steps, realserver.Step{What: realserver.UnitName, Did: "enabled and started"}), nil
}

func (a *app) printSteps(steps []realserver.Step) error {
	if a.json {
		if steps == nil {
			steps = []realserver.Step{}
		}
		return printJSON(a.out, steps)
	}
	if len(steps) == 0 {
		fmt.Fprintln(a.out, "Nothing to do.")
		return nil
	}
	g := newGrid("What", "Done")
	for _, s := range steps {
		g.row(s.What, s.Did)
	}
	g.print(a.out)
	return nil
}

// errNotAsNeeded is what check returns when something is wrong.
var errNotAsNeeded = errors.New("this host is not set up as a real server needs it")

func (a *app) realserverCheckCommand() *cobra.Command {
	var f realserverFlags
	cmd := &cobra.Command{
		Use:   "check [--method dr|tun|nat --vip ADDRESS]",
		Short: "Name each thing that is wrong with this real server, and how to mend it",
		Long: "Name each thing that is wrong with this real server, and how to mend it. It changes nothing. Without\n" +
			"--method it checks what setup was asked for on this host. Exit status 1: something is wrong.",
		Args: cobra.NoArgs,
		RunE: func(_ *cobra.Command, _ []string) error {
			list, err := f.checked()
			if err != nil {
				return err
			}
			found, err := f.host.Check(list)
			if err != nil {
				return err
			}
			if err := a.printFindings(found); err != nil || len(found) == 0 {
				return err
			}
			return fmt.Errorf("%w: %d findings", errNotAsNeeded, len(found))
		},
	}
	f.addTo(cmd)
	return cmd
}

// checked is what the flags ask for, or else everything that is known to be set up.
func (f *realserverFlags) checked() ([]realserver.Config, error) {
	if err := f.parse(); err != nil {
		return nil, err
	}
	if f.method != "" || len(f.vips) > 0 {
		if err := f.config.Validate(); err != nil {
			return nil, misuse{err}
		}
		return []realserver.Config{f.config}, nil
	}
	kept, err := f.keeper.Configs()
	if err != nil {
		return nil, err
	}
	set, err := f.host.Configs()
	if err != nil {
		return nil, err
	}
	if len(kept)+len(set) == 0 {
		return nil, misuse{errors.New("nothing was set up here: say what to check with --method and --vip, " +
			"or begin with ulvs realserver setup")}
	}
	return append(kept, set...), nil
}

func (a *app) printFindings(found []realserver.Finding) error {
	if a.json {
		list := append([]realserver.Finding{}, found...) // [], not null
		return printJSON(a.out, map[string]any{"ok": len(found) == 0, "findings": list})
	}
	if len(found) == 0 {
		fmt.Fprintln(a.out, "Everything is as it should be.")
		return nil
	}
	for _, f := range found {
		fmt.Fprintf(a.out, "%s  %s\n  %s\n  mend it: %s\n", f.Code, f.Subject, f.Problem, f.Remedy)
	}
	return nil
}

func (a *app) realserverRemoveCommand() *cobra.Command {
	var f realserverFlags
	cmd := &cobra.Command{
		Use:   "remove [--method dr|tun|nat] [--vip ADDRESS]",
		Short: "Take back what setup did; without flags, all of it",
		Long: "Take back what setup did: what was there before is there again, what somebody else changed since is left\n" +
			"and named. Without flags everything, with --vip those VIPs, with --method what belongs to it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.parse(); err != nil {
				return err
			}
			had, err := f.keeper.Forget(cmd.Context(), f.method, f.config.VIPs)
			if err != nil {
				return err
			}
			steps, err := f.host.Remove(f.method, f.config.VIPs)
			if had {
				steps = append(steps, realserver.Step{What: realserver.UnitName, Did: "no longer keeps it"})
			}
			return errors.Join(a.printSteps(steps), err)
		},
	}
	f.addSelection(cmd)
	return cmd
}

func (a *app) realserverWatchCommand() *cobra.Command {
	var f realserverFlags
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Keep this real server set up: what the unit of setup --persist runs",
		Long: "Keep this host set up as setup --persist was told, until SIGTERM: what a restart of the network takes away\n" +
			"is put back within a second, a changed sysctl within ten. Ending it takes nothing away.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := f.keeper.Configs()
			if err != nil {
				return err
			}
			if len(list) == 0 {
				return fmt.Errorf("%s names nothing to watch: begin with ulvs realserver setup --persist", f.keeper.Config)
			}
			log, err := newLog(a.errOut, "info", false)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return f.host.Watch(ctx, list, log, func() { log.Info("watching this real server") })
		},
	}
	f.addFiles(cmd)
	return cmd
}
