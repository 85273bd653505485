package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"ulvs/control"
	"ulvs/events"
)

// reconnectDelay is how long to wait for a director that restarts.
const reconnectDelay = time.Second

func (a *app) eventsCommand() *cobra.Command {
	var follow bool
	var kinds string
	var q control.EventQuery
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened: real servers kicked, VIPs taken over, configurations loaded",
		Long: "Show what happened. With --json one object per line, as the API has them.\n" +
			"Kinds are listed in docs/observability.md.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if q.Kinds, err = events.ParseKinds(kinds); err != nil {
				return misuse{fmt.Errorf("--kind: %w", err)}
			}
			if follow {
				return a.followEvents(cmd.Context(), q)
			}
			return a.recentEvents(cmd.Context(), q)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as things happen, also over a restart")
	cmd.Flags().StringVar(&kinds, "kind", "", "only these kinds, separated by commas")
	cmd.Flags().StringVar(&q.Service, "service", "", "only of services whose name contains this")
	cmd.Flags().IntVarP(&q.Limit, "lines", "n", 0, "begin with so many of the past (default 100)")
	return cmd
}

func (a *app) recentEvents(ctx context.Context, q control.EventQuery) error {
	list, err := control.NewClient(a.socket).RecentEvents(ctx, q)
	if err != nil {
		return err
	}
	for i := range list {
		if err := a.printEvent(&list[i]); err != nil {
			return err
		}
	}
	return nil
}

// followEvents prints until ctx ends. A director that was there and went is waited for.
func (a *app) followEvents(ctx context.Context, q control.EventQuery) error {
	client, reached := control.NewClient(a.socket), false
	for {
		var failed error
		err := client.FollowEvents(ctx, q, func(e control.StreamEvent) bool {
			reached, q.After = true, e.ID
			if e.Lost > 0 {
				fmt.Fprintf(a.errOut, "ulvs: %d events were lost: they came faster than they were read\n", e.Lost)
				return true
			}
			failed = a.printEvent(&e.Event)
			return failed == nil
		})
		switch {
		case failed != nil, err == nil:
			return failed
		case ctx.Err() != nil:
			return nil
		case !reached:
			return err
		}
		fmt.Fprintf(a.errOut, "ulvs: %v; trying again\n", err)
		if err := waitForDirector(ctx, client); err != nil {
			return nil
		}
	}
}

// waitForDirector returns when a director answers; the error is ctx's.
func waitForDirector(ctx context.Context, client *control.Client) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(reconnectDelay):
		}
		if _, err := client.Status(ctx); !errors.Is(err, control.ErrNotRunning) {
			return ctx.Err()
		}
	}
}

func (a *app) printEvent(e *events.Event) error {
	if a.json {
		return json.NewEncoder(a.out).Encode(e)
	}
	_, err := fmt.Fprintf(a.out, "%s  %s\n", e.Time.Local().Format("2006-01-02 15:04:05"), e)
	return err
}
