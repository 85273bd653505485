package director

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ulvs/internal/testutil"
	"ulvs/lvs"
)

// listed returns what ipvsadm lists of the service with that port: "2:3 1:1" is real server 2 with weight 3, then 1.
func (b *bed) listed(port uint16) string {
	var words []string
	for _, s := range b.Listing().Services {
		if s.Service.Key.Port != port {
			continue
		}
		for _, d := range s.Destinations {
			words = append(words, fmt.Sprintf("%d:%d", d.Destination.Addr.As4()[3]-10, d.Destination.Weight))
		}
	}
	return strings.Join(words, " ")
}

func realPort(i int) netip.AddrPort { return netip.AddrPortFrom(realAddr(i), 80) }

// wants checks the listing of port 80 after what was done.
func (b *bed) wants(after, want string) {
	b.tb.Helper()
	if got := b.listed(80); got != want {
		b.tb.Errorf("%s: %q, want %q", after, got, want)
	}
}

func TestAFailedRealServerIsTakenOutAndComesBackFirst(t *testing.T) {
	b := newBed(t)
	s := service(80, 1, 2, 3)
	b.replace(s)
	key := s.Key
	b.wants("configured", "1:1 2:1 3:1")
	b.SetServerHealth(key, realPort(2), false, "refused")
	b.wants("failed", "1:1 3:1")
	b.SetServerHealth(key, realPort(2), false, "timeout")
	b.SetServerHealth(key, realPort(3), false, "timeout")
	b.wants("both failed", "1:1")
	b.SetServerHealth(key, realPort(3), true, "")
	b.SetServerHealth(key, realPort(2), true, "")
	b.wants("both returned", "2:1 3:1 1:1")
	b.SetServerHealth(key, realPort(7), false, "nobody")
	b.SetServerHealth(lvs.ServiceKey{Port: 1}, realPort(1), false, "nobody")
	b.wants("strangers failed", "2:1 3:1 1:1")
	if b.Listing().Services[0].Destinations[0].Destination.Fate != lvs.FailDefault {
		t.Error("a good real server has a fate")
	}
}

func TestAFailedRealServerMayStayWithWeight0(t *testing.T) {
	b := newBed(t)
	s := service(80, 1, 2)
	s.Destinations[0].Inhibit = true
	b.replace(s)
	b.SetServerHealth(s.Key, realPort(1), false, "refused")
	b.SetServerHealth(s.Key, realPort(2), false, "refused")
	b.wants("failed", "1:0")
	b.SetServerHealth(s.Key, realPort(1), true, "")
	b.wants("returned", "1:1")
}

func TestTheSorryServerStandsInForALostQuorum(t *testing.T) {
	for _, c := range []struct {
		name                string
		inhibit             bool // of the service's sorry server
		lost, failed, again string
	}{
		{"real servers are taken out", false, "9:1", "9:1", "1:1 3:1"},
		{"real servers stay with weight 0", true, "9:1 1:0 2:0 3:0", "9:1 1:0 2:0 3:0", "1:1 3:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t)
			s := service(80, 1, 2, 3)
			s.Policy = lvs.Policy{Sorry: lvs.Sorry{Server: realPort(9)}, SorryInhibit: c.inhibit}
			b.replace(s)
			b.SetQuorum(s.Key, false)
			b.wants("the quorum is lost", c.lost)
			b.SetServerHealth(s.Key, realPort(2), false, "refused")
			b.wants("another failed", c.failed)
			b.SetQuorum(s.Key, true)
			b.wants("the quorum is back", c.again)
		})
	}
}

func TestALostQuorumWithoutASorryServerChangesNothing(t *testing.T) {
	b := newBed(t)
	s := service(80, 1, 2)
	b.replace(s)
	b.SetQuorum(s.Key, false)
	b.wants("the quorum is lost", "1:1 2:1")
}

func TestADynamicWeightStandsForTheConfiguredOne(t *testing.T) {
	b := newBed(t)
	s := service(80, 1, 2)
	b.replace(s)
	b.SetDynamicWeight(s.Key, realPort(2), 7)
	b.wants("dynamic", "1:1 2:7")
	b.SetDynamicWeight(s.Key, realPort(2), 1<<40)
	b.wants("more than there is", "1:1 2:2147483647")
	b.SetDynamicWeight(s.Key, realPort(2), -1)
	b.wants("none", "1:1 2:1")
	if len(b.conditions[s.Key].servers) != 0 {
		t.Error("a condition that says nothing is kept")
	}
}

// What somebody edits by hand is the configuration that runs; health stands above it.
func TestEditsByHandAreUnderWhatHealthSays(t *testing.T) {
	b := newBed(t)
	s := service(80, 1, 2)
	b.replace(s)
	b.SetServerHealth(s.Key, realPort(2), false, "refused")
	weight := s.Destinations[1]
	weight.Weight = 5
	edit(t, b.Node, &lvs.Edit{Op: lvs.EditSetDest, Key: s.Key, Dest: weight})
	b.wants("edited while it is down", "1:1")
	b.SetServerHealth(s.Key, realPort(2), true, "")
	b.wants("up again", "2:5 1:1")
	b.SetServerHealth(s.Key, realPort(2), false, "refused")
	if err := b.Edit(&lvs.Edit{Op: lvs.EditAddDest, Key: s.Key, Dest: weight}); err == nil {
		t.Error("a real server that is down was added a second time")
	}
	edit(t, b.Node, &lvs.Edit{Op: lvs.EditDelDest, Key: s.Key, Dest: weight})
	edit(t, b.Node, &lvs.Edit{Op: lvs.EditAddDest, Key: s.Key, Dest: weight})
	b.wants("deleted and added: health begins anew", "2:5 1:1")
}

func TestASlowStartRisesInSteps(t *testing.T) {
	begin := time.Unix(1000, 0)
	for _, c := range []struct {
		passed time.Duration
		want   int32
	}{{-time.Second, 1}, {0, 1}, {3 * time.Second, 1}, {4 * time.Second, 2}, {30 * time.Second, 8},
		{56 * time.Second, 15}, {59 * time.Second, 15}, {60 * time.Second, 16}, {time.Hour, 16}} {
		if got := riseStep(begin, begin.Add(c.passed), time.Minute); got != c.want {
			t.Errorf("after %v: step %d, want %d", c.passed, got, c.want)
		}
	}
	if riseStep(time.Time{}, begin, time.Minute) != riseSteps || riseStep(begin, begin, 0) != riseSteps {
		t.Error("without a slow start the weight is not whole")
	}
}

func TestAReturningRealServerStartsSlowly(t *testing.T) {
	b := newBed(t)
	now := time.Unix(1000, 0)
	b.opt.Now = func() time.Time { return now }
	s := service(80, 1, 2)
	s.Scheduler, s.Policy.SlowStart, s.Destinations[0].Weight = "wrr", time.Minute, 3
	b.replace(s)
	b.wants("at first everybody has all", "1:3 2:1")
	b.SetServerHealth(s.Key, realPort(2), false, "refused")
	b.SetServerHealth(s.Key, realPort(2), true, "")
	b.wants("returned", "2:1 1:3")
	share := func(want ...int32) {
		t.Helper()
		var got []int32
		for _, d := range b.built.Service(s.Key).Destinations {
			got = append(got, d.Weight)
		}
		if !slices.Equal(got, want) {
			t.Errorf("after %v workers see weights %v, want %v", now.Sub(time.Unix(1000, 0)), got, want)
		}
	}
	share(1, 48)
	now = now.Add(30 * time.Second)
	generation := b.generation
	b.Follow()
	share(8, 48)
	b.Follow()
	if b.generation != generation+1 {
		t.Error("a step that is none was published")
	}
	now = now.Add(30 * time.Second)
	b.Follow()
	share(1, 3)
	if b.Follow(); b.rising || len(b.conditions[s.Key].servers) != 1 { // its place in the list is remembered
		t.Errorf("rising %v, conditions %v", b.rising, b.conditions[s.Key].servers)
	}
}

func TestLargeWeightsRiseWithoutAScale(t *testing.T) {
	s := service(80, 1, 2)
	s.Destinations[0].Weight, s.Destinations[1].Weight = lvs.MaxWeight, 1600
	out := s
	out.Destinations = slices.Clone(s.Destinations)
	c := serviceCondition{servers: map[netip.AddrPort]*condition{realPort(2): {step: 4}}}
	raise(&out, &c)
	if out.Scale != 1 || out.Destinations[0].Weight != lvs.MaxWeight || out.Destinations[1].Weight != 400 {
		t.Errorf("scale %d, weights %d and %d", out.Scale, out.Destinations[0].Weight, out.Destinations[1].Weight)
	}
}

// A snapshot that was made of the one before is the one that is assembled anew.
func TestChangedSnapshotsAreLikeThoseAssembledAnew(t *testing.T) {
	rnd := testutil.Rand(t)
	b := newBed(t)
	for round := range 2000 {
		b.randomChange(rnd)
		got := *b.Snapshots().Load()
		want := b.snapshot()
		want.IndexServices()
		want.Generation, want.RouteEpoch = got.Generation, got.RouteEpoch
		if !reflect.DeepEqual(&got, want) {
			for i, v := 0, reflect.ValueOf(got); i < v.NumField(); i++ {
				if f := reflect.TypeOf(got).Field(i); f.IsExported() {
					a, w := v.Field(i).Interface(), reflect.ValueOf(*want).Field(i).Interface()
					if !reflect.DeepEqual(a, w) {
						t.Errorf("%s\n got %+v\nwant %+v", f.Name, a, w)
					}
				}
			}
			t.Fatalf("round %d: the snapshots differ", round)
		}
	}
}

// randomChange edits services, or has some of their real servers fail or return; sessions begin now and then, so
// that real servers stay in the trash.
func (b *bed) randomChange(rnd *rand.Rand) {
	port := uint16(80 + rnd.IntN(4))
	key := service(port).Key
	server := netip.AddrPortFrom(realAddr(rnd.IntN(6)), port)
	switch rnd.IntN(10) {
	case 0:
		b.SetQuorum(key, rnd.IntN(2) == 0)
	case 1, 2, 3:
		b.SetServerHealth(key, server, rnd.IntN(2) == 0, "random")
	case 4:
		b.SetDynamicWeight(key, server, int64(rnd.IntN(4)-1))
	case 5:
		if b.Snapshots().Load().Services != nil && b.listed(80) != "" {
			b.syn()
		}
	case 6:
		b.now += 8 * 120
		b.worker.Sweep(b.now)
	default:
		b.randomServices(rnd)
	}
}

func (b *bed) randomServices(rnd *rand.Rand) {
	var services []lvs.Service
	for _, port := range rnd.Perm(4) {
		if rnd.IntN(4) == 0 {
			continue
		}
		s := service(uint16(80 + port))
		for _, i := range rnd.Perm(6)[:rnd.IntN(6)] {
			d := lvs.Destination{Addr: realAddr(i), Port: s.Key.Port, Inhibit: rnd.IntN(2) == 0}
			d.Method, d.Weight = lvs.Method(rnd.IntN(3)), int32(rnd.IntN(3))
			s.Destinations = append(s.Destinations, d)
		}
		s.Policy.OnFailure = lvs.OnFailure(rnd.IntN(6))
		if rnd.IntN(2) == 0 {
			s.Policy.Sorry = lvs.Sorry{Server: netip.AddrPortFrom(realAddr(7), s.Key.Port)}
		}
		services = append(services, s)
	}
	b.replace(services...)
}

// Somebody who takes a real server away with ipvsadm gets what a kernel does; on_failure is for health and the file.
func TestOnFailureIsNotForEditsByHand(t *testing.T) {
	for _, c := range []struct {
		name   string
		remove func(b *bed, s lvs.Service)
		want   lvs.OnFailure
	}{
		{"ipvsadm -d", func(b *bed, s lvs.Service) {
			edit(b.tb, b.Node, &lvs.Edit{Op: lvs.EditDelDest, Key: s.Key, Dest: s.Destinations[0]})
		}, lvs.FailDefault},
		{"failed", func(b *bed, s lvs.Service) { b.SetServerHealth(s.Key, realPort(1), false, "refused") }, lvs.FailReset},
		{"not in the file any more", func(b *bed, s lvs.Service) {
			s.Destinations = s.Destinations[1:]
			b.replace(s)
		}, lvs.FailReset},
		{"the whole service is not", func(b *bed, _ lvs.Service) { b.replace(service(81, 1)) }, lvs.FailReset},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t)
			s := service(80, 1, 2)
			s.Policy.OnFailure = lvs.FailReset
			b.replace(s)
			b.syn()
			b.syn()
			c.remove(b, s)
			d := b.built.Removed(s.Key, realPort(1))
			if d == nil || d.Fate != c.want {
				t.Errorf("the removed real server is %+v, want fate %s", d, c.want)
			}
		})
	}
}

func TestSessionsExpireAtOnceWhereThatIsWanted(t *testing.T) {
	b := newBed(t)
	s := service(80, 1, 2)
	s.Policy.OnFailure = lvs.FailExpire
	b.replace(s)
	b.syn()
	b.syn()
	asked := 0
	b.opt.Expire = func() { asked++ }
	b.SetServerHealth(s.Key, realPort(1), false, "refused")
	if asked != 1 {
		t.Errorf("asked %d times to end sessions", asked)
	}
	if n := b.EndSessions(b.now); n != 1 {
		t.Errorf("%d sessions ended, want that of the failed one", n)
	}
	b.worker.Sweep(b.now)
	if n := b.opt.Table.Stats().Conns; n != 1 {
		t.Errorf("%d sessions are left, want the other's", n)
	}
	if n := b.EndSessions(b.now); n != 0 {
		t.Errorf("%d sessions ended a second time", n)
	}
}
