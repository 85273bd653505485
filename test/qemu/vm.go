package qemu

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ulvs/internal/testutil"
)

// nic is a guest's network card. Its other end is a tap of the same number in the test's namespace.
type nic struct {
	model  string // of QEMU's: virtio-net-pci, e1000e, vmxnet3
	queues int    // that the tap has; 1 makes another kind of tap
	extra  string // more properties of the device
}

// machine is what a guest is made of.
type machine struct {
	cpus int
	nics []nic
}

// vm is a guest that runs.
type vm struct {
	tb    testing.TB
	ns    *testutil.NetNS
	cmd   *exec.Cmd
	port  net.Conn
	lines *bufio.Reader
	log   string // its console's
}

const (
	bootLimit = 10 * time.Minute // five seconds on a quiet machine
	readLimit = time.Minute      // beyond a command's own limit
)

// boot starts a guest and waits until it answers; it is off when the test ends.
func boot(tb testing.TB, a *Assets, initramfs string, m machine) *vm {
	tb.Helper()
	dir, err := os.MkdirTemp("", "ulvs-guest") // not TempDir: QEMU's options are divided by commas, tests' names are not
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	v := &vm{tb: tb, ns: testutil.NewNetNS(tb), log: filepath.Join(dir, "console")}
	for i, n := range m.nics {
		flavour := []string{}
		if n.queues > 1 {
			flavour = append(flavour, "multi_queue")
		}
		name := fmt.Sprintf("t%d", i)
		v.here("ip", append([]string{"tuntap", "add", "dev", name, "mode", "tap"}, flavour...)...)
		v.here("sysctl", "-qw", "net.ipv6.conf."+name+".disable_ipv6=1")
		v.here("ip", "link", "set", name, "up")
	}
	socket := filepath.Join(dir, "port")
	v.cmd = exec.Command("qemu-system-x86_64", v.arguments(a, initramfs, socket, m)...)
	v.cmd.Stderr = os.Stderr
	if err := v.ns.Do(v.cmd.Start); err != nil {
		tb.Fatalf("start QEMU: %v", err)
	}
	tb.Cleanup(v.off)
	v.connect(socket)
	return v
}

func (v *vm) arguments(a *Assets, initramfs, socket string, m machine) []string {
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-accel", "tcg,thread=multi", "-cpu", "max",
		// With interrupt remapping an affinity takes effect at once, not with the next interrupt.
		"-machine", "q35,kernel-irqchip=split", "-device", "intel-iommu,intremap=on",
		"-smp", fmt.Sprint(m.cpus), "-m", "768", "-kernel", a.Kernel, "-initrd", initramfs,
		"-append", "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check net.ifnames=0 rdinit=/bin/guest",
		"-serial", "file:" + v.log, "-chardev", "socket,id=port,server=on,wait=off,path=" + socket, "-serial", "chardev:port",
	}
	for i, n := range m.nics {
		back, device := fmt.Sprintf("tap,id=n%d,ifname=t%d,script=no,downscript=no,vhost=off", i, i), n.model
		if n.queues > 1 {
			back += fmt.Sprintf(",queues=%d", n.queues)
			device += fmt.Sprintf(",mq=on,vectors=%d", 2*n.queues+2)
		}
		if n.extra != "" {
			device += "," + n.extra
		}
		args = append(args, "-netdev", back, "-device", fmt.Sprintf("%s,netdev=n%d,mac=%s", device, i, guestMAC(i)))
	}
	return args
}

func guestMAC(i int) string { return fmt.Sprintf("52:54:00:00:00:%02x", i+1) }

// here runs a command in the namespace of the taps.
func (v *vm) here(name string, args ...string) {
	v.tb.Helper()
	if err := v.ns.Do(func() error { return run(name, args...) }); err != nil {
		v.tb.Fatal(err)
	}
}

// connect waits for the guest's first process to say that it is ready.
func (v *vm) connect(socket string) {
	v.tb.Helper()
	var err error
	testutil.Await(v.tb, "QEMU's socket", func() bool {
		v.port, err = net.Dial("unix", socket)
		return err == nil
	})
	v.lines = bufio.NewReader(v.port)
	if a := v.answer(bootLimit); a.Err != "" {
		v.tb.Fatalf("the guest is not well: %s", a.Err)
	}
}

// answer is the guest's, as guest/main.go has it.
type answer struct {
	Code int
	Out  string
	Err  string
}

func (v *vm) answer(limit time.Duration) (a answer) {
	v.tb.Helper()
	if err := v.port.SetReadDeadline(time.Now().Add(limit)); err != nil {
		v.tb.Fatal(err)
	}
	line, err := v.lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	if err != nil {
		console, _ := os.ReadFile(v.log)
		v.tb.Fatalf("the guest does not answer: %v\nits console:\n%s", err, console)
	}
	return a
}

// try has the guest's shell run a command, and returns its exit code and what it printed.
func (v *vm) try(command string) (code int, out string) {
	v.tb.Helper()
	const seconds = 60
	request, err := json.Marshal(map[string]any{"Sh": command, "Seconds": seconds})
	if err == nil {
		_, err = v.port.Write(append(request, '\n'))
	}
	if err != nil {
		v.tb.Fatalf("ask the guest: %v", err)
	}
	a := v.answer(seconds*time.Second + readLimit)
	if a.Err != "" {
		v.tb.Fatalf("in the guest: %s: %s\n%s", command, a.Err, a.Out)
	}
	return a.Code, a.Out
}

// sh is try for what has to succeed.
func (v *vm) sh(command string) string {
	v.tb.Helper()
	code, out := v.try(command)
	if code != 0 {
		v.tb.Fatalf("in the guest: %s: exit code %d\n%s", command, code, out)
	}
	return strings.TrimSpace(out)
}

// write puts a file into the guest.
func (v *vm) write(path, text string) {
	v.tb.Helper()
	v.sh("cat >" + path + " <<'END OF FILE'\n" + text + "\nEND OF FILE")
}

// off turns the guest off and waits for QEMU's end.
func (v *vm) off() {
	if v.port != nil {
		_, _ = v.port.Write([]byte("{\"Off\":true}\n"))
	}
	ended := make(chan error, 1)
	go func() { ended <- v.cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = v.cmd.Process.Kill()
		<-ended
	}
	if v.tb.Failed() {
		console, _ := os.ReadFile(v.log)
		v.tb.Logf("the guest's console:\n%s", console)
	}
}
