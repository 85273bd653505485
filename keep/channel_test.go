package keep

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// channel is both ends of one.
func channel(t *testing.T) (a, b *Channel) {
	t.Helper()
	a, theirs, err := NewChannel()
	must(t, err)
	b, err = OpenChannel(theirs)
	must(t, err)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestAChannelCarriesDetailsAndAnyNumberOfFiles(t *testing.T) {
	a, b := channel(t)
	var sent []*os.File
	for range 2*maxPassed + 3 {
		sent = append(sent, fileWith(t, "x"))
	}
	want := strings.Repeat("long ", 1<<18)
	said := make(chan error, 1)
	go func() { said <- errors.Join(a.Say("hello", want, sent...), a.Say("bye", nil)) }()
	var got string
	files, err := b.Hear("hello", 30*time.Second, &got)
	must(t, err)
	defer closeAll(files)
	if got != want || len(files) != len(sent) {
		t.Fatalf("%d bytes and %d files, want %d and %d", len(got), len(files), len(want), len(sent))
	}
	for i := range sent {
		x, _ := sent[i].Stat()
		if y, err := files[i].Stat(); err != nil || !os.SameFile(x, y) {
			t.Fatalf("file %d is another one: %v", i, err)
		}
	}
	if _, err := b.Hear("bye", 30*time.Second, nil); err != nil {
		t.Error(err)
	}
	must(t, <-said)
}

func TestWhoDoesNotGoOnSaysWhy(t *testing.T) {
	a, b := channel(t)
	must(t, a.Refuse(errors.New("line 3 is wrong")))
	if _, err := b.Hear("ready", 30*time.Second, nil); !errors.Is(err, ErrRefused) ||
		!strings.Contains(err.Error(), "line 3 is wrong") {
		t.Errorf("got %v", err)
	}
	must(t, a.Say("other", nil))
	if _, err := b.Hear("ready", 30*time.Second, nil); err == nil || !strings.Contains(err.Error(), "other") {
		t.Errorf("got %v", err)
	}
	must(t, a.Close())
	if _, err := b.Hear("ready", 30*time.Second, nil); err == nil {
		t.Error("an end that is gone said something")
	}
}

func TestAChannelBelievesNoNonsense(t *testing.T) {
	a, b := channel(t)
	for _, raw := range []string{"x", `{"says":"hi","size":5}`, `{"says":"hi","size":-1}`} {
		_, _, err := a.conn.WriteMsgUnix([]byte(raw), nil, nil)
		must(t, err)
		var details string
		if _, err := b.Hear("ready", 30*time.Second, &details); err == nil {
			t.Errorf("%s was believed", raw)
		}
	}
	if _, err := OpenChannel(fileWith(t, "x")); err == nil {
		t.Error("a file was taken for a channel")
	}
}
