package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"ulvs/control"
)

func (a *app) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Have the running ulvs read its file again",
		Long: "Have the running ulvs read its file again and apply what differs: services, timeouts, settings and\n" +
			"marks. Sessions stay. A file with errors changes nothing. Edits made by hand (ipvsadm, ulvs set) are\n" +
			"undone unless they were saved before with: ulvs save.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := control.NewClient(a.socket).Reload(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(a.out, out)
			}
			printReloaded(a.out, &out)
			return nil
		},
	}
}

func printReloaded(w io.Writer, r *control.Reloaded) {
	for _, change := range r.Changes {
		fmt.Fprintln(w, change)
	}
	if len(r.Changes) == 0 {
		fmt.Fprintln(w, "Nothing changed.")
	}
	switch n := r.DiscardedEdits; {
	case n == 1:
		fmt.Fprintln(w, "1 edit made by hand is gone: save it first with: ulvs save")
	case n > 1:
		fmt.Fprintf(w, "%d edits made by hand are gone: save them first with: ulvs save\n", n)
	}
	for _, key := range r.NeedsRestart {
		fmt.Fprintf(w, "Needs a restart: %s\n", key)
	}
}
