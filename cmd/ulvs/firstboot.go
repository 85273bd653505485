package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ulvs/appliance"
)

func (a *app) firstbootCommand() *cobra.Command {
	var ask, fetch bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "firstboot", Hidden: true, Short: "Configure a machine that was started from the disk image", Args: cobra.NoArgs,
		Long: "Configure a machine that was started from the disk image: by the ulvs.* words of the kernel's command\n" +
			"line and of ulvs.conf on the boot partition, or by asking on the console. The units ulvs-firstboot and\n" +
			"ulvs-fetch call it. To be asked again: ulvs firstboot --ask.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			start := appliance.Start{Root: "/", Config: machine(false), System: thisSystem{}, Wait: wait}
			switch {
			case fetch:
				return start.Fetch(cmd.Context())
			case ask:
				err := start.Ask(appliance.NewDialog(os.Stdin, a.out, nil))
				if err == nil {
					fmt.Fprintln(a.out, "Written. Now: systemctl restart systemd-networkd ulvs")
				}
				return err
			}
			consoles := appliance.OpenConsoles(start.Root)
			start.Out, start.Press = consoles, consoles.First
			return start.Run()
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&ask, "ask", false, "ask here, whatever the machine is configured by")
	flags.BoolVar(&fetch, "fetch", false, "fetch ulvs.toml from where ulvs.config= says")
	flags.DurationVar(&wait, "wait", 2*time.Minute, "for somebody at the console")
	return cmd
}

// thisSystem is the machine that ulvs runs on.
type thisSystem struct{}

// SetHostname takes effect at once.
func (thisSystem) SetHostname(name string) error {
	return os.NewSyscallError("sethostname", syscall.Sethostname([]byte(name)))
}

// SetPassword sets root's.
func (thisSystem) SetPassword(hash, plain string) error {
	if strings.ContainsAny(hash+plain, "\n\x00") {
		return errors.New("a password has no end of line")
	}
	cmd := exec.Command("chpasswd")
	if hash != "" {
		cmd = exec.Command("chpasswd", "-e")
	}
	cmd.Stdin = strings.NewReader("root:" + hash + plain + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("set root's password: %w: %s", err, out)
	}
	return nil
}
