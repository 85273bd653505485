package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"ulvs/config"
	"ulvs/control"
	"ulvs/control/ipvsadm"
)

// ipvsadmName is the name under which the binary is ipvsadm (a symbolic link), and the sub-command.
const ipvsadmName = "ipvsadm"

// socketVariable overrides the default control socket: ipvsadm's own options leave no room for one.
const socketVariable = "ULVS_SOCKET"

// defaultSocket is where the running ulvs is asked unless --socket says otherwise.
func defaultSocket() string {
	if path := os.Getenv(socketVariable); path != "" {
		return path
	}
	return config.DefaultControlSocket
}

// isIPVSAdm tells whether the program was called by the name ipvsadm.
func isIPVSAdm(argv0 string) bool { return filepath.Base(argv0) == ipvsadmName }

// ipvsadm runs one command line of ipvsadm; numbers is ipvsadm.IO.LineNumbers. The exit codes are
// ipvsadm's; 2 if no ulvs answers, as the original's when the kernel has no IPVS.
func (a *app) ipvsadm(ctx context.Context, args []string, numbers bool) int {
	std := ipvsadm.IO{In: os.Stdin, Out: a.out, Err: a.errOut, LineNumbers: numbers}
	return ipvsadm.Run(args, std, control.NewClient(defaultSocket()).IPVS(ctx))
}

// ipvsadmCommand is for the help; main takes its command lines, which are not cobra's.
func (a *app) ipvsadmCommand() *cobra.Command {
	return &cobra.Command{
		Use:   ipvsadmName + " ...",
		Short: "Be ipvsadm 1.31, on the running ulvs (" + socketVariable + " names another socket)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write([]byte("See: ulvs ipvsadm --help\n"))
			return err
		},
	}
}
