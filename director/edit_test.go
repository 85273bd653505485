package director

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"ulvs/conntrack"
	"ulvs/control"
	"ulvs/dataplane"
	"ulvs/lvs"
	"ulvs/route"
)

func TestEditsAreRefusedWithTheKernelsNumbers(t *testing.T) {
	b := newBed(t)
	b.replace(service(80, 1))
	key, other := service(80).Key, service(81).Key
	dest := lvs.Destination{Addr: realAddr(1), Port: 80, Weight: 1}
	sync := lvs.SyncDaemon{Role: "master", Interface: "c0"}
	for _, c := range []struct {
		name string
		edit lvs.Edit
		want syscall.Errno
	}{
		{"a service that exists", lvs.Edit{Op: lvs.EditAddService, Key: key, Service: service(80)}, syscall.EEXIST},
		{"no such service", lvs.Edit{Op: lvs.EditSetService, Key: other, Service: service(81)}, syscall.ESRCH},
		{"no such service to delete", lvs.Edit{Op: lvs.EditDelService, Key: other}, syscall.ESRCH},
		{"no such scheduler", lvs.Edit{Op: lvs.EditAddService, Key: other, Service: lvs.Service{Scheduler: "x"}},
			syscall.ENOENT},
		{"a destination that exists", lvs.Edit{Op: lvs.EditAddDest, Key: key, Dest: dest}, syscall.EEXIST},
		{"a destination of no service", lvs.Edit{Op: lvs.EditAddDest, Key: other, Dest: dest}, syscall.ESRCH},
		{"no such destination", lvs.Edit{Op: lvs.EditDelDest, Key: key, Dest: lvs.Destination{Addr: realAddr(2)}},
			syscall.ENOENT},
		{"a lower limit above the upper", lvs.Edit{Op: lvs.EditSetDest, Key: key, Dest: lvs.Destination{
			Addr: dest.Addr, Port: 80, Upper: 1, Lower: 2}}, syscall.ERANGE},
		{"zeroing no such service", lvs.Edit{Op: lvs.EditZero, Key: other}, syscall.ESRCH},
		{"stopping no such daemon", lvs.Edit{Op: lvs.EditStopSync, Sync: sync}, syscall.ESRCH},
		{"a daemon on no such interface", lvs.Edit{Op: lvs.EditStartSync, Sync: lvs.SyncDaemon{
			Role: "backup", Interface: "x"}}, syscall.ENODEV},
	} {
		before := b.Snapshots().Load()
		if err := b.Edit(&c.edit); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if b.Snapshots().Load() != before {
			t.Errorf("%s: refused, and published", c.name)
		}
	}
}

func TestEditsTakeEffect(t *testing.T) {
	b := newBed(t)
	key := service(80).Key
	for _, e := range []lvs.Edit{
		{Op: lvs.EditAddService, Key: key, Service: lvs.Service{Scheduler: "rr"}},
		{Op: lvs.EditAddDest, Key: key, Dest: lvs.Destination{Addr: realAddr(1), Port: 80, Weight: 1}},
		{Op: lvs.EditAddDest, Key: key, Dest: lvs.Destination{Addr: realAddr(2), Port: 80, Weight: 1}},
	} {
		if err := b.Edit(&e); err != nil {
			t.Fatal(err)
		}
	}
	l := b.Listing()
	if len(l.Services) != 1 || len(l.Services[0].Destinations) != 2 {
		t.Fatalf("listing %+v, want one service with two real servers", l.Services)
	}
	if first := l.Services[0].Destinations[0].Destination.Addr; first != realAddr(2) {
		t.Errorf("%s is listed first, want the newest, %s", first, realAddr(2))
	}
	quiet := lvs.Edit{Op: lvs.EditSetDest, Key: key, Dest: lvs.Destination{Addr: realAddr(1), Port: 80, Weight: 0}}
	if err := b.Edit(&quiet); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if to := b.syn(); to != realAddr(2) {
			t.Errorf("a session went to %v with weight 0", to)
		}
	}
	if err := b.Edit(&lvs.Edit{Op: lvs.EditFlush}); err != nil || len(b.Listing().Services) != 0 {
		t.Errorf("after a flush: %v, %v", b.Listing().Services, err)
	}
	if to := b.syn(); to.IsValid() {
		t.Errorf("a session went to %s without a service", to)
	}
}

func TestTimeoutsAndSettingsReachTheWorkers(t *testing.T) {
	b := newBed(t)
	if err := b.Edit(&lvs.Edit{Op: lvs.EditTimeouts, Timeouts: [3]int{100, 0, 7}}); err != nil {
		t.Fatal(err)
	}
	s := b.Snapshots().Load()
	tcp, udp := s.Timeouts.Of(conntrack.TCPEstablished), s.Timeouts.Of(conntrack.UDPNormal)
	if tcp != 100*conntrack.TicksPerSecond || udp != 7*conntrack.TicksPerSecond {
		t.Errorf("timeouts of %d and %d ticks", tcp, udp)
	}
	if got := b.Listing().Timeouts; got != [3]int{100, 120, 7} {
		t.Errorf("listed timeouts %v", got)
	}
	if err := b.SetSetting("sloppy_tcp", 1); err != nil || b.Snapshots().Load().Settings.SloppyTCP != 1 {
		t.Errorf("sloppy_tcp: %v, %+v", err, b.Snapshots().Load().Settings)
	}
	if err := b.SetSetting("sloppy_tcp", 2); err == nil {
		t.Error("sloppy_tcp = 2 was accepted")
	}
}

func TestZeroStartsCountsAnew(t *testing.T) {
	b := newBed(t)
	b.replace(service(80, 1), service(443, 1))
	b.syn()
	b.TickRates()
	if err := b.Edit(&lvs.Edit{Op: lvs.EditZero, Key: service(443).Key}); err != nil {
		t.Fatal(err)
	}
	l := b.Listing()
	if l.Services[0].Counters.Conns != 1 || l.Total.Conns != 1 {
		t.Errorf("zeroing another service: %+v, in all %+v", l.Services[0].Counters, l.Total)
	}
	if err := b.Edit(&lvs.Edit{Op: lvs.EditZero}); err != nil {
		t.Fatal(err)
	}
	b.syn()
	if l = b.Listing(); l.Total.Stats != (control.Stats{}) {
		t.Errorf("before the estimator's tick: %+v", l.Total)
	}
	b.TickRates()
	l = b.Listing()
	for _, c := range []control.Counters{l.Total, l.Services[0].Counters, l.Services[0].Destinations[0].Counters} {
		if c.Conns != 1 || c.InPackets != 1 || c.InBytes != 40 {
			t.Errorf("after -Z and one packet: %+v", c)
		}
	}
	if n := l.Services[0].Destinations[0].Active; n != 2 {
		t.Errorf("-Z left %d active sessions, want both", n)
	}
}

func TestSyncDaemonsAreListed(t *testing.T) {
	b := newBed(t)
	backup := lvs.SyncDaemon{Role: "backup", Interface: "s0", SyncID: 7, TTL: 3, Port: 99, Group: "224.0.0.9", MaxLen: 500}
	for _, d := range []lvs.SyncDaemon{backup, {Role: "master", Interface: "s0"}} {
		if err := b.Edit(&lvs.Edit{Op: lvs.EditStartSync, Sync: d}); err != nil {
			t.Fatal(err)
		}
	}
	master := lvs.SyncDaemon{Role: "master", Interface: "s0", MaxLen: 1472, Group: "224.0.0.81", Port: 8848, TTL: 1}
	backup.MaxLen = 1024 // no less
	if got := b.Listing().Daemons; !slices.Equal(got, []lvs.SyncDaemon{master, backup}) {
		t.Errorf("daemons %+v, want the master with the kernel's defaults, then the backup", got)
	}
	again := lvs.Edit{Op: lvs.EditStartSync, Sync: backup}
	if err := b.Edit(&again); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("a second backup: %v", err)
	}
	if err := b.Edit(&lvs.Edit{Op: lvs.EditStopSync, Sync: master}); err != nil || len(b.Listing().Daemons) != 1 {
		t.Errorf("after the master stopped: %+v, %v", b.Listing().Daemons, err)
	}
}

// The recorded rates of a kernel, tick by tick.
func TestRatesAreTheKernels(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "estimator.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Cases []struct {
			Kind          string
			Deltas, Shown []uint64
		}
	}
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors.Cases) == 0 {
		t.Fatalf("%d cases, %v", len(vectors.Cases), err)
	}
	for i, c := range vectors.Cases {
		var e estimator
		var sum dataplane.DestStats
		for tick, delta := range c.Deltas {
			sum.Add(dataplane.DestStats{Conns: delta, InPackets: delta, OutPackets: delta, InBytes: delta, OutBytes: delta})
			e.tick(sum)
			r := e.show()
			got := []uint64{r.Conns, r.InPackets, r.OutPackets}
			if c.Kind == "bps" {
				got = []uint64{r.InBytes, r.OutBytes}
			}
			for _, n := range got {
				if n != c.Shown[tick] {
					t.Errorf("case %d (%s) tick %d: shows %v, the kernel %d", i, c.Kind, tick, got, c.Shown[tick])
					break
				}
			}
		}
	}
}

func TestVLANInterfacesArePortsWithATag(t *testing.T) {
	ports := []port{{name: "c0", index: 2}, {name: "s0", index: 3}, {name: "gone"}}
	m := newLinkMap(ports, []route.Link{
		{Index: 1, Name: "lo"}, {Index: 2, Name: "c0"}, {Index: 3, Name: "s0"},
		{Index: 4, Name: "s0.200", VLAN: 200, Parent: 3}, {Index: 5, Name: "eth9.200", VLAN: 200, Parent: 9},
		{Index: 6, Name: "macvlan0", Parent: 3},
	})
	want := map[int]dataplane.HopKey{2: {Port: 0}, 3: {Port: 1}, 4: {Port: 1, VLAN: 200}}
	if len(m.byIndex) != len(want) {
		t.Errorf("links %v, want %v", m.byIndex, want)
	}
	for index, key := range want {
		if got, ok := m.byIndex[index]; !ok || got != key {
			t.Errorf("link %d is %v, want %v", index, got, key)
		}
		key.Addr = client // a hop there
		if l, ok := m.linkOf(key); !ok || l.Index != index {
			t.Errorf("%v leaves by link %d, want %d", key, l.Index, index)
		}
	}
}
