package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manSection is that of administration commands.
const manSection = "8"

// manCommand writes the manual: the package's pages are made by it, from the same words as the help.
func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Hidden: true, Short: "Write a manual page for each command into DIR", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Title: "ULVS", Section: manSection, Source: "ulvs " + version(), Manual: "ulvs"}
			// A date of its own would make each build another one.
			date := time.Unix(sourceDate(), 0).UTC()
			header.Date = &date
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return fmt.Errorf("write the manual to %s: %w", args[0], err)
			}
			return nil
		},
	}
}

// sourceDate is SOURCE_DATE_EPOCH, in seconds, as of reproducible-builds.org; 0 without one.
func sourceDate() (seconds int64) {
	if _, err := fmt.Sscan(os.Getenv("SOURCE_DATE_EPOCH"), &seconds); err != nil {
		return 0
	}
	return seconds
}
