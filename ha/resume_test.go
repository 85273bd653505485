package ha

import (
	"net/netip"
	"strings"
	"testing"
)

// resume puts another configuration in the place of the desk's.
func (d *desk) resume(cfg Config, tracked ...string) string {
	next := New(cfg)
	acts := next.Resume(d.m, d.now, func(_ int, track string) bool {
		for _, name := range tracked {
			if name == track {
				return true
			}
		}
		return false
	})
	d.m = next
	return words(acts)
}

func masterOf(t *testing.T, cfg Config) *desk {
	t.Helper()
	d := newDesk(t, cfg)
	d.do(Event{Kind: EventStart})
	if got := d.at(second); !strings.Contains(got, "MASTER") {
		t.Fatalf("alone it is no master: %s", got)
	}
	return d
}

func TestAMasterStaysMasterOverAReload(t *testing.T) {
	d := masterOf(t, one(v3(100)))
	before := d.m.View(0)
	d.want(d.resume(one(v3(100))), "")
	if after := d.m.View(0); after != before {
		t.Errorf("%+v became %+v", before, after)
	}
	d.want(d.resume(one(v3(150))), "send 150") // at once: the others are to know
	slow := v3(150)
	slow.AdvertInt = 500 * millisecond
	d.want(d.resume(one(slow)), "send 150")
	if got := d.at(d.now + 400*millisecond); strings.Contains(got, "send") {
		t.Errorf("within the longer interval: %q", got)
	}
	more := one(slow)
	more.Units[0].Instances[0].VIPs = append(more.Units[0].Instances[0].VIPs, netip.MustParseAddr("198.18.0.101"))
	if got := d.resume(more); !strings.Contains(got, "send 150") || !strings.Contains(got, "announce 1") {
		t.Errorf("one more VIP: %q, want an advert and an announcement", got)
	}
}

func TestABackupListensOnOverAReload(t *testing.T) {
	d := newDesk(t, one(v3(100)))
	d.do(Event{Kind: EventStart})
	d.do(Event{Kind: EventTrack, Name: "script a", Weight: -20})
	d.do(Event{Kind: EventTrack, Name: "script b", Weight: -30})
	d.hear(200, 100*millisecond)
	down := d.m.ViewInstance(0).DownAt
	d.now += 50 * millisecond
	d.want(d.resume(one(v3(100)), "script a"), "")
	v := d.m.ViewInstance(0)
	if v.Priority != 80 {
		t.Errorf("priority %d, want 80: script b is tracked no more", v.Priority)
	}
	if want := down - 30*100*millisecond/256; v.DownAt < want-1 || v.DownAt > want+1 {
		t.Errorf("the master is dead at %v, want %v: 30 more of priority wait less", v.DownAt, want)
	}
	if got := d.at(v.DownAt); !strings.Contains(got, "MASTER") {
		t.Errorf("at its down time: %q", got)
	}
}

func TestAFaultStaysOverAReload(t *testing.T) {
	d := newDesk(t, one(v3(100)))
	d.do(Event{Kind: EventTrack, Name: "interface eth0"})
	d.want(d.do(Event{Kind: EventStart}), "FAULT ("+string(ReasonFault)+")")
	d.want(d.resume(one(v3(120)), "interface eth0"), "")
	d.want(d.do(Event{Kind: EventTrack, Name: "interface eth0", Up: true}), "BACKUP ("+string(ReasonRecovered)+")")
}

func TestUnitsComeAndGoWithAReload(t *testing.T) {
	d := masterOf(t, one(v3(100)))
	two := one(v3(100))
	other := v3(100)
	other.Name, other.VRID, other.Source, other.VIPs = "VI_2", 52, lvs1, []netip.Addr{netip.MustParseAddr("198.18.0.102")}
	two.Units = append([]Unit{{Name: "VI_2", Instances: []Instance{other}}}, two.Units...)
	d.want(d.resume(two), "BACKUP ("+string(ReasonStart)+")")
	if v := d.m.View(1); v.Name != "VI_1" || v.State != StateMaster {
		t.Errorf("VI_1 is %+v, want MASTER still", v)
	}
	if got := d.at(d.now + second); !strings.Contains(got, "MASTER") || strings.Contains(got, "BACKUP") {
		t.Errorf("VI_2 alone: %q", got)
	}
	d.want(d.do(Event{Kind: EventRetire, Unit: 0}), `send 0, claim 1 "", STOP (`+string(ReasonRetired)+")")
	d.want(d.resume(one(v3(100))), "")
	if v := d.m.View(0); v.State != StateMaster {
		t.Errorf("VI_1 is %+v, want MASTER still", v)
	}
}

func TestAnInstanceThatIsAnotherOneOnTheWireBeginsAnew(t *testing.T) {
	d := masterOf(t, one(v3(100)))
	a, b := one(v3(100)), one(v3(100))
	b.Units[0].Instances[0].VRID = 53
	if a.Units[0].Instances[0].SameWire(&b.Units[0].Instances[0]) {
		t.Fatal("two router ids are the same wire")
	}
	d.do(Event{Kind: EventRetire})
	d.want(d.resume(b), "BACKUP ("+string(ReasonStart)+")")
	if got := d.at(d.now + second); !strings.Contains(got, `claim 2 "lvs1"`) {
		t.Errorf("then %q, want the next term", got)
	}
}
