// Command replay plays a folder of recordings of the kernel's IPVS against ulvs and says where they differ.
//
//	go run ./test/conformance/replay [-workers N] [-v] [DIR]
//
// It owns only its flags: package conformance does the work. Without DIR the committed recordings are
// played. The last line is "conformance: N passed, M failed"; the exit status is 0 if M is 0, 1 if not, and 2
// if nothing could be played.
package main

import (
	"flag"
	"fmt"
	"io/fs"
	"os"

	"ulvs/test/conformance"
)

func main() {
	conformance.Main()
	workers := flag.Int("workers", 1, "how many workers the frames are dealt to by a hash of the packet")
	verbose := flag.Bool("v", false, "say every step")
	flag.Parse()
	folder, err := open(flag.Args())
	if err == nil {
		var passed, failed int
		passed, failed, err = conformance.PlayAll(folder, conformance.Options{
			Workers: *workers, Log: os.Stdout, Verbose: *verbose,
		})
		if err == nil && failed+passed > 0 {
			os.Exit(min(failed, 1))
		}
	}
	if err == nil {
		err = fmt.Errorf("no scenarios in %v", flag.Args())
	}
	fmt.Fprintln(os.Stderr, "replay:", err)
	os.Exit(2)
}

func open(args []string) (fs.FS, error) {
	switch len(args) {
	case 0:
		return conformance.Committed()
	case 1:
		return conformance.Open(args[0])
	}
	return nil, fmt.Errorf("one folder at a time, not %d", len(args))
}
