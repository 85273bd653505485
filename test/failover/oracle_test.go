package failover

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ulvs/internal/testutil"
	"ulvs/test/lab"
)

// kernelScript makes a director of a real kernel, in user mode, with a tap towards ulvs: a service of its own with a
// client that talks, ulvs's service, and both sync daemons. It lists its sessions every second until told to halt.
// %[1]s is a folder, %[2]s ulvs's VIP, %[3]s its real servers.
const kernelScript = `
exec >%[1]s/kernel.log 2>&1
ip addr add 10.77.0.1/24 dev vec0; ip link set vec0 up
for n in c s; do
	ip netns add $n
	ip link add ${n}0 type veth peer name e0 netns $n
	ip link set ${n}0 up; ip -n $n link set e0 up; ip -n $n link set lo up
done
ip addr add 192.0.2.1/24 dev c0; ip -n c addr add 192.0.2.2/24 dev e0; ip -n c route add default via 192.0.2.1
ip addr add 10.9.9.1/24 dev s0; ip -n s addr add 10.9.9.2/24 dev e0; ip -n s route add default via 10.9.9.1
ip addr add 198.18.0.200/32 dev lo
sysctl -qw net.ipv4.ip_forward=1
ipvsadm -A -t 198.18.0.200:7000 -s rr -p 60
ipvsadm -a -t 198.18.0.200:7000 -r 10.9.9.2:7000 -m
ipvsadm -A -t %[2]s:%[4]d -s rr
for r in %[3]s; do ipvsadm -a -t %[2]s:%[4]d -r $r:%[4]d -g; done
ipvsadm --start-daemon master --mcast-interface vec0 --syncid 51
ipvsadm --start-daemon backup --mcast-interface vec0 --syncid 51
ip netns exec s /usr/bin/python3 -c '
import socket
l = socket.create_server(("10.9.9.2", 7000))
c, _ = l.accept()
while c.send(c.recv(100)): pass' &
sleep 1
ip netns exec c /usr/bin/python3 -c '
import socket, time
c = socket.create_connection(("198.18.0.200", 7000))
while True:
	c.send(b"x"); c.recv(100); time.sleep(0.2)' &
while [ ! -e %[1]s/halt ]; do
	ipvsadm -Lnc >%[1]s/listing.new && mv %[1]s/listing.new %[1]s/listing
	sleep 1
done
`

// bootLimit is for a kernel that needs two seconds where nobody else needs the cores.
const bootLimit = time.Minute

// sessionsIn returns the sessions of a listing without their times, sorted.
func sessionsIn(listing, vip string) []string {
	var out []string
	for line := range strings.Lines(listing) {
		if f := strings.Fields(line); len(f) == 6 && strings.HasPrefix(f[4], vip+":") {
			out = append(out, strings.Join(append(f[:1], f[2:]...), " "))
		}
	}
	slices.Sort(out)
	return out
}

// A real kernel and ulvs are each other's master and backup, and end with the same sessions. ULVS_ORACLE names the
// folder that has uml.sh, which runs Debian's user mode kernel; it is not part of this repository.
func TestARealKernelAndULVSHaveEachOthersSessions(t *testing.T) {
	oracle := os.Getenv("ULVS_ORACLE")
	if oracle == "" {
		t.Skip("ULVS_ORACLE does not name a folder with uml.sh")
	}
	l := twoDirectors(t)
	shell(t, l, "d1", "ip", "tuntap", "add", "dev", "k0", "mode", "tap")
	shell(t, l, "d1", "ip", "addr", "add", "10.77.0.2/24", "dev", "k0")
	shell(t, l, "d1", "ip", "link", "set", "k0", "up")
	own := "\n[[service]]\nvip = \"198.18.0.200:7000\"\nscheduler = \"rr\"\nmethod = \"nat\"\n" +
		"persistence_timeout = \"60s\"\n[[service.real_server]]\naddress = \"10.9.9.2:7000\"\n"
	o := ipvsSynced(200)
	o.sync = own + strings.ReplaceAll(strings.ReplaceAll(o.sync, "s0", "k0"), "role = \"vrrp\"\nvrrp = \"VI_1\"",
		"role = \"both\"\nsync_id = 51")
	d1 := startULVS(t, l, "d1", o)
	d1.await("MASTER")
	dir := startKernel(t, l, oracle)
	vip := l.Addresses().DR.IPv4.String()
	listing := func() string {
		text, _ := os.ReadFile(filepath.Join(dir, "listing")) // not there yet: no session
		return string(text)
	}
	for end := time.Now().Add(bootLimit); listing() == "" && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
	c := startLongLived(t, l, 5)
	testutil.Await(t, "the kernel to have ulvs's sessions", func() bool { return len(sessionsIn(listing(), vip)) >= 5 })
	testutil.Await(t, "ulvs to have the kernel's session and its template", func() bool {
		return len(sessionsIn(d1.ipvsadm(l, "-Lnc"), "198.18.0.200")) == 2
	})
	for _, of := range []string{vip, "198.18.0.200"} {
		testutil.Await(t, "both to list the same of "+of, func() bool {
			return slices.Equal(sessionsIn(listing(), of), sessionsIn(d1.ipvsadm(l, "-Lnc"), of))
		})
	}
	t.Logf("the kernel:\n%s\nulvs:\n%s", listing(), d1.ipvsadm(l, "-Lnc"))
	for _, daemon := range d1.sync().IPVS {
		if len(daemon.Rejected) > 0 || daemon.Failed > 0 {
			t.Errorf("%+v", daemon)
		}
	}
	if lost := c.broken(); len(lost) > 0 {
		t.Errorf("connections broke: %v", lost)
	}
}

// startKernel boots the kernel beside d1 and returns the folder that it writes to.
func startKernel(t *testing.T, l *lab.Lab, oracle string) string {
	t.Helper()
	dir := t.TempDir()
	var reals []string
	for _, r := range l.Addresses().Reals {
		reals = append(reals, r.Addr.IPv4.String())
	}
	script := fmt.Sprintf(kernelScript, dir, l.Addresses().DR.IPv4, strings.Join(reals, " "), lab.PortEcho)
	file := filepath.Join(dir, "kernel.sh")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	kernel := launch(t, l, "d1", "bash", filepath.Join(oracle, "uml.sh"), file,
		"vec0:transport=tap,ifname=k0,depth=128,gro=0")
	t.Cleanup(func() {
		if err := os.WriteFile(filepath.Join(dir, "halt"), nil, 0o600); err != nil {
			t.Error(err)
		}
		err := <-kernel.ended
		kernel.ended <- err
		if text, err := os.ReadFile(filepath.Join(dir, "kernel.log")); err == nil && t.Failed() {
			list, _ := os.ReadFile(filepath.Join(dir, "listing")) // if it came so far
			t.Logf("the kernel's script:\n%s\n%s\n%s", text, list, kernel.log)
		}
	})
	return dir
}
