package lvs

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"
)

// world is a snapshot with what must hold about it from one generation to the next.
type world struct {
	t    *testing.T
	rnd  *rand.Rand
	snap *Snapshot
	want map[ServiceKey][]netip.AddrPort // configured
	ids  map[destKey]DestID              // of those configured, or in use since
	prev *Snapshot
}

func newWorld(t *testing.T) *world {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("ULVS_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("ULVS_SEED=%d", seed)
	return &world{
		t: t, rnd: rand.New(rand.NewPCG(seed, 1)), want: map[ServiceKey][]netip.AddrPort{}, ids: map[destKey]DestID{},
	}
}

func key(i int) ServiceKey {
	return ServiceKey{Addr: netip.MustParseAddr("192.0.2.1"), Port: uint16(80 + i), Proto: ProtoTCP}
}

// change makes a random change of up to three services.
func (w *world) change() {
	c := Changes{Fate: func(*Service, *Destination) OnFailure { return FailReset }}
	for _, i := range w.rnd.Perm(6)[:w.rnd.IntN(4)] {
		k := key(i)
		if w.rnd.IntN(3) == 0 {
			c.Remove = append(c.Remove, k)
			delete(w.want, k)
			continue
		}
		s := Service{Key: k, Scheduler: "rr"}
		w.want[k] = nil
		for _, r := range w.rnd.Perm(5)[:w.rnd.IntN(5)] {
			d := Destination{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(r)}), Port: k.Port, Weight: int32(w.rnd.IntN(3))}
			s.Destinations = append(s.Destinations, d)
			w.want[k] = append(w.want[k], d.AddrPort())
		}
		c.Set = append(c.Set, s)
	}
	next, err := w.snap.With(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.prev, w.snap = w.snap, next
}

// use begins and ends sessions.
func (w *world) use() {
	for _, d := range w.snap.Destinations {
		switch {
		case d == nil:
		case d.Load.InUse() && w.rnd.IntN(3) == 0:
			d.Load.Unbind(true)
		case !d.Load.InUse() && !d.Removed && w.rnd.IntN(3) == 0:
			d.Load.Bind(true)
		}
	}
}

func (w *world) check() error {
	count, seen := 0, map[DestID]bool{}
	for k, list := range w.want {
		s := w.snap.Service(k)
		if s == nil || w.snap.Services[s.ID] != s || len(s.Destinations) != len(list) {
			return fmt.Errorf("service %s is %+v, want %v", k, s, list)
		}
		for i, ap := range list {
			d, at := &s.Destinations[i], destKey{k, ap}
			if d.AddrPort() != ap || w.snap.Dest(d.ID) != d || d.Removed || d.Service != s.ID || seen[d.ID] {
				return fmt.Errorf("real server %d of %s is %+v, want %s", i, k, d, ap)
			}
			if old, known := w.ids[at]; known && old != d.ID && w.lived(at) {
				return fmt.Errorf("%v had id %d, has %d", at, old, d.ID)
			}
			if old := w.prev.Dest(d.ID); old != nil && old.AddrPort() != ap {
				return fmt.Errorf("%v has the id %d that %s has just left", at, d.ID, old.AddrPort())
			}
			seen[d.ID] = true
			w.ids[at] = d.ID
			count++
		}
	}
	if len(w.snap.byKey) != len(w.want) || w.snap.dests != count {
		return fmt.Errorf("%d services, %d real servers; want %d, %d", len(w.snap.byKey), w.snap.dests, len(w.want), count)
	}
	return w.checkTrash(seen)
}

// lived reports whether a real server was configured in the generation before, or had sessions when it ended.
func (w *world) lived(at destKey) bool {
	if d := w.prev.Removed(at.service, at.addr); d != nil {
		return d.Load.InUse()
	}
	if s := w.prev.Service(at.service); s != nil {
		for i := range s.Destinations {
			if s.Destinations[i].AddrPort() == at.addr {
				return true
			}
		}
	}
	return false
}

// checkTrash wants nothing besides the configured ones but what sessions refer to, or did a moment ago.
func (w *world) checkTrash(configured map[DestID]bool) error {
	for at, id := range w.ids {
		d := w.snap.Dest(id)
		if configured[id] && d != nil && d.AddrPort() == at.addr && !d.Removed {
			continue
		}
		if d != nil && d.Removed && d == w.snap.Removed(at.service, at.addr) {
			if d.Fate != FailReset || w.snap.Services[d.Service] == nil {
				return fmt.Errorf("%v is %+v, its service %v", at, d, w.snap.Services[d.Service])
			}
			continue
		}
		if old := w.prev.Removed(at.service, at.addr); old != nil && old.ID == id && old.Load.InUse() {
			return fmt.Errorf("%v has sessions, and no place any more", at)
		}
		delete(w.ids, at)
	}
	return nil
}

func TestChangesKeepWhatTheyDoNotName(t *testing.T) {
	w := newWorld(t)
	for round := range 5000 {
		w.change()
		if err := w.check(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		w.use()
	}
}

func TestAChangeSharesTheRest(t *testing.T) {
	a := Service{Key: key(0), Scheduler: "rr"}
	b := Service{Key: key(1), Scheduler: "rr"}
	first, err := Build(nil, []Service{a, b})
	if err != nil {
		t.Fatal(err)
	}
	a.Scheduler = "wlc"
	second, err := first.With(Changes{Set: []Service{a}})
	if err != nil || second.Service(b.Key) != first.Service(b.Key) || second.Service(a.Key).Scheduler != "wlc" {
		t.Errorf("the other service was made anew, or this one was not: %v", err)
	}
	if first.Service(a.Key).Scheduler != "rr" || second.Generation != first.Generation+1 {
		t.Error("the generation before was written")
	}
	if _, err := second.With(Changes{Set: []Service{a, a}}); err == nil {
		t.Error("a service was given twice")
	}
}

func TestAServicesNameIsRead(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1:80": "tcp 192.0.2.1:80", "udp/192.0.2.1:53": "udp 192.0.2.1:53",
		"TCP [2001:db8::1]:80": "tcp [2001:db8::1]:80",
		"fwm 7":                "fwm 7", "fwm/7/ipv6": "fwm 7 ipv6", "sctp 192.0.2.1:0": "sctp 192.0.2.1:0",
		"": "", "fwm 0": "", "fwm x": "", "fwm 7 ipv5": "", "icmp 192.0.2.1:80": "", "192.0.2.1": "", "tcp a b": "",
	} {
		k, err := ParseServiceKey(text)
		if got := k.Name(); err == nil && got != want || (err != nil) != (want == "") {
			t.Errorf("%q is %q, %v; want %q", text, got, err, want)
		}
	}
}

func FuzzParseServiceKey(f *testing.F) {
	for _, text := range []string{"192.0.2.1:80", "udp/[2001:db8::1]:53", "fwm 7 ipv6", "fwm//", "tcp 192.0.2.1:99999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseServiceKey(text)
		if err != nil {
			return
		}
		if again, err := ParseServiceKey(k.Name()); err != nil || again != k {
			t.Errorf("%q is %+v, read again %+v, %v", text, k, again, err)
		}
	})
}
