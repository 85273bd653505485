package main

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"ulvs/control"
	"ulvs/director"
)

func (a *app) upgradeCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Have the ulvs on disk go on in the running one's place, without losing a packet",
		Long: "Start the program that is on disk now, with the arguments of the running one, and have it go on with\n" +
			"the sessions, the sockets and the VIPs. Packets that come meanwhile wait in the queues. The file is read\n" +
			"anew. If the new program does not start or does not serve, the running one goes on and says why.\n" +
			"SIGUSR2 does the same.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := control.NewClient(a.socket).Upgrade(cmd.Context(), force)
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(a.out, out)
			}
			fmt.Fprintf(a.out, "process %d goes on for %d; packets waited %.0f ms\n", out.To, out.From, out.GapSeconds*1000)
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "even if edits that were not saved get lost")
	return cmd
}

// inheritedHandover is the channel to the process that this one goes on for; nil: it was started by a person or
// systemd.
func inheritedHandover() *os.File {
	fd, err := strconv.Atoi(os.Getenv(director.HandoverEnv))
	_ = os.Unsetenv(director.HandoverEnv)
	if err != nil || fd < 3 {
		return nil
	}
	return os.NewFile(uintptr(fd), "handover")
}

// ownCommand is how this very program was started, for an upgrade: by its path, where another version will be.
func ownCommand(log *slog.Logger) []string {
	path, err := os.Executable()
	if err != nil {
		log.Warn("ulvs upgrade will not work", "err", err)
		return nil
	}
	return append([]string{path}, os.Args[1:]...)
}
