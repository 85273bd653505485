package director

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ulvs/config"
	"ulvs/conntrack"
	"ulvs/control"
	"ulvs/dataplane"
	"ulvs/lvs"
)

// twoPorts is a Network without neighbours.
type twoPorts struct{}

func (twoPorts) NextHop(netip.Addr) (key dataplane.HopKey, source netip.Addr, ok bool) {
	return key, source, false
}
func (twoPorts) Hop(dataplane.HopKey) dataplane.Hop { return dataplane.Hop{} }
func (twoPorts) Locals() []netip.Addr               { return nil }
func (twoPorts) Ports() []dataplane.Port            { return []dataplane.Port{{Name: "eth0"}, {Name: "eth1"}} }

func newTestNode(t *testing.T) *Node {
	t.Helper()
	table, err := conntrack.New(conntrack.Options{Bits: 10, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	})
	n, err := NewNode(NodeOptions{Table: table, Network: twoPorts{}})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

const baseFile = `[node]
interfaces = ["eth0", "eth1"]
[[service]]
vip = "192.0.2.10:80"
[[service.real_server]]
address = "10.0.0.1"
[[service.real_server]]
address = "10.0.0.2"
[[service]]
vip = "192.0.2.11:80"
`

func fileOf(t *testing.T, text string, pairs ...string) *config.Config {
	t.Helper()
	c, err := config.Parse("f", []byte(strings.NewReplacer(pairs...).Replace(text)), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func load(t *testing.T, n *Node, c *config.Config) control.Reloaded {
	t.Helper()
	out, err := n.Load(c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func edit(t testing.TB, n *Node, e *lvs.Edit) {
	t.Helper()
	if err := n.Edit(e); err != nil {
		t.Fatal(err)
	}
}

func shop() lvs.ServiceKey {
	return lvs.ServiceKey{Addr: netip.MustParseAddr("192.0.2.10"), Port: 80, Proto: lvs.ProtoTCP}
}

func weight(last byte, w int32) lvs.Destination {
	return lvs.Destination{Addr: netip.AddrFrom4([4]byte{10, 0, 0, last}), Port: 80, Weight: w}
}

func TestAReloadAppliesTheDifferenceOnly(t *testing.T) {
	n := newTestNode(t)
	load(t, n, fileOf(t, baseFile))
	before := n.built.Service(shop())
	before.Destinations[0].Load.Bind(true)
	scheduler := n.schedulers[shop()]
	out := load(t, n, fileOf(t, baseFile+"[timeouts]\ntcp = 60\n[settings]\nsloppy_tcp = true\n",
		"10.0.0.2\"\n", "10.0.0.2\"\nweight = 5\n", "192.0.2.11", "192.0.2.12"))
	want := []string{
		"service tcp 192.0.2.10:80: real server 10.0.0.2:80: weight 1 -> 5",
		"service tcp 192.0.2.12:80: added, 0 real servers",
		"service tcp 192.0.2.11:80: removed",
		"timeouts: tcp 15m -> 1m",
		"setting sloppy_tcp: 0 -> 1",
	}
	if !slices.Equal(out.Changes, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(out.Changes, "\n"), strings.Join(want, "\n"))
	}
	after := n.built.Service(shop())
	if after.ID != before.ID || after.Destinations[0].Load.Active() != 1 || n.schedulers[shop()] != scheduler {
		t.Error("ids, counts or the scheduler of what stays are others")
	}
	snap := n.Snapshots().Load()
	ticks, sloppy := snap.Timeouts.Of(conntrack.TCPEstablished), snap.Settings.SloppyTCP
	if ticks != 60*conntrack.TicksPerSecond || sloppy != 1 {
		t.Errorf("workers see a timeout of %d ticks and sloppy_tcp %d", ticks, sloppy)
	}
}

func TestAReloadOfTheSameFileDoesNothing(t *testing.T) {
	n := newTestNode(t)
	load(t, n, fileOf(t, baseFile))
	generation := n.generation
	if out := load(t, n, fileOf(t, baseFile)); len(out.Changes) != 0 || n.generation != generation {
		t.Errorf("changes %v, generation %d -> %d", out.Changes, generation, n.generation)
	}
}

func TestAReloadTellsWhichEditsByHandAreGone(t *testing.T) {
	n := newTestNode(t)
	load(t, n, fileOf(t, baseFile))
	edit(t, n, &lvs.Edit{Op: lvs.EditSetDest, Key: shop(), Dest: weight(1, 7)})
	edit(t, n, &lvs.Edit{Op: lvs.EditSetDest, Key: shop(), Dest: weight(2, 8)})
	edit(t, n, &lvs.Edit{Op: lvs.EditAddDest, Key: shop(), Dest: weight(3, 9)})
	out := load(t, n, fileOf(t, baseFile, "10.0.0.1\"\n", "10.0.0.1\"\nweight = 7\n"))
	if out.DiscardedEdits != 2 || len(out.Changes) != 2 {
		t.Errorf("%d edits gone, want 2 (the file has the third): %q", out.DiscardedEdits, out.Changes)
	}
	if out = load(t, n, fileOf(t, baseFile)); out.DiscardedEdits != 0 {
		t.Errorf("%d edits gone of none", out.DiscardedEdits)
	}
}

func TestAStatusTellsHowFarTheFileIs(t *testing.T) {
	n := newTestNode(t)
	status := func() (s control.Status) {
		n.mu.RLock()
		defer n.mu.RUnlock()
		n.compare().tell(&s)
		return s
	}
	load(t, n, fileOf(t, baseFile))
	if s := status(); s.Modified {
		t.Errorf("modified right after loading: %+v", s)
	}
	edit(t, n, &lvs.Edit{Op: lvs.EditSetDest, Key: shop(), Dest: weight(1, 7)})
	edit(t, n, &lvs.Edit{Op: lvs.EditAddDest, Key: shop(), Dest: weight(3, 9)})
	edit(t, n, &lvs.Edit{Op: lvs.EditTimeouts, Timeouts: [3]int{0, 5, 0}})
	if err := n.SetSetting("drop_entry", 3); err != nil {
		t.Fatal(err)
	}
	if s := status(); !s.Modified || s.ModifiedServices != 1 || !s.ModifiedTimeouts || s.ModifiedSettings != 1 {
		t.Errorf("got %+v", s)
	}
	edit(t, n, &lvs.Edit{Op: lvs.EditSetDest, Key: shop(), Dest: weight(1, 1)})
	edit(t, n, &lvs.Edit{Op: lvs.EditDelDest, Key: shop(), Dest: weight(3, 9)})
	if s := status(); s.ModifiedServices != 0 {
		t.Errorf("edits that were taken back count: %+v", s)
	}
}

func TestMarksFollowInterfacesByName(t *testing.T) {
	n := newTestNode(t)
	out := load(t, n, fileOf(t, baseFile+`
[[service]]
mark = 7
method = "nat"
[[service.real_server]]
address = "10.0.0.9:8080"
[[mark]]
mark = 7
interface = "eth1"
destination = "192.0.2.20"
protocol = "tcp"
ports = "443"
[[mark]]
mark = 8
destination = "192.0.2.21"
`))
	if last := out.Changes[len(out.Changes)-1]; last != "marks: 0 rules -> 2 rules" {
		t.Errorf("got %q", last)
	}
	rules := n.Snapshots().Load().Marks
	if len(rules) != 2 || rules[0].Port != 2 || rules[0].DstPorts != [2]uint16{443, 443} || rules[1].Port != 0 {
		t.Errorf("got %+v", rules)
	}
	if vips := n.vips(); !slices.Contains(vips, netip.MustParseAddr("192.0.2.20")) ||
		slices.Contains(vips, netip.MustParseAddr("192.0.2.21")) {
		t.Errorf("VIPs %v: want 192.0.2.20, whose mark has a service, and not 192.0.2.21", vips)
	}
	for _, r := range n.rules().Replies {
		if r.Proto == 0 && r.Port != 0 {
			t.Errorf("a port of every protocol cannot be steered: %+v", r)
		}
	}
}

func TestAReloadOfAFileWithErrorsChangesNothing(t *testing.T) {
	text := baseFile
	d := &director{Node: newTestNode(t), log: slog.New(slog.DiscardHandler), opt: Options{Config: fileOf(t, baseFile)}}
	d.openSight()
	if _, err := d.Reload(); err == nil {
		t.Error("reloaded without a file")
	}
	d.opt.Load = func() (*config.Config, error) { return config.Parse("f", []byte(text), config.Options{}) }
	load(t, d.Node, d.opt.Config)
	generation := d.generation
	text = strings.Replace(baseFile, "vip", "vlp", 2)
	if _, err := d.Reload(); err == nil || strings.Count(err.Error(), "\n") != 3 || d.generation != generation {
		t.Errorf("generation %d -> %d, got %v", generation, d.generation, err)
	}
	text = strings.Replace(baseFile, "[node]", "[node]\nworkers = 3", 1)
	out, err := d.Reload()
	if err != nil || len(out.Changes) != 0 || !slices.Equal(out.NeedsRestart, []string{"node.workers: 0 -> 3"}) {
		t.Errorf("got %+v, %v", out, err)
	}
	edit(t, d.Node, &lvs.Edit{Op: lvs.EditFlush})
	text = "[node]\ninterfaces = [\"eth0\"]\n"
	if err := d.Saved(); err != nil {
		t.Fatal(err)
	}
	if r := d.Running(); !r.Running.Equal(r.Loaded) {
		t.Errorf("after saving %v differs from %v", r.Running, r.Loaded)
	}
}
