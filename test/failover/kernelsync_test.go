package failover

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"ulvs/internal/testutil"
	"ulvs/test/lab"
)

// ipvsSynced are options with [ipvs_sync] over the servers' network, and no [sync].
func ipvsSynced(priority int) options {
	return options{priority: priority, advert: steady,
		sync: "[ipvs_sync]\nrole = \"vrrp\"\nvrrp = \"VI_1\"\ninterface = \"s0\"\n"}
}

// ipvsadm runs our ipvsadm in a director's namespace, or fails the test.
func (p *peer) ipvsadm(l *lab.Lab, args ...string) string {
	p.t.Helper()
	argv := append([]string{"ipvsadm"}, args...)
	cmd := l.Command(p.name, ulvsBinary, argv...)
	cmd.Env = append(cmd.Environ(), "ULVS_SOCKET="+l.ControlSocket(p.name))
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("ipvsadm %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (p *peer) awaitDaemon(l *lab.Lab, role string) {
	p.t.Helper()
	want := role + " sync daemon (mcast=s0, syncid=51, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)\n"
	testutil.Await(p.t, p.name+" to run "+want, func() bool { return p.ipvsadm(l, "-L", "--daemon") == want })
}

// awaitSessions waits until a director has so many established sessions.
func (p *peer) awaitSessions(l *lab.Lab, n int) {
	p.t.Helper()
	testutil.Await(p.t, fmt.Sprintf("%s to have %d sessions", p.name, n), func() bool {
		return strings.Count(p.ipvsadm(l, "-Lnc"), "ESTABLISHED") >= n
	})
}

// Two directors that know each other by nothing but IPVS's own sync protocol, as a kernel with keepalived would.
func TestNoConnectionIsLostOverIPVSsOwnProtocol(t *testing.T) {
	l := twoDirectors(t)
	d1 := startULVS(t, l, "d1", ipvsSynced(200))
	d1.await("MASTER")
	d1.awaitDaemon(l, "master")
	const conns = 20
	c := startLongLived(t, l, conns) // before the backup is there: only a master that tells all it has can help
	d2 := startULVS(t, l, "d2", ipvsSynced(100))
	d2.awaitDaemon(l, "backup")
	d1.ipvsadm(l, "--stop-daemon", "master")
	d1.ipvsadm(l, "--start-daemon", "master", "--mcast-interface", "s0", "--syncid", "51")
	d2.awaitSessions(l, conns)
	d1.end(syscall.SIGKILL)
	d2.await("MASTER")
	d2.awaitDaemon(l, "master")
	c.more(10)
	if lost := c.broken(); len(lost) > 0 {
		t.Errorf("%d of %d connections broke: %v", len(lost), conns, lost[0])
	}
	out, err := exec.Command(ulvsBinary, "sync", "--socket", l.ControlSocket("d2")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "master") {
		t.Errorf("ulvs sync: %v\n%s", err, out)
	}
}
