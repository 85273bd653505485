// Command ulvs is a Linux Virtual Server in userspace: the daemon and the tool
// that asks it, in one binary.
//
// It owns sub-commands, flags, exit codes and how answers look on a terminal. It
// decides nothing about traffic: package director runs, package control asks,
// package config reads files.
//
// Exit codes: 0 done, 1 it failed, 2 it was called wrongly.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"ulvs/test/lab"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// app is what the sub-commands share: where they print, and the flags of the root.
type app struct {
	out, errOut io.Writer
	run         directorFunc
	socket      string
	json        bool
}

func main() {
	a := &app{out: os.Stdout, errOut: os.Stderr, run: runDirector}
	if isIPVSAdm(os.Args[0]) {
		os.Exit(a.ipvsadm(context.Background(), os.Args[1:], false))
	}
	os.Exit(a.main(context.Background(), os.Args[1:]))
}

// main runs one command line and returns its exit code.
func (a *app) main(ctx context.Context, args []string) int {
	if len(args) > 0 && args[0] == ipvsadmName {
		return a.ipvsadm(ctx, args[1:], true)
	}
	root := a.root()
	root.SetArgs(append([]string{}, args...)) // never nil, for which cobra takes os.Args
	err := root.ExecuteContext(ctx)
	var failed failure
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &failed):
		fmt.Fprintf(a.errOut, "ulvs: %v\n", err)
		return exitFailed
	}
	fmt.Fprintf(a.errOut, "ulvs: %v\nSee: ulvs help\n", err)
	return exitUsage
}

// failure marks an error of a command that was called rightly. Everything else
// that cobra returns is about the command line.
type failure struct{ error }

// Unwrap returns what failed.
func (f failure) Unwrap() error { return f.error }

// misuse marks an error about the command line that a command finds itself.
type misuse struct{ error }

// Unwrap returns what is wrong.
func (m misuse) Unwrap() error { return m.error }

// commands is every sub-command, in the order of the help.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.runCommand(),
		a.keepCommand(),
		a.checkCommand(),
		a.importCommand(),
		a.tuneCommand(),
		a.doctorCommand(),
		a.statusCommand(),
		a.servicesCommand(),
		a.healthCommand(),
		a.connsCommand(),
		a.eventsCommand(),
		a.topCommand(),
		a.vrrpCommand(),
		a.syncCommand(),
		a.ipvsadmCommand(),
		a.procCommand(),
		a.drainCommand(),
		a.enableCommand(),
		a.setCommand(),
		a.settingsCommand(),
		a.reloadCommand(),
		a.upgradeCommand(),
		a.saveCommand(),
		a.configCommand(),
		a.captureCommand(),
		a.traceCommand(),
		a.benchCommand(),
		a.realserverCommand(),
		a.firstbootCommand(),
		lab.Command(),
		a.manCommand(),
		a.versionCommand(),
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "ulvs",
		Short:         "ulvs is a Linux Virtual Server in userspace",
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(a.out)
	root.SetErr(a.errOut)
	root.CompletionOptions.HiddenDefaultCmd = true
	flags := root.PersistentFlags()
	flags.StringVar(&a.socket, "socket", defaultSocket(), "control socket of the running ulvs")
	flags.BoolVar(&a.json, "json", false, "print JSON")
	cobra.EnableCommandSorting = false
	for _, cmd := range a.commands() {
		markFailures(cmd)
		root.AddCommand(cmd)
	}
	return root
}

// markFailures wraps what a command or a sub-command of it returns when it runs.
func markFailures(cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			err := run(cmd, args)
			if wrong := (misuse{}); err == nil || errors.As(err, &wrong) {
				return err
			}
			return failure{err}
		}
	}
	for _, sub := range cmd.Commands() {
		markFailures(sub)
	}
}

// oneFile accepts exactly one argument, a file.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s takes one file, %d given; call it as: %s", cmd.Name(), len(args), cmd.UseLine())
	}
	return nil
}
