package main

import (
	"github.com/spf13/cobra"

	"ulvs/keep"
	"ulvs/sandbox"
)

// keepName is the command that ulvs run starts.
const keepName = "keep"

func (a *app) keepCommand() *cobra.Command {
	return &cobra.Command{
		Use:   keepName,
		Short: "Keep the sessions while no director runs (ulvs run starts it)",
		Long: "Keep the memory of the sessions while no director runs. ulvs run starts it where systemd does not keep\n" +
			"that memory; it ends by itself, some time after the last director ([restart] in the configuration).",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := keep.Inherited()
			if err != nil {
				return err
			}
			// It only passes descriptors on. What stays in spite of this, stays: sessions are worth more.
			_, _ = sandbox.Enter(sandbox.Options{})
			return keep.Serve(cmd.Context(), l)
		},
	}
}
