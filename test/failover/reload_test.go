package failover

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"ulvs/control"
	"ulvs/events"
	"ulvs/internal/testutil"
	"ulvs/test/lab"
)

// rewrite puts another configuration into a director's file.
func (p *peer) rewrite(l *lab.Lab, o options) {
	p.t.Helper()
	if err := os.WriteFile(p.file, []byte(config(l, p.name, o)), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) reload(l *lab.Lab, o options) control.Reloaded {
	p.t.Helper()
	p.rewrite(l, o)
	out, err := p.client.Reload(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// transitions counts the state changes of a director since it started.
func (p *peer) transitions() int {
	p.t.Helper()
	list, err := p.client.RecentEvents(p.t.Context(), eventsOf(events.VRRPTransition))
	if err != nil {
		p.t.Fatal(err)
	}
	return len(list)
}

func (p *peer) named(name string) (in control.VRRPInstance) {
	v, _ := p.client.VRRP(p.t.Context())
	for _, in := range v.Instances {
		if in.Name == name {
			return in
		}
	}
	return in
}

func wantChange(t *testing.T, out control.Reloaded, want string) {
	t.Helper()
	if !strings.Contains(strings.Join(out.Changes, "\n"), want) {
		t.Errorf("changes %q, want one with %q", out.Changes, want)
	}
}

// A reload applies what [[vrrp]] says, and nobody notices who did not have to.
func TestAReloadOfVRRPKeepsTheMaster(t *testing.T) {
	l := twoDirectors(t)
	o1, o2 := options{priority: 200, advert: steady}, options{priority: 100, advert: steady}
	d1 := startULVS(t, l, "d1", o1)
	d1.await("MASTER")
	d2 := startULVS(t, l, "d2", o2)
	d2.await("BACKUP")
	p := startProbe(t, l)
	began, before := time.Now(), d1.transitions()
	o1.priority = 210
	wantChange(t, d1.reload(l, o1), "vrrp VI_1: priority 200 -> 210")
	o1.advert = "400ms"
	wantChange(t, d1.reload(l, o1), "advert_int 300ms -> 400ms")
	o1.extra = "vips_excluded = [\"198.18.0.200\"]\ntrack_interface = [\"s0\"]"
	wantChange(t, d1.reload(l, o1), "vips_excluded")
	if out := d1.reload(l, o1); len(out.Changes) > 0 {
		t.Errorf("the same file again changes %q", out.Changes)
	}
	second := "[[vrrp]]\nname = \"VI_2\"\ninterface = \"c0\"\nvirtual_router_id = 52\nadvert_int = \"30ms\"\n" +
		"vips = [\"198.18.0.201\"]\n"
	o1.sync = second
	wantChange(t, d1.reload(l, o1), "vrrp VI_2: added")
	testutil.Await(t, "VI_2 to be MASTER", func() bool { return d1.named("VI_2").State == "MASTER" })
	o1.sync = strings.Replace(second, "52", "53", 1) // another thing to other directors: it begins anew
	wantChange(t, d1.reload(l, o1), "vrrp VI_2: virtual_router_id 52 -> 53")
	testutil.Await(t, "VI_2 to be MASTER again", func() bool { return d1.named("VI_2").State == "MASTER" })
	o1.sync = ""
	wantChange(t, d1.reload(l, o1), "vrrp VI_2: removed")
	awaitAnswers(t, p, 50)
	gap := p.Gap(began)
	t.Logf("longest gap over all reloads: %v", gap.Round(time.Millisecond))
	in := d1.named("VI_1")
	if in.State != "MASTER" || in.Priority != 210 || in.AdvertMillis != 400 || d2.state() != "BACKUP" {
		t.Errorf("d1 is %+v, d2 %s", in, d2.state())
	}
	list, err := d1.client.RecentEvents(t.Context(), eventsOf(events.VRRPTransition))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list[min(before, len(list)):] {
		if e.Instance == "VI_1" {
			t.Errorf("VI_1 went from %s to %s: %s", e.From, e.To, e.Reason)
		}
	}
	o1.priority = 50 // below d2's: it takes over, and the VIP is answered all the same
	d1.rewrite(l, o1)
	if err := d1.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	d2.await("MASTER")
	d1.await("BACKUP")
	awaitAnswers(t, p, 50)
	o1.extra = "vips_excluded = [\"198.18.0.200\"]\ninterface = \"c0\""
	d1.rewrite(l, o1)
	if _, err := d1.client.Reload(t.Context()); err == nil || d1.state() != "BACKUP" {
		t.Errorf("a file with a mistake: %v, d1 is %s", err, d1.state())
	}
}
