package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"ulvs/config"
	"ulvs/director"
	"ulvs/internal/sdnotify"
	"ulvs/sandbox"
)

// directorFunc forwards until ctx ends. Tests put another one in place of director.Run.
type directorFunc func(ctx context.Context, opt runOptions) error

// runOptions are director.Options.
type runOptions struct {
	Config     *config.Config
	ConfigPath string
	Log        *slog.Logger
	Version    string
	Load       func() (*config.Config, error)
	Reloads    <-chan struct{}
	Manager    *sdnotify.Notifier
	Inherited  map[string][]*os.File
	Keeper     []string
	Confine    func(before sandbox.Limits) sandbox.Limits
	Self       []string
	Upgrades   <-chan struct{}
	Handover   *os.File
}

func (a *app) runCommand() *cobra.Command {
	var logJSON, open bool
	var level string
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Forward, as FILE says, until SIGTERM",
		Long: "Forward, as FILE says. SIGTERM and SIGINT drain and detach; a second one ends at once.\n" +
			"SIGHUP reads FILE again, as ulvs reload does.\n" +
			"The log goes to standard error.",
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			log, err := newLog(a.errOut, level, logJSON)
			if err != nil {
				return err
			}
			return a.runFile(cmd.Context(), args[0], log, !open)
		},
	}
	cmd.Flags().BoolVar(&open, "no-sandbox", false, "keep all privileges (docs/security.md)")
	cmd.Flags().BoolVar(&logJSON, "log-json", false, "log JSON instead of text")
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	return cmd
}

func newLog(w io.Writer, level string, asJSON bool) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, misuse{fmt.Errorf("--log-level %q is unknown; give debug, info, warn or error", level)}
	}
	opt := &slog.HandlerOptions{Level: l}
	if asJSON {
		return slog.New(slog.NewJSONHandler(w, opt)), nil
	}
	return slog.New(slog.NewTextHandler(w, opt)), nil
}

func (a *app) runFile(ctx context.Context, path string, log *slog.Logger, confined bool) error {
	handover := inheritedHandover()
	c, err := config.Load(path, machine(false))
	if err != nil {
		err = configFailure(hintImport(path, err))
		director.RefuseHandover(handover, err)
		return err
	}
	if path, err = filepath.Abs(path); err != nil {
		return fmt.Errorf("find the configuration again: %w", err)
	}
	manager, err := sdnotify.Open(os.Getenv, os.Getpid())
	if err != nil {
		return err
	}
	tuneFirst(c, log)
	kept, err := sdnotify.Inherited(os.Getenv, os.Getpid(), os.Unsetenv)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR2)
	defer signal.Stop(signals)
	reloads, upgrades := make(chan struct{}, 1), make(chan struct{}, 1)
	go runSignals(ctx, signals, signalActions{
		cancel: cancel, exit: os.Exit, log: log, reloads: reloads, upgrades: upgrades,
	})
	opt := runOptions{
		Config: c, ConfigPath: path, Log: log, Version: version(), Load: loader(path, c), Reloads: reloads,
		Manager: manager, Inherited: kept, Keeper: []string{"/proc/self/exe", keepName},
		Self: ownCommand(log), Upgrades: upgrades, Handover: handover,
	}
	if confined {
		opt.Confine = confinement(path, log)
	}
	return a.run(ctx, opt)
}

// loader reads the file again, with the same checks: what is new in it since last.
func loader(path string, last *config.Config) func() (*config.Config, error) {
	return func() (*config.Config, error) {
		opt := machine(false)
		opt.Previous = last
		c, err := config.Load(path, opt)
		if err != nil {
			return nil, configFailure(err)
		}
		last = c
		return c, nil
	}
}

type signalActions struct {
	cancel  func()
	exit    func(code int)
	log     *slog.Logger
	reloads chan<- struct{}
	// upgrades asks for one, as nginx's operators know it.
	upgrades chan<- struct{}
}

// runSignals ends the director on the first signal and the process on the
// second. SIGHUP reloads, as in keepalived.
func runSignals(ctx context.Context, signals <-chan os.Signal, act signalActions) {
	asked := false
	for {
		var s os.Signal
		select {
		case s = <-signals:
		case <-done(ctx, asked):
			return
		}
		switch {
		case s == syscall.SIGHUP:
			ask(act.reloads)
		case s == syscall.SIGUSR2:
			ask(act.upgrades)
		case asked:
			act.log.Warn("ending at once", "signal", s.String())
			act.exit(exitFailed)
			return
		default:
			asked = true
			act.log.Info("draining; a second signal ends at once", "signal", s.String())
			act.cancel()
		}
	}
}

// ask asks for something. What was asked for but not begun yet is as good.
func ask(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// done is ctx's end, or never once it was asked for: the second signal counts while draining.
func done(ctx context.Context, asked bool) <-chan struct{} {
	if asked {
		return nil
	}
	return ctx.Done()
}

// configFailure words the errors of a file: a list stands on lines of its own.
func configFailure(err error) error {
	var list config.ErrorList
	if !errors.As(err, &list) {
		return err
	}
	if len(list) == 1 {
		return fmt.Errorf("1 error, nothing was started or changed\n%w", err)
	}
	return fmt.Errorf("%d errors, nothing was started or changed\n%w", len(list), err)
}
