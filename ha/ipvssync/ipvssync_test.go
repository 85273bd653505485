package ipvssync

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"testing"
)

// recorded is testdata/sync_wire.json: what a kernel 6.1.176 sent.
type recorded struct {
	Messages []struct {
		Name    string
		Payload string
		Decoded struct {
			Version, SyncID, Size int
			NrConns               int `json:"nr_conns"`
			Conns                 []struct {
				Proto, State, CPort, VPort, DPort int
				Flags                             string
				FWMark, Timeout                   int
				CAddr, VAddr, DAddr               string
			}
		}
	}
}

func recordings(t testing.TB) (r recorded) {
	t.Helper()
	text, err := os.ReadFile("testdata/sync_wire.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Messages) < 3 {
		t.Fatalf("%d messages: the recordings are not read", len(r.Messages))
	}
	return r
}

func TestAKernelsMessagesAreUnderstood(t *testing.T) {
	for _, rec := range recordings(t).Messages {
		b, err := hex.DecodeString(rec.Payload)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Decode(b)
		if err != nil || int(m.Version) != rec.Decoded.Version || int(m.SyncID) != rec.Decoded.SyncID ||
			len(m.Conns) != rec.Decoded.NrConns {
			t.Errorf("%s: %v, version %d, id %d, %d connections", rec.Name, err, m.Version, m.SyncID, len(m.Conns))
			continue
		}
		for i, want := range rec.Decoded.Conns {
			flags, err := strconv.ParseUint(want.Flags, 0, 32)
			if err != nil {
				t.Fatal(err)
			}
			c := m.Conns[i]
			got := fmt.Sprintln(c.Proto, c.State, c.Client.Port(), c.VIP.Port(), c.Dest.Port(), c.Flags, c.Mark, c.Timeout,
				c.Client.Addr(), c.VIP.Addr(), c.Dest.Addr())
			expected := fmt.Sprintln(want.Proto, want.State, want.CPort, want.VPort, want.DPort, flags, want.FWMark,
				want.Timeout, want.CAddr, want.VAddr, want.DAddr)
			if got != expected {
				t.Errorf("%s, connection %d:\n got %s\nwant %s", rec.Name, i, got, expected)
			}
		}
	}
}

// What a kernel sent comes out of the Builder byte for byte.
func TestWhatWeSendHasAKernelsBytes(t *testing.T) {
	for _, rec := range recordings(t).Messages {
		b, _ := hex.DecodeString(rec.Payload)
		m, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		out := NewBuilder(m.Version, m.SyncID, 1472)
		for i := range m.Conns {
			if !out.Add(&m.Conns[i]) {
				t.Fatalf("%s: connection %d does not fit", rec.Name, i)
			}
		}
		if !bytes.Equal(out.Bytes(), b) {
			t.Errorf("%s\n got %x\nwant %x", rec.Name, out.Bytes(), b)
		}
	}
}

func TestAFullMessageTakesNoMore(t *testing.T) {
	b, _ := hex.DecodeString(recordings(t).Messages[0].Payload)
	m, _ := Decode(b)
	out := NewBuilder(1, 5, 1472)
	n := 0
	for out.Add(&m.Conns[0]) {
		n++
	}
	if want := (1472 - headerLenV1) / recordLenV1; n != want || out.Len() != want {
		t.Errorf("%d connections in a message, want %d", n, want)
	}
	if again, err := Decode(out.Bytes()); err != nil || len(again.Conns) != n {
		t.Errorf("the full message: %v, %d connections", err, len(again.Conns))
	}
	out.Reset()
	if out.Len() != 0 || !out.Add(&m.Conns[0]) {
		t.Error("a new message takes nothing")
	}
}

func TestMalformedMessagesAreRefused(t *testing.T) {
	good, _ := hex.DecodeString(recordings(t).Messages[0].Payload)
	size := func(b []byte) []byte { b[2], b[3] = byte(len(b)>>8), byte(len(b)); return b }
	with := func(at int, v byte) []byte { b := bytes.Clone(good); b[at] = v; return b }
	for name, b := range map[string][]byte{
		"nothing":             nil,
		"three bytes":         good[:3],
		"cut":                 good[:len(good)-1],
		"longer than it says": append(bytes.Clone(good), 0),
		"cut, and says so":    size(bytes.Clone(good[:len(good)-1])),
		"a count that lies":   with(4, 2),
		"a record's size":     with(11, 200),
		"a record too small":  with(11, 20),
		"a record's version":  with(10, 0x10),
		"an IPv6 record cut":  with(8, 1),
		"an unknown option":   size(append(with(11, 39), 9, 1, 0)),
		"an option cut":       size(append(with(11, 38), 1, 24)),
		"an empty option":     size(append(with(11, 38), 2, 0)),
	} {
		if m, err := Decode(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, %+v", name, err, m)
		}
	}
	if _, err := Decode(size(append(with(11, 39), 0x49, 1, 0))); err != nil {
		t.Errorf("an unknown option that may be skipped: %v", err)
	}
}

// FuzzDecode: no bytes panic, and what is understood survives being sent again.
func FuzzDecode(f *testing.F) {
	for _, rec := range recordings(f).Messages {
		b, _ := hex.DecodeString(rec.Payload)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		out := NewBuilder(m.Version, m.SyncID, MaxMessage)
		kept := 0
		for i := range m.Conns {
			m.Conns[i].Flags &= FlagsSent
			if m.Conns[i].Flags&FlagOnePacket == 0 {
				kept++
			}
			if !out.Add(&m.Conns[i]) {
				t.Fatal("what came in one message does not fit into one")
			}
		}
		again, err := Decode(out.Bytes())
		if err != nil || len(again.Conns) != kept {
			t.Fatalf("%v, %d of %d connections", err, len(again.Conns), kept)
		}
		if kept == len(m.Conns) && kept > 0 && !reflect.DeepEqual(again, m) {
			t.Fatalf("\n got %+v\nwant %+v", again, m)
		}
	})
}
