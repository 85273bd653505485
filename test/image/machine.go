package image

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ulvs/internal/testutil"
)

const (
	bootLimit    = 15 * time.Minute // a minute on a quiet machine
	commandLimit = 5 * time.Minute
	grown        = 512 << 20 // bytes that the disk is larger than the image
	bootAt       = "@@1M"    // where the boot partition is, for mtools
)

// machine is a computer that was started from a copy of the image.
type machine struct {
	*console
	tb             testing.TB
	client, server *testutil.NetNS
	disk           string
	ended          chan error
}

// hardware is what differs between computers.
type hardware struct {
	uefi bool
	disk string // QEMU's device
	nic  string // QEMU's device
}

// assemble makes a computer with the client's and the real server's cables plugged, and does not start it.
func assemble(tb testing.TB) *machine {
	tb.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "ulvs-image-") // it does not fit everywhere
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := &machine{tb: tb, client: testutil.NewNetNS(tb), server: testutil.NewNetNS(tb), ended: make(chan error, 1),
		disk: filepath.Join(dir, "disk")}
	m.run("cp", "--sparse=always", os.Getenv("ULVS_IMAGE"), m.disk)
	s, err := os.Stat(m.disk)
	if err == nil {
		err = os.Truncate(m.disk, s.Size()+grown)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func (m *machine) run(name string, args ...string) string {
	m.tb.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		m.tb.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// edit changes a file of the boot partition, as an operator does on any computer.
func (m *machine) edit(name string, change func(text string) string) {
	m.tb.Helper()
	text := change(m.run("mtype", "-i", m.disk+bootAt, "::"+name))
	file := filepath.Join(filepath.Dir(m.disk), "edited")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		m.tb.Fatal(err)
	}
	m.run("mcopy", "-o", "-i", m.disk+bootAt, file, "::"+name)
}

// start turns the computer on; it is off when the test ends.
func (m *machine) start(h hardware) {
	m.tb.Helper()
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35", "-accel", "tcg,thread=multi",
		"-cpu", "max", "-smp", "2", "-m", "1024", "-serial", "stdio",
		"-drive", "if=none,id=disk,format=raw,cache=unsafe,file=" + m.disk, "-device", h.disk + ",drive=disk",
	}
	if h.uefi {
		vars := filepath.Join(filepath.Dir(m.disk), "vars")
		m.run("cp", "/usr/share/OVMF/OVMF_VARS_4M.fd", vars)
		args = append(args, "-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
			"-drive", "if=pflash,format=raw,file="+vars)
	}
	cmd := exec.Command("qemu-system-x86_64", args...)
	for i, ns := range []*testutil.NetNS{m.client, m.server} {
		tap := m.tap(ns)
		defer tap.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, tap)
		cmd.Args = append(cmd.Args, "-netdev", fmt.Sprintf("tap,id=n%d,fd=%d,vhost=off", i, 3+i),
			"-device", fmt.Sprintf("%s,netdev=n%d,mac=52:54:00:00:00:%02x", h.nic, i, i+1))
	}
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	cmd.Stderr = os.Stderr
	if err := errors.Join(errIn, errOut, cmd.Start()); err != nil {
		m.tb.Fatalf("start QEMU: %v", err)
	}
	m.console = watch(m.tb, in, out)
	go func() {
		<-m.end // Wait closes what is still read
		m.ended <- cmd.Wait()
	}()
	m.tb.Cleanup(func() { m.off(cmd) })
}

// off ends what still runs, and shows what it said when the test failed.
func (m *machine) off(cmd *exec.Cmd) {
	_ = cmd.Process.Kill() // of one that ended by itself nothing comes
	<-m.ended
	if m.tb.Failed() {
		m.tb.Logf("the console:\n%s", m.text())
	}
}

// tap makes a cable's end in a namespace; the other is for QEMU.
func (m *machine) tap(ns *testutil.NetNS) *os.File {
	m.tb.Helper()
	fd := -1
	err := ns.Do(func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		req, err := unix.NewIfreq("t0")
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	})
	if err != nil {
		m.tb.Fatalf("make a tap: %v", err)
	}
	return os.NewFile(uintptr(fd), "tap")
}

// ip runs ip in a namespace.
func (m *machine) ip(ns *testutil.NetNS, words string) {
	m.tb.Helper()
	if err := ns.Do(func() error {
		out, err := exec.Command("ip", strings.Fields(words)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", words, err, out)
		}
		return nil
	}); err != nil {
		m.tb.Fatal(err)
	}
}

// poweroff turns the computer off as its operator does, and waits for that.
func (m *machine) poweroff() {
	m.tb.Helper()
	m.say("poweroff")
	select {
	case err := <-m.ended:
		if err != nil {
			m.tb.Errorf("QEMU ended with %v", err)
		}
		m.ended <- err
	case <-time.After(commandLimit):
		m.tb.Fatal("it never turned itself off")
	}
}
