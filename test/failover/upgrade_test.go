package failover

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"ulvs/control"
	"ulvs/events"
	"ulvs/internal/testutil"
	"ulvs/keep"
	"ulvs/test/lab"
)

// keeping has a director's sessions kept, by a keeper that ends with the test.
func keeping(t *testing.T, l *lab.Lab, ns string, o options) options {
	t.Helper()
	o.restart = "[restart]\nkeep = \"keeper\""
	t.Cleanup(func() {
		if c, err := keep.Dial(strings.TrimSuffix(l.ControlSocket(ns), ".sock") + ".keep"); err == nil {
			_ = c.Leave(0)
		}
	})
	return o
}

// upgrade has another process of the same program go on in this one's place.
func (p *peer) upgrade() (out control.Upgraded) {
	p.t.Helper()
	out, err := p.client.Upgrade(context.Background(), false)
	if err != nil {
		p.t.Fatalf("upgrade of %s: %v\n%s", p.name, err, p.log)
	}
	p.t.Cleanup(func() { _ = syscall.Kill(out.To, syscall.SIGKILL) }) // gone already where the test went well
	testutil.Await(p.t, "the new process on "+p.name+" to answer", func() bool {
		st, err := p.client.Status(context.Background())
		return err == nil && st.PID == out.To
	})
	return out
}

// happened are the events of a director's process of a kind, in words.
func (p *peer) happened(kinds ...events.Kind) (words []string) {
	p.t.Helper()
	list, err := p.client.RecentEvents(context.Background(), control.EventQuery{Filter: events.Filter{Kinds: kinds}})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range list {
		words = append(words, e.String())
	}
	return words
}

// TestAPairIsUpgradedOneAfterTheOther: the master's upgrade is nothing to the backup, nor the other way round: the VIP
// stays, sessions go on and are replicated, and at the end each still takes over from the other.
func TestAPairIsUpgradedOneAfterTheOther(t *testing.T) {
	l := twoDirectors(t)
	steadily := func(ns string, priority int) options {
		o := keeping(t, l, ns, synced(t, l, ns, priority))
		o.advert = steady // a takeover for no reason would be taken for the upgrade's
		return o
	}
	d1 := startULVS(t, l, "d1", steadily("d1", 200))
	d1.await("MASTER")
	d2 := startULVS(t, l, "d2", steadily("d2", 100))
	d1.awaitReady()
	d2.awaitReady()
	conns, p := startLongLived(t, l, 50), startProbe(t, l)
	conns.more(10)
	for round, d := range []*peer{d1, d2} {
		other := map[*peer]*peer{d1: d2, d2: d1}[d]
		// What an upgrade does to the other director it does each time; a host without CPU time for us, now and then.
		var noticed []string
		for range 3 {
			before := len(other.happened(events.VRRPTransition, events.PeerLeft))
			began := time.Now()
			out := d.upgrade()
			took := time.Since(began)
			awaitAnswers(t, p, 50)
			gap := p.Gap(began)
			d1.awaitReady()
			d2.awaitReady()
			t.Logf("round %d: %s: took %v, workers stood still for %.1f ms, longest gap %v, in step after %v; received %v",
				round, d.name, took.Round(time.Millisecond), out.GapSeconds*1000, gap.Round(time.Millisecond),
				time.Since(began).Round(time.Millisecond), d.sync().Records)
			conns.more(10)
			if noticed = other.happened(events.VRRPTransition, events.PeerLeft)[before:]; len(noticed) == 0 {
				break
			}
			t.Logf("%s noticed the upgrade of %s: %v", other.name, d.name, noticed)
			d1.await("MASTER")
			d2.await("BACKUP")
		}
		if len(noticed) > 0 {
			t.Errorf("%s noticed the upgrade of %s, three times of three: %v", other.name, d.name, noticed)
		}
		if s1, s2 := d1.state(), d2.state(); s1 != "MASTER" || s2 != "BACKUP" {
			t.Errorf("after the upgrade of %s d1 is %s and d2 is %s", d.name, s1, s2)
		}
	}
	if st, err := d1.client.Status(t.Context()); err != nil {
		t.Fatal(err)
	} else if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d2.await("MASTER")
	conns.more(10)
	if lost := conns.broken(); len(lost) > 0 {
		t.Errorf("%d of 50 connections broke: %v", len(lost), lost[0])
	}
}

// TestAPairIsWholeAgainAfterDamage: what a director finds damaged in the memory of its last life it drops, and has from
// its peer before it takes the VIP back.
func TestAPairIsWholeAgainAfterDamage(t *testing.T) {
	l := twoDirectors(t)
	o := keeping(t, l, "d1", synced(t, l, "d1", 200))
	d1 := startULVS(t, l, "d1", o)
	d1.await("MASTER")
	d2 := startULVS(t, l, "d2", synced(t, l, "d2", 100))
	d1.awaitReady()
	d2.awaitReady()
	conns := startLongLived(t, l, 50)
	conns.more(10)
	d1.end(syscall.SIGKILL)
	d2.await("MASTER")
	conns.more(10)
	damaged := damage(t, l, "d1")
	again := startULVS(t, l, "d1", o)
	st, err := again.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again.awaitReady()
	again.await("MASTER")
	conns.more(10)
	r, records := st.Restart, again.sync().Records
	t.Logf("%d entries damaged: %d sessions found, %d torn; records of the peer: %v", damaged, r.Sessions, r.Torn, records)
	if r.Torn == 0 || r.Sessions == 0 || r.Torn > damaged {
		t.Errorf("%+v", r)
	}
	if added := records["inserted"]; added < uint64(r.Torn) {
		t.Errorf("%d sessions came from the peer, %d were torn", added, r.Torn)
	}
	if lost := conns.broken(); len(lost) > 0 {
		t.Errorf("%d of 50 connections broke: %v", len(lost), lost[0])
	}
}

// damage flips a bit in every second entry of the table that a director left with its keeper.
func damage(t *testing.T, l *lab.Lab, ns string) (entries int) {
	t.Helper()
	c, err := keep.Dial(strings.TrimSuffix(l.ControlSocket(ns), ".sock") + ".keep")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	files, err := c.Files()
	if err != nil || len(files) != 1 {
		t.Fatalf("the keeper has %v: %v", files, err)
	}
	const conns, entrySize = 1 << 30, 64 // of conntrack/file.go
	for _, f := range files {
		defer f.Close()
		var b [1]byte
		for i := range 4096 {
			at := int64(conns + 2*i*entrySize)
			if _, err := f.ReadAt(b[:], at); err != nil {
				t.Fatal(err)
			}
			if b[0] == 0 {
				continue // never used
			}
			b[0] ^= 0x10
			entries++
			if _, err := f.WriteAt(b[:], at); err != nil {
				t.Fatal(err)
			}
		}
	}
	return entries
}
