// Command guest is the first process of a guest: it loads the modules, and runs what the test asks for.
//
// It owns the guest's mounts and its second serial port. It answers one command at a time, and never ends.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// request is what the test asks for, a line of JSON.
type request struct {
	Sh      string // for busybox's shell
	Seconds int    // that it may take
	Off     bool   // turn the guest off
}

// answer is what came of it, a line of JSON.
type answer struct {
	Code int
	Out  string
	Err  string // it did not run, or not to its end
}

func main() {
	problems := setUp()
	port, err := serial("/dev/ttyS1")
	if err != nil {
		fmt.Println("guest:", err)
		os.Exit(1) // the first process ends: the kernel panics, and says so
	}
	out := json.NewEncoder(port)
	ready := answer{}
	if problems != nil {
		ready.Err = problems.Error()
	}
	_ = out.Encode(ready)
	for lines := bufio.NewScanner(port); lines.Scan(); {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			_ = out.Encode(answer{Code: -1, Err: fmt.Sprintf("not understood: %v", err)})
			continue
		}
		if r.Off {
			unix.Sync()
			_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
		}
		_ = out.Encode(perform(r))
	}
}

// setUp mounts what programs expect and loads the modules in the order of their names.
func setUp() error {
	var errs []error
	for _, m := range []struct{ kind, at string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/run"}, {"tmpfs", "/tmp"},
		{"bpf", "/sys/fs/bpf"},
	} {
		errs = append(errs, unix.Mount(m.kind, m.at, m.kind, 0, ""))
	}
	errs = append(errs, os.Setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin"), os.Setenv("HOME", "/tmp"))
	files, _ := filepath.Glob("/modules/*")
	for _, f := range files {
		if err := load(f); err != nil {
			errs = append(errs, fmt.Errorf("load %s: %w", filepath.Base(f), err))
		}
	}
	return errors.Join(errs...)
}

func load(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	parameters := ""
	if strings.Contains(file, "bonding") {
		parameters = "max_bonds=0" // else there is a bond that nobody made
	}
	if err := unix.FinitModule(int(f.Fd()), parameters, 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// serial opens a serial port that changes no byte and echoes none.
func serial(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("read the settings of %s: %w", path, err)
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t); err != nil {
		return nil, fmt.Errorf("set up %s: %w", path, err)
	}
	return f, nil
}

func perform(r request) answer {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(max(r.Seconds, 1))*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", r.Sh)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // what it left in the background may hold its output
	err := cmd.Run()
	a := answer{Out: out.String()}
	if cmd.ProcessState != nil {
		a.Code = cmd.ProcessState.ExitCode()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		a.Err = err.Error()
	}
	return a
}
