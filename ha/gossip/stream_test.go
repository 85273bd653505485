package gossip

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"ulvs/internal/testutil"
)

// tape is one end of a connection that plays bytes and records what is written.
type tape struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (t *tape) Read(b []byte) (int, error)       { return t.in.Read(b) }
func (t *tape) Write(b []byte) (int, error)      { return t.out.Write(b) }
func (t *tape) Close() error                     { return nil }
func (t *tape) SetWriteDeadline(time.Time) error { return nil }
func (t *tape) SetDeadline(time.Time) error      { return nil }

type shaken struct {
	s    *stream
	peer hello
	err  error
}

// overTCP joins two identities over loopback.
func overTCP(t testing.TB, a, b identity) (client, server shaken) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan shaken)
	go func() {
		c, err := l.Accept()
		if err != nil {
			done <- shaken{err: err}
			return
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(testutil.AwaitLimit))
		s, peer, err := b.shake(c, false, purposeMemberlist)
		if err != nil {
			c.Close()
		}
		done <- shaken{s, peer, err}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(testutil.AwaitLimit))
	s, peer, err := a.shake(c, true, purposeMemberlist)
	if err != nil {
		c.Close()
	}
	return shaken{s, peer, err}, <-done
}

func TestAStreamCarriesWhatIsWrittenAndEndsWhenItIsClosed(t *testing.T) {
	keys := testKeys(t)
	c, s := overTCP(t, identity{keys, alice, Epoch{1}}, identity{keys, bob, Epoch{2}})
	if c.err != nil || s.err != nil {
		t.Fatal(c.err, s.err)
	}
	if c.peer.node != bob || c.peer.epoch != (Epoch{2}) || s.peer.node != alice || s.peer.epoch != (Epoch{1}) {
		t.Errorf("they met %+v and %+v", c.peer, s.peer)
	}
	want := make([]byte, 300_000)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(want)
	go func() {
		_, _ = c.s.Write(want)
		_ = c.s.Close()
	}()
	got, err := io.ReadAll(s.s)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes came of %d: %v", len(got), len(want), err)
	}
}

func TestOnlyDirectorsOfTheClusterGetAStream(t *testing.T) {
	ours, theirs, both := testKeys(t), testKeys(t, key2), testKeys(t, key2, key1)
	for _, c := range []struct {
		name   string
		a, b   identity
		opened bool
	}{
		{"another key", identity{theirs, alice, Epoch{1}}, identity{ours, bob, Epoch{2}}, false},
		{"ourselves", identity{ours, bob, Epoch{2}}, identity{ours, bob, Epoch{2}}, false},
		{"an old key to both", identity{ours, alice, Epoch{1}}, identity{both, bob, Epoch{2}}, true},
	} {
		client, server := overTCP(t, c.a, c.b)
		if (client.err == nil) != c.opened || (server.err == nil) != c.opened {
			t.Errorf("%s: %v, %v", c.name, client.err, server.err)
		}
	}
}

// recorded plays a whole stream of alice's to bob and returns all bytes that she sent.
func recorded(t testing.TB, write string) (sent []byte, b identity) {
	t.Helper()
	keys := testKeys(t)
	a, b := identity{keys, alice, Epoch{1}}, identity{keys, bob, Epoch{2}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan []byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		var log bytes.Buffer
		s, _, err := b.shake(&tee{c, &log}, false, purposeMemberlist)
		if err == nil {
			_, _ = io.ReadAll(s)
		}
		got <- log.Bytes()
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := a.shake(c, true, purposeMemberlist)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = s.Write([]byte(write))
	_ = s.Close()
	return <-got, b
}

type tee struct {
	net.Conn
	log *bytes.Buffer
}

func (t *tee) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.log.Write(b[:n])
	return n, err
}

func TestAReplayedStreamProvesNothing(t *testing.T) {
	sent, b := recorded(t, "push")
	again := &tape{in: bytes.NewReader(sent)}
	if _, _, err := b.shake(again, false, purposeMemberlist); refusal(err) != RejectForged {
		t.Errorf("a replayed stream: %v", err)
	}
}

// cutter lets n bytes of a connection through, or flips a bit of byte flip.
type cutter struct {
	net.Conn
	n, flip, at int
}

func (c *cutter) Read(b []byte) (int, error) {
	if c.at >= c.n {
		return 0, io.EOF
	}
	n, err := c.Conn.Read(b[:min(len(b), c.n-c.at)])
	if c.flip >= c.at && c.flip < c.at+n {
		b[c.flip-c.at] ^= 4
	}
	c.at += n
	return n, err
}

func TestATornOrChangedStreamIsAnErrorNotAnEnd(t *testing.T) {
	keys := testKeys(t)
	rng := testutil.Rand(t)
	whole, _ := recorded(t, "push and pull")
	for i := range 60 {
		a, b := identity{keys, alice, Epoch{1}}, identity{keys, bob, Epoch{2}}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				return
			}
			defer c.Close()
			if s, _, err := a.shake(c, true, purposeMemberlist); err == nil {
				_, _ = s.Write([]byte("push and pull"))
				_ = s.Close()
			}
		}()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(testutil.AwaitLimit))
		at := rng.IntN(len(whole))
		bad := &cutter{Conn: c, n: at, flip: -1}
		if i%2 == 0 {
			bad.n, bad.flip = 1<<20, at
		}
		s, _, err := b.shake(bad, false, purposeMemberlist)
		if err == nil {
			_, err = io.ReadAll(s)
		}
		if err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut %v at byte %d of %d: %v", i%2 == 1, at, len(whole), err)
		}
		c.Close()
		l.Close()
	}
}

// FuzzStream gives a server bytes that no director sent.
func FuzzStream(f *testing.F) {
	sent, b := recorded(f, "push")
	f.Add(sent)
	f.Add(sent[:helloSize])
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := &tape{in: bytes.NewReader(in)}
		if _, peer, err := b.shake(c, false, purposeMemberlist); err == nil {
			t.Fatalf("a stream of %+v that nobody opened", peer)
		}
		if c.out.Len() > helloSize+recordOver {
			t.Fatalf("%d bytes were answered", c.out.Len())
		}
	})
}

// FuzzStreamRecords gives an open stream bytes instead of records.
func FuzzStreamRecords(f *testing.F) {
	keys := testKeys(f)
	var mine, theirs [helloSize]byte
	mine[0], theirs[0] = 1, 2
	good := &tape{in: bytes.NewReader(nil)}
	w := newStream(good, &keys.keys[0], true, mine, theirs)
	_ = w.record(recordData, []byte("push"))
	_ = w.record(recordEnd, nil)
	f.Add(good.out.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		r := newStream(&tape{in: bytes.NewReader(in)}, &keys.keys[0], false, theirs, mine)
		got, err := io.ReadAll(r)
		if err == nil && !bytes.HasPrefix(in, good.out.Bytes()) {
			t.Fatalf("%q came out of % x", got, in)
		}
	})
}
