package sched

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"ulvs/lvs"
	"ulvs/packet"
)

func TestAnUnknownNameGetsASuggestion(t *testing.T) {
	for name, want := range map[string]string{
		"wcl": "did you mean wlc?", "lblccr": "did you mean lblcr?", "WLC": "", "": "", "roundrobin": "",
		"two": "did you mean twos?", "mhh": "did you mean mh?", strings.Repeat("w", 1<<16): "65536 bytes",
	} {
		_, err := New(name, 0, Options{})
		if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), want) || len(err.Error()) > 80 {
			t.Errorf("New(%.20q): %v, want %q", name, err, want)
		}
		if want == "" && strings.Contains(err.Error(), "did you mean") {
			t.Errorf("New(%q): %v, want no suggestion", name, err)
		}
		if Known(name) {
			t.Errorf("%.20q is known", name)
		}
	}
}

func TestEveryNameMakesASchedulerThatPicksNothingAtFirst(t *testing.T) {
	if len(Names()) != 15 {
		t.Errorf("%d names, want the fourteen and none", len(Names()))
	}
	for _, name := range Names() {
		s, err := New(name, lvs.SchedPort, Options{})
		if err != nil || !Known(name) || s.Name() != name || s.Flags() != lvs.SchedPort {
			t.Fatalf("%s: %v, %+v", name, err, s)
		}
		for _, list := range [][]lvs.Destination{nil, someDests(3), nil} {
			if err := s.Update(list); err != nil {
				t.Fatal(err)
			}
			id, ok := s.Pick(new(packet.Tuple), 0)
			if ok != (len(list) > 0 && name != "none") {
				t.Errorf("%s over %d real servers: picked %d %v", name, len(list), id, ok)
			}
		}
	}
}

func TestOptionsOutOfRangeAreRefused(t *testing.T) {
	for _, o := range []Options{{Expiration: -1}, {TableIndex: 7}, {TableIndex: 18}, {TableIndex: -1}} {
		if _, err := New("mh", 0, o); err == nil || errors.Is(err, ErrUnknown) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestAFailingUpdateChangesNothing(t *testing.T) {
	good := someDests(251)
	bad := map[string][]lvs.Destination{"no session counts": someDests(3), "negative": someDests(3), "twice": someDests(3)}
	bad["no session counts"][1].Load = nil
	bad["negative"][1].Weight = -1
	bad["twice"][1].ID = bad["twice"][2].ID
	bad["more than that"] = someDests(252)
	s, err := New("mh", 0, Options{TableIndex: 8})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Update(good); err != nil {
		t.Fatal(err)
	}
	before := picks(s, 500)
	for want, list := range bad {
		if err := s.Update(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %q", err, want)
		}
	}
	if !slices.Equal(before, picks(s, 500)) {
		t.Error("a refused Update moved clients")
	}
	if err := s.Update(good[1:]); err != nil {
		t.Error(err)
	}
}

func picks(s *Scheduler, n int) (ids []lvs.DestID) {
	tuples := someTuples(n)
	for i := range tuples {
		id, _ := s.Pick(&tuples[i], 0)
		ids = append(ids, id)
	}
	return ids
}

func TestBindStartsWRRAtTheTopLevel(t *testing.T) {
	list := someDests(3) // ids 3 2 1, weights 4 3 2
	bound, err := New("wrr", 0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := bound.Bind(list); err != nil {
		t.Fatal(err)
	}
	if got, want := picks(bound, 6), []lvs.DestID{3, 3, 2, 3, 2, 1}; !slices.Equal(got, want) {
		t.Errorf("bound to a list: %v, want %v", got, want)
	}
	if got, want := picks(newUpdated(t, "wrr", list), 6), []lvs.DestID{3, 2, 1, 3, 3, 2}; !slices.Equal(got, want) {
		t.Errorf("built server by server: %v, want %v", got, want)
	}
}

func TestWRRWithHugeWeightsDoesNotWalkEveryLevel(t *testing.T) {
	list := someDests(2)
	list[0].Weight, list[1].Weight = lvs.MaxWeight, 2
	list[0].Load.SetThresholds(1, 0)
	s := newUpdated(t, "wrr", list)
	list[0].Load.Bind(true)
	for range 1000 {
		if id, ok := s.Pick(nil, 0); !ok || id != list[1].ID {
			t.Fatalf("got %d %v, want the one below its threshold", id, ok)
		}
	}
}

func TestCostsCompareExactlyBeyond64Bits(t *testing.T) {
	r := wlcRule()
	list := someDests(2)
	for i := range list {
		list[i].Weight = lvs.MaxWeight - int32(i)
	}
	c := r.runners(brief(list))
	big := cost{num: 1 << 40, den: c[0].den}
	for _, o := range []cost{{num: 1<<40 + 1, den: c[0].den}, {num: 1 << 40, den: c[1].den}, never} {
		if !big.below(&o) || o.below(&big) {
			t.Errorf("%+v is not below %+v", big, o)
		}
	}
	if big.below(&big) || never.below(&never) {
		t.Error("a cost is below itself")
	}
}

func TestHashCheckValues(t *testing.T) {
	if got := hash32(0x0a000001, 8); got != 39 {
		t.Errorf("hash_32(10.0.0.1, 8) = %d, want 39", got)
	}
	if got := sipHash13(0xac100001, mhKey1) % 4093; got != 1127 {
		t.Errorf("mh slot of 172.16.0.1 = %d, want 1127", got)
	}
	v := uint32(0x0a010001 + 80)
	if at, skip := sipHash13(v, mhKey1)%4093, sipHash13(v, mhKey2)%4092+1; at != 310 || skip != 1461 {
		t.Errorf("mh permutation of 10.1.0.1:80 = %d, %d, want 310, 1461", at, skip)
	}
}
