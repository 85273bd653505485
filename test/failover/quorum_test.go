package failover

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"ulvs/internal/testutil"
	"ulvs/test/lab"
	"ulvs/test/lab/labtest"
)

// voting are options of one of three directors in mode quorum, whose gateway is the lab's.
func voting(t *testing.T, l *lab.Lab, ns string, priority int) options {
	t.Helper()
	key := filepath.Join(t.TempDir(), "sync.key")
	if err := os.WriteFile(key, []byte("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var peers []string
	for _, d := range l.Addresses().Directors {
		if d.Name != ns {
			peers = append(peers, d.Server.IPv4.String())
		}
	}
	o := options{priority: priority, advert: "200ms"}
	o.sync = fmt.Sprintf("[sync]\ninterface = \"s0\"\nkey_file = %q\npeers = [%q, %q]\n", key, peers[0], peers[1])
	o.node = fmt.Sprintf("state_directory = %q\n", filepath.Join(t.TempDir(), "state"))
	o.extra = fmt.Sprintf("mode = \"quorum\"\ngateway = [%q]\n", l.Addresses().GatewayClient.IPv4)
	return o
}

func (p *peer) awaitDirectors(n int) {
	p.t.Helper()
	testutil.Await(p.t, fmt.Sprintf("%s to see %d directors and its gateway", p.name, n), func() bool {
		in := p.instance()
		return in.Members == n && in.Gateway == "answers" && in.Mode == "quorum"
	})
}

// A director that is cut off from the other two, and from its gateway, gives the VIP up; they elect another. Alone it
// takes nothing, also after a crash, and a majority takes everything.
func TestTheMinorityGivesTheVIPUp(t *testing.T) {
	l := labtest.Up(t, lab.Options{Prefix: "ulvsfo", Directors: 3, RealServers: 2})
	labtest.Serve(t, l)
	var all []*peer
	for i, priority := range []int{200, 150, 100} {
		ns := fmt.Sprintf("d%d", i+1)
		all = append(all, startULVS(t, l, ns, voting(t, l, ns, priority)))
	}
	d1, d2, d3 := all[0], all[1], all[2]
	for _, d := range all {
		d.awaitDirectors(3)
	}
	d1.await("MASTER")
	p := startProbe(t, l)
	for _, sw := range [][2]string{{"sw0", "d1-c0"}, {"sw1", "d1-s0"}} {
		shell(t, l, sw[0], "ip", "link", "set", sw[1], "nomaster")
	}
	d1.await("BACKUP")
	d2.await("MASTER")
	awaitAnswers(t, p, 50)
	d2.end(syscall.SIGKILL) // of the three only d3 is left, which is no majority
	testutil.Await(t, "d3 to find no majority", func() bool {
		list, err := d3.client.RecentEvents(t.Context(), eventsOf("vrrp_alarm"))
		return err == nil && len(list) > 0 && d3.state() == "BACKUP"
	})
	for _, sw := range [][2]string{{"sw0", "d1-c0"}, {"sw1", "d1-s0"}} {
		shell(t, l, sw[0], "ip", "link", "set", sw[1], "master", "br0")
	}
	d1.await("MASTER") // with d3's vote
	awaitAnswers(t, p, 50)
	d3.await("BACKUP")
}
