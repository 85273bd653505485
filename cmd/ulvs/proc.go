package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"ulvs/control"
	"ulvs/control/ipvsadm"
)

// settingPrefix is where a kernel has the settings.
const settingPrefix = "net.ipv4.vs."

func (a *app) procCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "proc NAME",
		Short: "Print what a kernel has in /proc/net/NAME: " + strings.Join(ipvsadm.ProcNames(), ", "),
		Args:  countArgs(1, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := ipvsadm.Proc(a.out, args[0], control.NewClient(a.socket).IPVS(cmd.Context()))
			if errors.Is(err, ipvsadm.ErrNoProc) {
				return misuse{err}
			}
			return err
		},
	}
}

func (a *app) setCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set NAME VALUE",
		Short: "Change a setting (a sysctl net.ipv4.vs.NAME) of the running ulvs",
		Args:  countArgs(2, "NAME and VALUE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := strings.TrimPrefix(args[0], settingPrefix)
			value, err := strconv.Atoi(args[1])
			if err != nil {
				return misuse{fmt.Errorf("set: %.100q is no number", args[1])}
			}
			return control.NewClient(a.socket).SetSetting(cmd.Context(), name, value)
		},
	}
}

func (a *app) settingsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "settings",
		Short: "Print the settings of the running ulvs, as sysctl does",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := control.NewClient(a.socket).IPVS(cmd.Context()).Listing()
			if err != nil {
				return err
			}
			values := map[string]int{}
			for _, name := range control.SettingNames() {
				values[name], _ = l.Settings.Get(name)
				if !a.json {
					fmt.Fprintf(a.out, "%s%s = %d\n", settingPrefix, name, values[name])
				}
			}
			if a.json {
				return printJSON(a.out, values)
			}
			return nil
		},
	}
}

// countArgs accepts exactly n arguments.
func countArgs(n int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return fmt.Errorf("%s takes %s, %d given; call it as: %s", cmd.Name(), names, len(args), cmd.UseLine())
		}
		return nil
	}
}
