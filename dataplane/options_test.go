package dataplane

import (
	"bytes"
	"encoding/hex"
	"testing"

	"ulvs/lvs"
	"ulvs/packet"
)

// header makes an IPv4 header with options.
func header(tb testing.TB, options string) packet.IPv4 {
	tb.Helper()
	o, err := hex.DecodeString(options)
	if err != nil {
		tb.Fatal(err)
	}
	h := make(packet.IPv4, packet.IPv4Len+len(o))
	h.Encode(&packet.IPv4Fields{TTL: 9, Proto: 17, TotalLen: uint16(len(h)), Options: o})
	return h
}

// What a kernel made of these (198.18.0.100 is ours, the time is 0x01020304), and where it found fault.
func TestOptionsAreReadAsTheKernelReadsThem(t *testing.T) {
	for _, c := range []struct {
		name, in, out string
		bad           int
		routed        bool
	}{
		{"no-operations", "01010101", "01010101", 0, false},
		{"what is behind the end", "00070707", "00000000", 0, false},
		{"a route", "01070b04000000000000000001000000", "01070b08c61200640000000001000000", 0, false},
		{"a full route", "0707080000000000", "0707080000000000", 0, false},
		{"a route between two entries", "070b05000000000000000000", "070b0900c612006400000000", 0, false},
		{"a route's pointer", "070b03000000000000000000", "070b03000000000000000000", 22, false},
		{"a route too short", "07020000", "07020000", 21, false},
		{"a route without room", "07030400", "07030400", 0, false},
		{"two routes", "07070400000000070704000000000000", "070708c6120064070704000000000000", 27, false},
		{"a source route", "8307040a00001500", "8307040a00001500", 0, true},
		{"router alert", "94040000", "94040000", 0, false},
		{"security", "820b00000000000000000000", "820b00000000000000000000", 0, false},
		{"an unknown one", "c8040102", "c8040102", 0, false},
		{"a length of 1", "c8010102", "c8010102", 20, false},
		{"a length beyond the header", "c8090102", "c8090102", 20, false},
		{"CIPSO without a domain", "860a00000001010400010000", "860a00000001010400010000", 22, false},
		{"times", "440c05000000000000000000", "440c09000102030400000000", 0, false},
		{"times between entries", "440c06000000000000000000", "440c0a000001020304000000", 0, false},
		{"times and hosts", "4414050100000000000000000000000000000000", "44140d01c6120064010203040000000000000000", 0, false},
		{"prescribed: ours", "440c0503c612006400000000", "440c0d03c612006401020304", 0, false},
		{"prescribed: another", "440c05030a09090900000000", "440c05030a09090900000000", 0, false},
		{"no room for a time", "4408090000000000", "4408091000000000", 0, false},
		{"no room for a fifteenth", "440809f000000000", "440809f000000000", 23, false},
		{"an unknown kind of times", "4408050200000000", "4408050200000000", 0, false},
		{"times' pointer", "4408040000000000", "4408040000000000", 22, false},
		{"half an entry", "4406050100000000", "4406050100000000", 22, false},
		{"times too short", "44030500", "44030500", 21, false},
	} {
		h := header(t, c.in)
		ours := func(a uint32) bool { return a == 0x640012c6 }
		r := optionReader{h: h, spec: 0x640012c6, stamp: 0x01020304, ours: ours}
		plan := r.read()
		if got := hex.EncodeToString(h[packet.IPv4Len:]); got != c.out || plan.bad != c.bad || plan.routed != c.routed {
			t.Errorf("%s: %s, fault at %d, routed %v; want %s, %d, %v",
				c.name, got, plan.bad, plan.routed, c.out, c.bad, c.routed)
		}
	}
}

func TestAnswersEchoRoutesTimesAndCIPSO(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	b.worker.begin(0)
	w := b.worker
	for _, c := range []struct {
		name, in, out string
		silent        bool
	}{
		{"nothing", "", "", false},
		{"neither", "9404000001010100", "", false},
		{"a route with room", "01070b08c61200640000000001000000", "070b0cc6120064c612006400", false},
		{"a full route", "070708c612006400", "070708c612006400", false},
		{"half an entry", "070b0900c612006400000000", "", true},
		{"prescribed by others", "440c05030a09090900000000", "440c05030a09090900000000", false},
		{"full times", "4408091000000000", "4408091000000000", false},
	} {
		var dst [maxOptions]byte
		n, ok := w.echoOptions(header(t, c.in), 0x640012c6, &dst)
		if want, _ := hex.DecodeString(c.out); !bytes.Equal(dst[:n], want) || ok == c.silent {
			t.Errorf("%s: %x, %v; want %s", c.name, dst[:n], ok, c.out)
		}
	}
	var dst [maxOptions]byte
	if n, ok := w.echoOptions(header(t, "4414050100000000000000000000000000000000"), 0x640012c6, &dst); !ok || n != 20 ||
		dst[2] != 13 || !bytes.Equal(dst[4:8], []byte{0xc6, 0x12, 0, 0x64}) || dst[8]&0x80 == 0 {
		t.Errorf("times: %x, want our address and a time of no hour", dst[:n])
	}
}

func FuzzOptions(f *testing.F) {
	for _, o := range []string{"070b0400", "440c0503c612006400000000", "0101078300", "8609000000"} {
		text, _ := hex.DecodeString(o)
		f.Add(text)
	}
	b := newBed(f, bedOptions{heap: true}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	b.worker.begin(0)
	w := b.worker // one for all: what it keeps of options is set anew below
	f.Fuzz(func(t *testing.T, o []byte) {
		w.optionsEnd = 0
		o = o[:min(len(o), maxOptions)&^3]
		h := make(packet.IPv4, packet.IPv4Len+len(o))
		h.Encode(&packet.IPv4Fields{TotalLen: uint16(len(h)), Options: o})
		r := optionReader{h: h, spec: 1, stamp: 2, ours: func(a uint32) bool { return a&1 != 0 }}
		plan := r.read()
		if plan.bad != 0 && (plan.bad < packet.IPv4Len || plan.bad >= len(h)+3) {
			t.Errorf("fault at %d of %d bytes", plan.bad, len(h))
		}
		var dst [maxOptions]byte
		if n, ok := w.echoOptions(h, 3, &dst); n%4 != 0 || !ok && n != 0 {
			t.Errorf("%x, not looked at before, echoes as %x, %v", o, dst[:n], ok)
		}
		if plan.bad != 0 { // as takeOptions has it
			w.optionsEnd = plan.upTo
		}
		if n, ok := w.echoOptions(h, 3, &dst); n%4 != 0 || n > len(o) || !ok && n != 0 {
			t.Errorf("%x echoes as %x, %v", o, dst[:n], ok)
		}
	})
}
