package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"ulvs/config"
	"ulvs/control"
	"ulvs/internal/wholefile"
)

// configMode is that of a configuration that did not exist.
const configMode = 0o644

func (a *app) saveCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "save [FILE]",
		Short: "Write what runs (services, timeouts, settings) into the configuration",
		Long: "Write what runs, edits made by hand included, into the file that ulvs was started with, or into FILE.\n" +
			"Comments, order and form of what did not change stay. A FILE that does not exist begins as a copy.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := control.NewClient(a.socket)
			running, err := client.Running(cmd.Context())
			if err != nil {
				return err
			}
			s, err := newSaving(running, args, force)
			if err != nil {
				return err
			}
			changes, err := s.save()
			if err != nil {
				return err
			}
			if s.own {
				if err := client.Saved(cmd.Context()); err != nil {
					return fmt.Errorf("%s is written, but: %w", s.path, err)
				}
			}
			return a.printSaved(s.path, changes)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "overwrite changes of the file that were never loaded")
	return cmd
}

// saved is what save reports.
type saved struct {
	Path    string   `json:"path"`
	Changes []string `json:"changes"`
}

func (a *app) printSaved(path string, changes []string) error {
	if a.json {
		return printJSON(a.out, saved{path, changes})
	}
	for _, c := range changes {
		fmt.Fprintln(a.out, c)
	}
	if len(changes) == 0 {
		fmt.Fprintf(a.out, "%s says what runs.\n", path)
		return nil
	}
	fmt.Fprintf(a.out, "%s: %s written.\n", path, count(len(changes), "change"))
	return nil
}

// saving is one way from what runs into a file.
type saving struct {
	path, from string // from is read: path unless that does not exist
	own        bool   // it is the file that the director was started with
	force      bool
	running    control.Running
}

func newSaving(running control.Running, args []string, force bool) (*saving, error) {
	s := &saving{path: running.ConfigPath, force: force, running: running}
	if len(args) > 0 {
		s.path = args[0]
	}
	if s.path == "" {
		return nil, errors.New("the running ulvs was started without a file; give one: ulvs save FILE")
	}
	path, err := filepath.Abs(s.path)
	if err != nil {
		return nil, fmt.Errorf("save: %w", err)
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // what a link points to is written, the link stays
	}
	s.path, s.from = path, path
	if own, err := filepath.EvalSymlinks(running.ConfigPath); err == nil {
		s.own = own == path
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			s.from = own
		}
	}
	return s, nil
}

// save writes the file, unless it says what runs already, and returns what became of it in words.
func (s *saving) save() ([]string, error) {
	text, err := os.ReadFile(s.from)
	if err != nil {
		return nil, fmt.Errorf("save: %w", err)
	}
	file, err := config.Parse(s.from, text, config.Options{})
	if err != nil {
		return nil, fmt.Errorf("save: the file has to be repaired first: %w", err)
	}
	if err := s.checkLoaded(file); err != nil {
		return nil, err
	}
	merged, err := config.Merge(s.from, text, s.running.Running)
	if err != nil {
		return nil, fmt.Errorf("save: nothing was written: %w", err)
	}
	if s.path != s.from || !bytes.Equal(merged, text) {
		if err := wholefile.Rewrite(s.path, merged, configMode); err != nil {
			return nil, fmt.Errorf("save: %w", err)
		}
	}
	return config.Words(config.Diff(file.State(), s.running.Running)), nil
}

// checkLoaded refuses to undo what somebody wrote into the director's file and did not load.
func (s *saving) checkLoaded(file *config.Config) error {
	changed := config.Words(config.Diff(s.running.Loaded, file.State()))
	lost := config.Lost(s.running.Loaded, file.State(), s.running.Running)
	if !s.own || s.force || lost == 0 {
		return nil
	}
	return fmt.Errorf("save: %s was edited and not loaded:\n%s\nulvs reload loads it and undoes edits made by hand; "+
		"ulvs save --force undoes this", s.path, strings.Join(changed, "\n"))
}
