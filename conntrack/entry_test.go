package conntrack

import (
	"net/netip"
	"reflect"
	"testing"
)

func TestAnEntryGivesBackWhatWasInserted(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		table := newTable(t, Options{Bits: MinBits, Heap: true})
		h := table.Worker(0)
		s := flow(0x123456, v6, FlagNAT|FlagNoOutput)
		s.L4 |= 0xabcd
		s.Control, s.Aux, s.Dest, s.Service, s.Timeout = 77, 1<<31+5, 1<<31+6, 1<<31+7, 99
		e := table.Entry(mustInsert(t, h, s, 41))
		got := []any{
			e.Live(), e.State(), e.Flags(), e.Seen(), e.Timeout(), e.Dest(), e.Service(), e.Aux(), e.Control(),
			e.DestPort(), e.VIPPort(), e.ClientPort(), e.Proto(), e.V6(), e.Controlled(),
		}
		want := []any{
			true, TCPSynRecv, FlagNAT | FlagNoOutput, Tick(41), Tick(99), s.Dest, s.Service, s.Aux, Ref(77),
			uint16(80 << 8), uint16(80 << 8), uint16(0xabcd), uint8(6), v6, 0,
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("v6 %v:\n got %v\nwant %v", v6, got, want)
		}
		if v6 && (e.DestAddr6() != s.DestAddr || e.VIP6() != [2]uint64(s.Addr[2:]) || e.Client6() != [2]uint64(s.Addr[:2])) {
			t.Error("IPv6 addresses differ")
		}
		if !v6 && (e.DestAddr4() != uint32(s.DestAddr[0]) || e.VIP4() != 0x0801a8c0 || e.Client4() != uint32(s.Addr[0])) {
			t.Error("IPv4 addresses differ")
		}
	}
}

func TestFieldsOfAnEntryDoNotTouchEachOther(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true})
	h := table.Worker(0)
	s := flow(1, false, 0)
	s.Control, s.Aux = 5, 6
	e := table.Entry(mustInsert(t, h, s, 0))
	e.SetDest(1<<32 - 1)
	e.SetAux(1<<32 - 2)
	if e.TakeControl() != 5 || e.TakeControl() != 0 || !e.Hang(1<<32-3) || e.Hang(7) {
		t.Error("a conn hangs on one template, and is taken off it once")
	}
	if n := e.AddControlled(3) + e.AddControlled(-1) + e.AddControlled(-3); n != 3+2-1 {
		t.Errorf("controlled counts sum up to %d", n)
	}
	if e.Controlled() != -1 || e.Control() != 1<<32-3 || e.Aux() != 1<<32-2 || e.Dest() != 1<<32-1 {
		t.Error(e.Controlled(), e.Control(), e.Aux(), e.Dest())
	}
	if !e.SetFlags(FlagSynced|FlagTUN) || e.SetFlags(FlagSynced) || !e.ClearFlags(FlagTUN) || e.ClearFlags(FlagTUN) {
		t.Error("a flag reports a change when there is one and only then")
	}
	if e.SetState(TCPNone, TCPClose) || !e.SetState(TCPSynRecv, TCPEstablished) || e.State() != TCPEstablished ||
		e.Flags() != FlagSynced || !e.Live() {
		t.Error("state", e.State(), "flags", e.Flags())
	}
	e.Touch(100, 50)
	if e.Expired(149) || !e.Expired(150) || e.Remaining(149) != 1 || e.Remaining(151) != 0 || e.Remaining(0) != 150 {
		t.Error("timer: ", e.Remaining(149), e.Remaining(151), e.Remaining(0))
	}
}

func TestADeadConnChangesNoMore(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true})
	h := table.Worker(0)
	r := mustInsert(t, h, flow(1, false, 0), 0)
	e := table.Entry(r)
	h.Delete(r)
	if e.SetState(TCPSynRecv, TCPClose) || e.SetFlags(FlagTUN) || e.ClearFlags(FlagNAT) || e.Live() {
		t.Error("a deleted conn moved")
	}
}

func TestTheTableHoldsNoPointers(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[Entry](), reflect.TypeFor[entry6](), reflect.TypeFor[bucket]()} {
		if s := typ.String(); typ.Size()%64 != 0 || !wordsOnly(typ) {
			t.Errorf("%s is not whole lines of words", s)
		}
	}
}

func wordsOnly(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Uint64:
		return true
	case reflect.Array:
		return wordsOnly(t.Elem())
	case reflect.Struct:
		for f := range t.Fields() {
			if f.Type.Size() != 0 && !wordsOnly(f.Type) {
				return false
			}
		}
		return true
	}
	return false
}

func TestWalkDecodesConns(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true})
	h := table.Worker(0)
	s := flow(0x010203, false, FlagNAT)
	s.L4 |= 0x3930 // port 12345
	mustInsert(t, h, s, 8)
	mustInsert(t, h, flow(1, true, 0), 8)
	var got []Info
	table.Walk(func(_ Ref, _ *Entry, i Info) bool { got = append(got, i); return true })
	if len(got) != 2 {
		t.Fatalf("%d conns, want 2", len(got))
	}
	want := Info{
		Client: netip.MustParseAddrPort("10.3.2.1:12345"), VIP: netip.MustParseAddrPort("192.168.1.8:80"),
		Dest: netip.MustParseAddrPort("192.168.1.16:80"), Proto: 6, State: TCPSynRecv, Flags: FlagNAT,
		DestID: 3, ServiceID: 3, Seen: 8, Timeout: 480,
	}
	if got[0] != want {
		t.Errorf("\n got %+v\nwant %+v", got[0], want)
	}
	if got[0].Expires(9) != 479 || got[0].Expires(500) != 0 {
		t.Error("expires", got[0].Expires(9), got[0].Expires(500))
	}
	if vip := got[1].VIP.String(); vip != "[2001:db8:0:0:0:0:0:1]:80" && vip != "[2001:db8::1]:80" {
		t.Error(vip)
	}
}
