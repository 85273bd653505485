package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ulvs/capture"
	"ulvs/control"
)

// captureFlags are the flags of capture.
type captureFlags struct {
	control.CaptureQuery
	file string
	time time.Duration
}

func (a *app) captureCommand() *cobra.Command {
	var flags captureFlags
	cmd := &cobra.Command{
		Use:   "capture [FILTER]",
		Short: "Write what the data plane receives, sends and drops, as pcapng",
		Long: "capture writes frames as they arrived and as they were sent, each with its verdict as comment, until it is\n" +
			"interrupted or -c or --for is reached. FILTER is tcpdump's language; a frame that it takes when it arrives is\n" +
			"shown when it leaves, too. Frames that the writer is too slow for are counted, never waited for.",
		Example: "  ulvs capture -w drops.pcapng --drops --for 10s\n" +
			"  ulvs capture 'tcp port 80 and host 198.51.100.7' | tshark -r - -T fields -e frame.comment -e _ws.col.info",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.Filter = strings.Join(args, " ")
			return a.capture(cmd.Context(), &flags)
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&flags.file, "write", "w", "-", "file to write; -: standard output")
	fs.IntVarP(&flags.Count, "count", "c", 0, "end after so many frames; 0: no limit")
	fs.DurationVar(&flags.time, "for", 0, "end after so long, in seconds; 0: no limit")
	fs.IntVarP(&flags.Snaplen, "snaplen", "s", 0, "bytes of each frame; 0: all")
	fs.BoolVar(&flags.Drops, "drops", false, "only frames that are given up")
	fs.StringVar(&flags.Service, "service", "", "only frames of this service, like \"tcp 192.0.2.10:80\"")
	return cmd
}

func (f *captureFlags) check() error {
	if _, err := capture.Compile(f.Filter); err != nil {
		return misuse{err}
	}
	if f.Count < 0 || f.Snaplen < 0 || f.time < 0 || f.time%time.Second != 0 {
		return misuse{errors.New("-c, -s and --for take numbers from 0 on, --for whole seconds")}
	}
	f.Seconds = int(f.time / time.Second)
	return nil
}

func (a *app) capture(ctx context.Context, flags *captureFlags) error {
	if err := flags.check(); err != nil {
		return err
	}
	out, closeOut, err := a.captureOutput(flags.file)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	counts, err := control.NewClient(a.socket).Capture(ctx, flags.CaptureQuery, out)
	if err := errors.Join(err, closeOut()); err != nil {
		dropEmpty(flags.file)
		return err
	}
	fmt.Fprintf(a.errOut, "%d frames taken, %d of them lost: the capture was too slow for them\n",
		counts.Taken, counts.Lost)
	return nil
}

// dropEmpty removes a file that a failed capture made for nothing.
func dropEmpty(path string) {
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		_ = os.Remove(path)
	}
}

// captureOutput opens the file. A terminal is none.
func (a *app) captureOutput(path string) (w io.Writer, closeFile func() error, err error) {
	if path != "-" {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // other people's data is in it
		if err != nil {
			return nil, nil, err
		}
		return f, f.Close, nil
	}
	if f, ok := a.out.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return nil, nil, misuse{errors.New("a capture is no text for a terminal; give -w FILE, or pipe it: | tshark -r -")}
		}
	}
	return a.out, func() error { return nil }, nil
}
