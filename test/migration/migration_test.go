package migration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ulvs/internal/testutil"
	"ulvs/test/lab"
	"ulvs/test/lab/labtest"
)

var ulvsBinary string

func TestMain(m *testing.M) { labtest.Main(m, &ulvsBinary) }

// ipvs is what stands for the kernel's IPVS: it takes what arrives for the services, and nobody's VIP.
const ipvs = "[node]\ninterfaces = [\"eth0\", \"eth1\"]\nvip_mode = \"netlink\"\n[restart]\nkeep = \"off\"\n" +
	"[[service]]\nvip = \"198.18.0.100:80\"\nscheduler = \"rr\"\nmethod = \"dr\"\npersistence_timeout = \"50s\"\n" +
	"[[service.real_server]]\naddress = \"10.18.1.11:80\"\n[[service.real_server]]\naddress = \"10.18.1.12:80\"\n"

// connections is how many clients of the pair talk on one connection all the time.
const connections = 20

// byHand are services of the pair that are in no file.
const byHand = `-A -t 198.18.0.100:7 -s wrr
-a -t 198.18.0.100:7 -r 10.18.1.11:7 -g -w 3
-a -t 198.18.0.100:7 -r 10.18.1.12:7 -g -w 1
-A -u 198.18.0.100:7 -s wrr
-a -u 198.18.0.100:7 -r 10.18.1.11:7 -g -w 1
-a -u 198.18.0.100:7 -r 10.18.1.12:7 -g -w 1
`

// live is the pair before the afternoon, and the third machine.
type live struct {
	lab   *lab.Lab
	hosts map[string]*host
}

func newLive(t *testing.T) *live {
	t.Helper()
	if _, err := exec.LookPath("keepalived"); err != nil {
		testutil.Require(t, testutil.NeedNetNS, "keepalived is not installed")
	}
	s := &live{labtest.Up(t, lab.Options{Prefix: "ulvsmig", Directors: 3, RealServers: 2}), map[string]*host{}}
	labtest.Serve(t, s.lab)
	root, bin := t.TempDir(), t.TempDir()
	for _, name := range []string{"ulvs", "ipvsadm"} {
		if err := os.Symlink(ulvsBinary, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	for ns, name := range map[string]string{"d1": "lvs1", "d2": "lvs2", "d3": "lvs3"} {
		h := newHost(t, s.lab, ns, name, root, bin)
		h.write(t, "etc/ip_vs.toml", ipvs)
		h.write(t, "etc/ip_vs.rules", byHand)
		h.write(t, "etc/ip_vs.vip", "198.18.0.100/32")
		s.hosts[name] = h
	}
	t.Cleanup(func() {
		for _, h := range s.hosts {
			if t.Failed() {
				t.Logf("logs of %s:\n%s", h.name, h.logs())
			}
		}
	})
	return s
}

// do runs commands of the test's own on a host.
func (s *live) do(t *testing.T, name, text string) {
	t.Helper()
	if _, err := s.hosts[name].run(t.Context(), Block{Text: text}); err != nil {
		t.Fatal(err)
	}
}

// pair starts the keepalived pair with the guide's file.
func (s *live) pair(t *testing.T, conf string) {
	t.Helper()
	second := strings.NewReplacer("MASTER", "BACKUP", "priority 150", "priority 100", "lvs1", "lvs2").Replace(conf)
	s.hosts["lvs1"].write(t, "etc/keepalived/keepalived.conf", conf)
	s.hosts["lvs2"].write(t, "etc/keepalived/keepalived.conf", second)
	s.do(t, "lvs1", "systemctl start keepalived")
	s.do(t, "lvs2", "systemctl start keepalived")
	s.do(t, "lvs1", "timeout 30 sh -c 'until ip addr show dev eth0 | grep -q 198.18.0.100; do sleep 0.05; done'")
}

func guide(t *testing.T) []Block {
	t.Helper()
	text, err := os.ReadFile("../../docs/migration.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := Blocks(string(text))
	if err != nil {
		t.Fatalf("docs/migration.md: %v", err)
	}
	return blocks
}

// moves tells whether clients may notice a block: the VIP moves.
func moves(b Block) bool {
	return strings.Contains(b.Text, "vrrp re") || strings.Contains(b.Text, "systemctl restart") ||
		strings.Contains(b.Text, "disable --now")
}

func TestTheGuideWorksAsWritten(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 20 s")
	}
	s, blocks := newLive(t), guide(t)
	var c *client
	var long *longLived
	out, ran := "", 0
	for _, b := range blocks {
		switch b.Kind {
		case "conf":
			s.pair(t, b.Text)
			c = startClient(t, s.lab, "198.18.0.100:80")
			if failed, _ := c.more(20); failed != nil {
				t.Fatalf("the pair does not serve: %v", failed)
			}
			long = startLongLived(t, s.lab, "198.18.0.100:7", connections)
		case "sh":
			begin := time.Now()
			var err error
			if out, err = s.hosts[b.On].run(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			ran++
			failed, gap := c.more(20)
			t.Logf("line %d on %s: %v; longest pause %v, %d requests failed", b.Line, b.On,
				time.Since(begin).Round(time.Millisecond), gap.Round(time.Millisecond), len(failed))
			if len(failed) > 0 && !moves(b) {
				t.Errorf("clients noticed the block of line %d: %v", b.Line, failed)
			}
			if strings.Contains(b.Text, "enable --now keepalived") {
				long = nil // the way back ends open sessions, as the guide says
			}
			if lost := long.broken(t, 5*connections); lost != nil {
				t.Fatalf("line %d: %d of %d long connections broke, the first by %v", b.Line, len(lost), connections, lost[0])
			}
		case "text":
			if line, ok := Shows(out, b.Text); !ok {
				t.Errorf("line %d shows %q, and that was not printed:\n%s", b.Line, line, out)
			}
		}
	}
	if ran < 15 {
		t.Errorf("only %d blocks were run", ran)
	}
}

// TestAWrongCommandIsFound plants mistakes into the guide's own blocks: the test above can fail.
func TestAWrongCommandIsFound(t *testing.T) {
	s, blocks := newLive(t), guide(t)
	s.hosts["lvs1"].write(t, "etc/keepalived/keepalived.conf", blocks[0].Text)
	for _, plant := range []struct{ in, right, wrong, says string }{
		{"ulvs import", "-o /etc", "--outptu /etc", "line 3"},
		{"ulvs import", "scp lvs1:/etc/keepalived/", "scp lvs1:/etc/", "line 2"},
		{"ulvs vrrp release", "release", "relaese", "line 1"},
		{"ipvsadm -R", "grep -vxFf", "grep -vxFq -e -f", "line 1"},
	} {
		b := *find(t, blocks, plant.in)
		b.Text = strings.Replace(b.Text, plant.right, plant.wrong, 1)
		if out, err := s.hosts["lvs3"].run(t.Context(), b); err == nil || !strings.Contains(out, plant.says) {
			t.Errorf("%q for %q: %v, %s", plant.wrong, plant.right, err, out)
		}
	}
}

// find returns the first block of commands with that text.
func find(t *testing.T, blocks []Block, text string) *Block {
	t.Helper()
	for i := range blocks {
		if blocks[i].Kind == "sh" && strings.Contains(blocks[i].Text, text) {
			return &blocks[i]
		}
	}
	t.Fatalf("no block has %q", text)
	return nil
}
