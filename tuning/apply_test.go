package tuning_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"ulvs/test/machine"
	"ulvs/tuning"
)

// killed ends an apply or an undo in the middle, as SIGKILL does: nothing of it runs any more.
type killed struct{}

// mortal is a host and a store that die at one of the steps that leave a trace.
type mortal struct {
	tuning.Host
	tuning.Store
	left int // steps to live; negative: immortal
}

// step does something unless it is time to die. What fails leaves no trace and does not count.
func (m *mortal) step(do func() error) error {
	if m.left == 0 {
		panic(killed{})
	}
	err := do()
	if err == nil {
		m.left--
	}
	return err
}

func (m *mortal) Set(s tuning.Setting, value string) error {
	return m.step(func() error { return m.Host.Set(s, value) })
}

func (m *mortal) Save(j *tuning.Journal) error {
	return m.step(func() error { return m.Store.Save(j) })
}

func (m *mortal) Remove() error { return m.step(m.Store.Remove) }

// bed is a recorded machine with its tuner.
type bed struct {
	*machine.Machine
	t     *testing.T
	wish  tuning.Wish
	store tuning.FileStore
}

func newBed(t *testing.T, name string) *bed {
	store := tuning.FileStore{Path: filepath.Join(t.TempDir(), "tuning.json")}
	return &bed{machine.Open(t, name), t, wishes[name], store}
}

// tuner returns one that dies after some steps; negative: never.
func (b *bed) tuner(steps int) *tuning.Tuner {
	m := &mortal{b.Host(), b.store, steps}
	return &tuning.Tuner{Host: m, Store: m, Read: b.Read}
}

func (b *bed) apply(steps int) (died bool) {
	defer func() { died = recovered(recover()) }()
	if _, err := b.tuner(steps).Apply(b.wish); err != nil {
		b.t.Fatal(err)
	}
	return false
}

func (b *bed) undo(steps int) (died bool) {
	defer func() { died = recovered(recover()) }()
	if _, err := b.tuner(steps).Undo(); err != nil {
		b.t.Fatal(err)
	}
	return false
}

func recovered(r any) bool {
	_, died := r.(killed)
	if r != nil && !died {
		panic(r)
	}
	return died
}

func TestApplyDoesWhatThePlanSays(t *testing.T) {
	for name := range wishes {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, name)
			before := b.Files()
			b.apply(-1)
			plan, err := tuning.MakePlan(b.Read(), b.wish)
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range plan.Changes() {
				t.Errorf("%s: still %s, want %s", it.Setting, it.Now, it.Wanted)
			}
			if st, err := b.tuner(-1).Status(); err != nil || !st.Applied || !st.Complete || len(st.Drifted) > 0 {
				t.Errorf("status is %+v, %v", st, err)
			}
			tuned := b.Files()
			b.apply(-1) // again: nothing left to do
			sameFiles(t, tuned, b.Files())
			b.undo(-1)
			sameFiles(t, before, b.Files())
			b.undo(-1) // twice is harmless
			sameFiles(t, before, b.Files())
		})
	}
}

// TestUndoAfterADeathAtAnyStep kills apply before each of its steps, and undo after each of its own, and wants every
// byte back. With -short, apply dies before every thirteenth.
func TestUndoAfterADeathAtAnyStep(t *testing.T) {
	for _, name := range []string{"virtio-1", "virtio-8", "aarch64", "bond-i40e", "ixgbe-2", "mlx5-48"} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, name)
			before, stride := b.Files(), 1
			if testing.Short() {
				stride = 13
			}
			steps := 0
			for ; b.apply(steps); steps += stride {
				b.undo(-1)
				if sameFiles(t, before, b.Files()); t.Failed() {
					t.Fatalf("apply was killed before step %d", steps)
				}
			}
			undone := 0
			for ; b.undo(1); undone++ { // each does one step and dies before the next
			}
			if undone < 2 {
				t.Errorf("undo died %d times", undone)
			}
			sameFiles(t, before, b.Files())
			t.Logf("apply was killed before each of %d steps, undo after each of %d", steps, undone)
		})
	}
}

// failing refuses one setting.
type failing struct {
	tuning.Host
	name string
}

var errRefused = errors.New("refused")

func (f failing) Set(s tuning.Setting, value string) error {
	if s.Name == f.name && value != "0-15" {
		return errRefused
	}
	return f.Host.Set(s, value)
}

func TestAHalfDoneApplyIsTakenBack(t *testing.T) {
	b := newBed(t, "bond-i40e")
	before := b.Files()
	tuner := tuning.Tuner{Host: failing{b.Host(), "107 i40e-eno2-TxRx-6"}, Store: b.store, Read: b.Read}
	if _, err := tuner.Apply(b.wish); !errors.Is(err, errRefused) || !strings.Contains(err.Error(), "taken back") {
		t.Errorf("got %v, want that it was refused and taken back", err)
	}
	sameFiles(t, before, b.Files())
	if j, err := b.store.Load(); j != nil || err != nil {
		t.Errorf("the journal is %v, %v, want none", j, err)
	}
}

// deaf takes everything and does nothing.
type deaf struct {
	tuning.Host
	kind tuning.Kind
}

func (d deaf) Set(s tuning.Setting, value string) error {
	if s.Kind == d.kind {
		return nil
	}
	return d.Host.Set(s, value)
}

func TestASettingThatDoesNotStickIsAnError(t *testing.T) {
	for _, kind := range []tuning.Kind{tuning.KindChannels, tuning.KindIRQ, tuning.KindFile} {
		b := newBed(t, "bond-i40e")
		before := b.Files()
		tuner := tuning.Tuner{Host: deaf{b.Host(), kind}, Store: b.store, Read: b.Read}
		if _, err := tuner.Apply(b.wish); err == nil || !strings.Contains(err.Error(), "was set, and it is") {
			t.Errorf("%s: got %v, want that it did not stick", kind, err)
		}
		sameFiles(t, before, b.Files())
	}
}

func TestUndoSaysWhatOthersChangedAndWhatIsGone(t *testing.T) {
	b := newBed(t, "virtio-8")
	before := b.Files()
	b.apply(-1)
	b.Write("proc/sys/net/core/netdev_max_backlog", "5000\n")
	st, err := b.tuner(-1).Status()
	if err != nil || len(st.Drifted) != 1 || st.Drifted[0].Now != "5000" {
		t.Errorf("status is %+v, %v, want the backlog drifted", st, err)
	}
	u, err := b.tuner(-1).Undo()
	if err != nil || len(u.Changed) != 1 || !strings.Contains(u.Changed[0], "netdev_max_backlog") {
		t.Errorf("undo says %+v, %v, want the backlog changed", u, err)
	}
	sameFiles(t, before, b.Files())
	b.apply(-1)
	b.Remove("sys/class/net/eth0")
	if u, err := b.tuner(-1).Undo(); err != nil || len(u.Gone) == 0 {
		t.Errorf("undo without eth0 says %+v, %v, want what is gone", u, err)
	}
}

func TestAJournalOfAnEarlierStartIsOver(t *testing.T) {
	b := newBed(t, "virtio-8")
	b.apply(-1)
	b.Write("proc/sys/kernel/random/boot_id", "another\n")
	tuned := b.Files()
	if u, err := b.tuner(-1).Undo(); err != nil || !u.Stale || u.Restored != 0 {
		t.Errorf("undo says %+v, %v, want stale", u, err)
	}
	sameFiles(t, tuned, b.Files())
}

func TestInterruptsAreFoundByTheirNamesWhenTheirNumbersChange(t *testing.T) {
	b := newBed(t, "virtio-8")
	want := b.Files()["proc/irq/27/smp_affinity_list"]
	b.apply(-1)
	for _, name := range []string{"smp_affinity_list", "effective_affinity_list"} {
		b.Write("proc/irq/77/"+name, b.Files()["proc/irq/27/"+name])
	}
	b.Remove("proc/irq/27")
	b.Write("proc/interrupts", strings.Replace(b.Files()["proc/interrupts"], " 27:", " 77:", 1))
	b.undo(-1)
	if got := b.Files()["proc/irq/77/smp_affinity_list"]; got != want {
		t.Errorf("virtio0-input.1 is on %q, want %q", got, want)
	}
}

func TestOneTunesAtATime(t *testing.T) {
	store := tuning.FileStore{Path: filepath.Join(t.TempDir(), "a", "tuning.json")}
	unlock, err := store.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Lock(); err == nil || !strings.Contains(err.Error(), "another ulvs") {
		t.Errorf("a second lock: %v", err)
	}
	unlock()
	if unlock, err = store.Lock(); err != nil {
		t.Fatal(err)
	}
	unlock()
}
