package director

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ulvs/config"
	"ulvs/control"
	"ulvs/events"
	"ulvs/lvs"
)

// words returns the journal's events in words.
func words(j *events.Journal) (list []string) {
	for _, e := range j.Recent(events.Filter{}, 1000) {
		list = append(list, e.String())
	}
	return list
}

func wantWords(t *testing.T, j *events.Journal, want ...string) {
	t.Helper()
	if got := words(j); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTheJournalHearsOfEdits(t *testing.T) {
	n := newTestNode(t)
	n.journal = events.New(events.Options{})
	for _, e := range []lvs.Edit{
		{Op: lvs.EditAddService, Key: shop(), Service: lvs.Service{Scheduler: "rr"}},
		{Op: lvs.EditAddDest, Key: shop(), Dest: weight(1, 1)},
		{Op: lvs.EditSetDest, Key: shop(), Dest: weight(1, 5)},
		{Op: lvs.EditZero, Key: shop()},
		{Op: lvs.EditDelDest, Key: shop(), Dest: weight(1, 0)},
		{Op: lvs.EditSetService, Key: shop(), Service: lvs.Service{Scheduler: "wlc"}},
		{Op: lvs.EditDelService, Key: shop()},
		{Op: lvs.EditTimeouts, Timeouts: [3]int{1, 2, 3}},
		{Op: lvs.EditFlush},
	} {
		edit(t, n, &e)
	}
	if err := n.Edit(&lvs.Edit{Op: lvs.EditDelService, Key: shop()}); err == nil {
		t.Error("a service that is not there was removed")
	}
	if err := n.SetSetting("drop_entry", 3); err != nil {
		t.Fatal(err)
	}
	const s = "tcp 192.0.2.10:80"
	wantWords(t, n.journal,
		"service_added "+s+"  -> rr: edited by hand",
		"server_added "+s+" 10.0.0.1:80  -> weight 1: edited by hand",
		"config_edited "+s+" 10.0.0.1:80  -> weight 5: edited by hand",
		"server_removed "+s+" 10.0.0.1:80: edited by hand",
		"config_edited "+s+"  -> wlc: edited by hand",
		"service_removed "+s+": edited by hand",
		"config_edited: timeouts [1 2 3] s edited by hand",
		"config_edited: all services removed by hand",
		"config_edited drop_entry  -> 3: setting edited by hand",
	)
}

func TestTheJournalHearsOfReloads(t *testing.T) {
	j := events.New(events.Options{})
	journalReload(j, control.Reloaded{Changes: []string{"a", "b"}}, nil)
	journalReload(j, control.Reloaded{DiscardedEdits: 3, NeedsRestart: []string{"node.io: afxdp -> asavie"}}, nil)
	journalReload(j, control.Reloaded{}, errors.New("4 errors\nf:1: a\nf:2: b\nf:3: c\nf:4: d"))
	wantWords(t, j,
		"config_reloaded (2)",
		"config_reloaded: 3 edits by hand were discarded; needs a restart: node.io: afxdp -> asavie",
		"config_refused: 4 errors; f:1: a; f:2: b; and 2 lines more",
	)
}

func TestTheJournalHearsOfInterfacesOnce(t *testing.T) {
	j := events.New(events.Options{})
	missing := []string(nil)
	for _, now := range [][]string{{}, {"eth0"}, {"eth0", "eth1"}, {"eth1"}, {"eth1"}, {}} {
		journalInterfaces(j, missing, now)
		missing = now
	}
	wantWords(t, j,
		"interface_gone eth0: out of service until it returns",
		"interface_gone eth1: out of service until it returns",
		"interface_returned eth0",
		"interface_returned eth1",
	)
}

func TestTheLogHasEveryEventBeforeItEnds(t *testing.T) {
	var text strings.Builder
	d := &director{log: slog.New(slog.NewTextHandler(&text, nil)), journal: events.New(events.Options{Capacity: 64})}
	stop := d.startJournalLog()
	for i := range 50 {
		d.journal.Add(events.Event{Kind: events.ServerDown, Service: fmt.Sprint(i)})
	}
	stop()
	if n := strings.Count(text.String(), `level=WARN msg="server down" event=server_down service=`); n != 50 {
		t.Errorf("%d of 50 lines:\n%s", n, text.String())
	}
}

func TestTheLogSaysWhatItMissed(t *testing.T) {
	var text strings.Builder
	j := events.New(events.Options{Capacity: 4})
	s := j.Subscribe(0)
	for range 10 {
		j.Add(events.Event{Kind: events.ServerUp})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	runJournalLog(ctx, s, slog.New(slog.NewTextHandler(&text, nil)))
	if !strings.Contains(text.String(), "lost=6") || strings.Count(text.String(), "server_up") != 4 {
		t.Errorf("got %s", text.String())
	}
}

func TestNotifiesBecomeTargetsWithTheirSecrets(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"good": "key\n", "empty": "\n", "long": strings.Repeat("x", 5000)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	targets, err := notifyTargets([]config.Notify{
		{Webhook: "http://a", SecretFile: filepath.Join(dir, "good"), Events: []events.Kind{events.ServerUp}, Service: "x"},
		{Script: []string{"/a"}, Retries: 2},
	})
	if err != nil || string(targets[0].Secret) != "key" || targets[0].Filter.Service != "x" ||
		targets[0].Filter.Kinds[0] != events.ServerUp || targets[1].Script[0] != "/a" || targets[1].Retries != 2 {
		t.Errorf("got %+v, %v", targets, err)
	}
	for _, name := range []string{"empty", "long", "none"} {
		_, err := notifyTargets([]config.Notify{{}, {Webhook: "http://a", SecretFile: filepath.Join(dir, name)}})
		if err == nil || !strings.Contains(err.Error(), "secret_file of notify[1]: ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
