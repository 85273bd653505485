package gossip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ulvs/internal/testutil"
)

func testKeys(t testing.TB, lines ...string) Keys {
	t.Helper()
	if len(lines) == 0 {
		lines = []string{key1}
	}
	k, err := ParseKeys(strings.Join(lines, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const (
	key1 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	key2 = "IB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgE="
)

var alice, bob = IDOf("alice"), IDOf("bob")

// sealed returns a sealer of alice's and bob's opener, which knows her epoch.
func sealed(t testing.TB, keys Keys) (*sealer, *opener) {
	t.Helper()
	e := Epoch{1, 2, 3, 4, 5}
	o := newOpener(keys, bob)
	o.learn(alice, e)
	return newSealer(&keys.keys[0], alice, e), o
}

func refusal(err error) Reject {
	var r errReject
	if errors.As(err, &r) {
		return Reject(r)
	}
	return Reject(NumRejects)
}

func TestASealedDatagramIsOpenedOnce(t *testing.T) {
	s, o := sealed(t, testKeys(t))
	b := s.seal(nil, kindLane, []byte("sessions"))
	if len(b) != len("sessions")+sealOverhead || bytes.Contains(b, []byte("sess")) {
		t.Fatalf("sealed as % x", b)
	}
	again := bytes.Clone(b)
	got, err := o.open(b)
	if err != nil || got.kind != kindLane || got.from != alice || string(got.payload) != "sessions" {
		t.Fatalf("opened %+v: %v", got, err)
	}
	if _, err := o.open(again); refusal(err) != RejectReplay {
		t.Errorf("a replay: %v", err)
	}
}

func TestNoChangedDatagramIsOpened(t *testing.T) {
	s, o := sealed(t, testKeys(t))
	b := s.seal(nil, kindMemberlist, []byte("membership"))
	for i := range b {
		for bit := range 8 {
			c := bytes.Clone(b)
			c[i] ^= 1 << bit
			if got, err := o.open(c); err == nil {
				t.Fatalf("bit %d of byte %d flipped, and opened as %+v", bit, i, got)
			}
		}
	}
	for n := range b {
		if _, err := o.open(bytes.Clone(b[:n])); err == nil {
			t.Fatalf("cut to %d bytes, and opened", n)
		}
	}
	if _, err := o.open(append(bytes.Clone(b), 0)); refusal(err) != RejectForged {
		t.Error("a byte more was opened")
	}
	if _, err := o.open(make([]byte, 2*maxDatagram+1)); refusal(err) != RejectShort {
		t.Error("an oversized one is not refused at once")
	}
	if _, err := o.open(b); err != nil {
		t.Errorf("none of these may use up the real one's counter: %v", err)
	}
}

func TestDatagramsOfOthersAreRefusedByName(t *testing.T) {
	keys := testKeys(t)
	s, o := sealed(t, keys)
	foreign, _ := sealed(t, testKeys(t, key2))
	stranger := newSealer(&keys.keys[0], IDOf("mallory"), Epoch{9})
	earlier := newSealer(&keys.keys[0], alice, Epoch{7})
	own := newSealer(&keys.keys[0], bob, Epoch{8})
	for _, c := range []struct {
		name string
		s    *sealer
		want Reject
	}{
		{"a foreign cluster", foreign, RejectKey}, {"a director that proved nothing", stranger, RejectEpoch},
		{"an earlier start", earlier, RejectEpoch}, {"our own", own, RejectOwn},
	} {
		if _, err := o.open(c.s.seal(nil, kindLane, []byte("x"))); refusal(err) != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	b := s.seal(nil, 7, nil)
	if _, err := o.open(b); refusal(err) != RejectFormat {
		t.Errorf("another kind: %v", err)
	}
}

func TestWhileAKeyIsChangedBothAreOpened(t *testing.T) {
	oldOnly, both, newOnly := testKeys(t, key1), testKeys(t, key2, key1), testKeys(t, key2)
	for _, c := range []struct {
		name       string
		from, to   Keys
		understood bool
	}{
		{"old to both", oldOnly, both, true}, {"both to both", both, both, true}, {"both to new", both, newOnly, true},
		{"old to new", oldOnly, newOnly, false},
	} {
		s, _ := sealed(t, c.from)
		_, o := sealed(t, c.to)
		if _, err := o.open(s.seal(nil, kindLane, []byte("x"))); (err == nil) != c.understood {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestTheReplayWindowTakesEachCounterOnceInAnyOrder(t *testing.T) {
	rng := testutil.Rand(t)
	var w window
	seen := map[uint64]bool{}
	high := uint64(0)
	for range 200_000 {
		n := high + uint64(rng.IntN(20))
		if rng.IntN(3) == 0 {
			n = high - min(high, uint64(rng.IntN(2*windowSize)))
		}
		if rng.IntN(5000) == 0 {
			n = high + uint64(rng.IntN(3*windowSize))
		}
		want := n != 0 && !seen[n] && (n > high || high-n < windowSize)
		if got := w.fresh(n); got != want {
			t.Fatalf("counter %d at high %d: fresh %v, want %v", n, high, got, want)
		}
		if want {
			w.mark(n)
			seen[n] = true
			high = max(high, n)
		}
	}
}

func TestAKeyFileIsReadOnlyIfNobodyElseCan(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if _, err := LoadKeys(path); !errors.Is(err, ErrKey) {
		t.Errorf("a missing file: %v", err)
	}
	write := func(text string, mode os.FileMode) error {
		_ = os.Remove(path)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		_ = os.Chmod(path, mode)
		_, err := LoadKeys(path)
		return err
	}
	if err := write("# of june\n"+GenerateKey()+"\n", 0o600); err != nil {
		t.Error(err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o666} {
		if err := write(key1, mode); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "0600") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	for _, text := range []string{"", "short", key1 + "\n" + key1, key1 + "\n" + key2 + "\n" + GenerateKey()} {
		if err := write(text, 0o600); !errors.Is(err, ErrKey) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", path); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKeys(path); err == nil || !strings.Contains(err.Error(), "regular") {
		t.Errorf("a link: %v", err)
	}
}

func TestSealingAndOpeningAllocateNothing(t *testing.T) {
	s, o := sealed(t, testKeys(t))
	payload, buf := make([]byte, maxPayload), make([]byte, 0, maxDatagram)
	testutil.AllocFree(t, func() {
		b := s.seal(buf, kindLane, payload)
		if _, err := o.open(b); err != nil || len(b) != maxDatagram {
			t.Fatal(err)
		}
	})
}

func FuzzDatagram(f *testing.F) {
	s, _ := sealed(f, testKeys(f))
	f.Add(s.seal(nil, kindLane, []byte("a session")))
	f.Add(s.seal(nil, kindMemberlist, nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		fresh, o := sealed(t, testKeys(t))
		orig := bytes.Clone(b)
		got, err := o.open(b)
		if err != nil {
			if int(refusal(err)) == NumRejects {
				t.Fatalf("refused without a name: %v", err)
			}
			return
		}
		// Whoever holds the key could have made it: it must be exactly what sealing gives.
		fresh.counter.Store(binary.BigEndian.Uint64(orig[16:]) - 1)
		if again := fresh.seal(nil, got.kind, got.payload); !bytes.Equal(again, orig) {
			t.Fatalf("opened % x, which nobody sealed", orig)
		}
	})
}

func BenchmarkSealOpen(b *testing.B) {
	s, o := sealed(b, testKeys(b))
	payload, buf := make([]byte, maxPayload), make([]byte, 0, maxDatagram)
	b.SetBytes(maxPayload)
	for b.Loop() {
		if _, err := o.open(s.seal(buf, kindLane, payload)); err != nil {
			b.Fatal(err)
		}
	}
}
