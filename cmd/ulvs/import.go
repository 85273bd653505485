package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"ulvs/config"
	"ulvs/config/keepalived"
)

// importFlags are the flags of import.
type importFlags struct {
	out, id string
	force   bool
}

func (a *app) importCommand() *cobra.Command {
	var flags importFlags
	cmd := &cobra.Command{
		Use:   "import KEEPALIVED.CONF",
		Short: "Turn a keepalived.conf into a configuration",
		Long: "import writes the TOML to standard output or to the file of -o, and what it could not map to standard\n" +
			"error, one line each with its place and reason. It fails when the file is broken.",
		Args: oneFile,
		RunE: func(_ *cobra.Command, args []string) error { return a.importFile(args[0], flags) },
	}
	fs := cmd.Flags()
	fs.StringVarP(&flags.out, "output", "o", "", "write to this file; it must not exist")
	fs.StringVarP(&flags.id, "id", "i", shortHostname(), "configuration id: take the lines of @ID, as keepalived -i")
	fs.BoolVar(&flags.force, "force", false, "replace the file of -o")
	return cmd
}

// shortHostname is keepalived's default of -i.
func shortHostname() string {
	name, _ := os.Hostname() // none: no line is for it
	name, _, _ = strings.Cut(name, ".")
	return name
}

func (a *app) importFile(path string, flags importFlags) error {
	r, err := keepalived.Import(path, keepalived.Options{ID: flags.id, ReadFile: readBounded, Glob: filepath.Glob})
	if err != nil {
		return err
	}
	if !a.json {
		for _, f := range r.Findings {
			fmt.Fprintln(a.errOut, f)
		}
	}
	if err := a.writeImport(r, flags); err != nil {
		return err
	}
	if n := r.Count(keepalived.Broken); n > 0 {
		return fmt.Errorf("%s is broken in %d places, listed above; what was understood of it is written", path, n)
	}
	return nil
}

// writeImport puts the result where it was asked for; with --json it is part of one object.
func (a *app) writeImport(r *keepalived.Result, flags importFlags) error {
	if flags.out != "" {
		mode := os.O_WRONLY | os.O_CREATE | os.O_EXCL
		if flags.force {
			mode = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
		}
		if err := writeText(flags.out, mode, r.TOML); err != nil {
			return err
		}
		fmt.Fprintf(a.errOut, "%s is written: %s. Check it with: ulvs check %s\n", flags.out, importSummary(r), flags.out)
	}
	if a.json {
		findings := r.Findings
		if findings == nil {
			findings = []keepalived.Finding{}
		}
		return printJSON(a.out, map[string]any{"toml": r.TOML, "findings": findings})
	}
	if flags.out != "" {
		return nil
	}
	_, err := io.WriteString(a.out, r.TOML)
	return err
}

func importSummary(r *keepalived.Result) string {
	services := r.Config.Services()
	real := 0
	for _, s := range services {
		real += len(s.Destinations)
	}
	return fmt.Sprintf("%d services, %d real servers, %d words not mapped, %d refused",
		len(services), real, r.Count(keepalived.Unmapped), r.Count(keepalived.Refused))
}

// writeText writes a file whose name another may have taken: passwords of VRRP are in it, so it is for its owner.
func writeText(path string, mode int, text string) error {
	f, err := os.OpenFile(path, mode, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists; remove it, or give --force", path)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// readBounded reads a file, and one byte more than keepalived.MaxFileBytes at most.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, keepalived.MaxFileBytes+1))
}

// hintImport adds to the errors of a file what to do with it if it is a keepalived.conf.
func hintImport(path string, err error) error {
	var list config.ErrorList
	if !errors.As(err, &list) {
		return err
	}
	text, readErr := readBounded(path)
	if readErr != nil || !keepalived.Looks(text) {
		return err
	}
	hint := "this is a keepalived.conf; turn it into TOML with: ulvs import " + path + " -o ulvs.toml"
	return config.ErrorList{{File: path, Line: list[0].Line, Msg: hint}}
}
