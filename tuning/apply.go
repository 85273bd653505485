package tuning

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Tuner changes a machine and puts it back.
type Tuner struct {
	Host  Host
	Store Store
	// Read reads the machine anew: queues that change bring other interrupts and files.
	Read func() *Machine
	// Progress is told of each setting before it changes. May be nil.
	Progress func(it Item)
}

// Apply makes the machine as the wish's plan wants it, and returns the plan as it was before. What was there is in
// the journal, and on the disk, before anything changes; a setting that is there from an earlier apply keeps
// its first value. If one change fails, those of this call are taken back.
func (t *Tuner) Apply(w Wish) (*Plan, error) {
	m := t.Read()
	first, err := MakePlan(m, w)
	if err != nil {
		return nil, err
	}
	journal, err := t.Store.Load()
	if err != nil {
		return nil, err
	}
	run := &applying{Tuner: t, journal: journal, old: journal}
	if journal == nil || journal.BootID != m.BootID {
		run.journal, run.old = &Journal{Version: journalVersion, BootID: m.BootID}, nil
	} else {
		copied := *journal
		copied.Entries = append([]Before(nil), journal.Entries...)
		run.journal = &copied
	}
	if err := run.all(first, w); err != nil {
		return nil, fmt.Errorf("tune: %w; %s", err, run.takeBack())
	}
	return first, nil
}

// applying is one call of Apply.
type applying struct {
	*Tuner
	journal, old *Journal
	done         []Before // what this call changed, with what it was
}

// all applies the queues, then, of the machine that this makes, the rest.
func (a *applying) all(p *Plan, w Wish) error {
	queues := onlyFirst(p.Changes())
	if len(queues) > 0 {
		if err := a.items(queues, p.keep); err != nil {
			return err
		}
		var err error
		if p, err = MakePlan(a.Read(), w); err != nil {
			return fmt.Errorf("read the machine with its new queues: %w", err)
		}
		if left := onlyFirst(p.Changes()); len(left) > 0 {
			return fmt.Errorf("%s: has %s, not the %s that were set", left[0].Setting, left[0].Now, left[0].Wanted)
		}
	}
	if err := a.items(p.Changes(), nil); err != nil {
		return err
	}
	if len(a.journal.Entries) == 0 {
		return nil
	}
	a.journal.Complete = true
	return a.Store.Save(a.journal)
}

func onlyFirst(items []Item) (list []Item) {
	for _, it := range items {
		if it.first {
			list = append(list, it)
		}
	}
	return list
}

// items journals, then changes.
func (a *applying) items(items []Item, keep []Setting) error {
	if len(items) == 0 {
		return nil
	}
	now := make([]Before, 0, len(items)+len(keep))
	for _, it := range items {
		before, err := a.Host.Get(it.Setting)
		if err != nil {
			return fmt.Errorf("read %s: %w", it.Setting, err)
		}
		now = append(now, Before{it.Setting, before, it.Value})
	}
	for _, s := range keep {
		if before, err := a.Host.Get(s); err == nil { // else there is nothing to put back
			now = append(now, Before{Setting: s, Before: before})
		}
	}
	if err := a.write(now); err != nil {
		return err
	}
	a.done = append(a.done, now[len(items):]...)
	for i, it := range items {
		if a.Progress != nil {
			a.Progress(it)
		}
		a.done = append(a.done, now[i])
		if err := a.change(it); err != nil {
			return err
		}
	}
	return nil
}

// write adds what is not in the journal yet, and has it on the disk.
func (a *applying) write(now []Before) error {
	a.journal.Complete = false
	for _, b := range now {
		if known := a.journal.entry(b.Setting); known == nil {
			a.journal.Entries = append(a.journal.Entries, b)
		} else if b.After != "" {
			known.After = b.After
		}
	}
	return a.Store.Save(a.journal)
}

// change sets one thing and reads it back: drivers round, and refuse silently.
func (a *applying) change(it Item) error {
	if err := a.Host.Set(it.Setting, it.Value); err != nil {
		return err
	}
	got, err := a.Host.Get(it.Setting)
	if err != nil {
		return fmt.Errorf("read %s again: %w", it.Setting, err)
	}
	if !sameValue(got, it.Value) {
		return fmt.Errorf("%s: %.60q was set, and it is %.60q", it.Setting, it.Value, strings.TrimSpace(got))
	}
	return nil
}

// sameValue compares without what the kernel adds: a newline, leading zeros of a mask.
func sameValue(a, b string) bool {
	trim := func(s string) string { return strings.TrimLeft(strings.TrimSpace(s), "0,") }
	return trim(a) == trim(b)
}

// takeBack undoes this call, and says in words how that went.
func (a *applying) takeBack() string {
	if len(a.done) == 0 {
		return "nothing was changed"
	}
	if _, err := restore(a.Host, a.done, nil); err != nil {
		return fmt.Sprintf("it could not be taken back (%v): ulvs tune undo", err)
	}
	if err := a.putStore(); err != nil {
		return fmt.Sprintf("what was changed is taken back, but not the journal: %v", err)
	}
	return "what was changed is taken back"
}

func (a *applying) putStore() error {
	if a.old == nil {
		return a.Store.Remove()
	}
	return a.Store.Save(a.old)
}

// Undone is what Undo did.
type Undone struct {
	Restored int      `json:"restored"`
	Gone     []string `json:"gone"`    // settings that are not there any more
	Changed  []string `json:"changed"` // somebody had changed them since
	Stale    bool     `json:"stale"`   // the machine was restarted since: nothing to do
}

// Undo puts back what the journal has. Without one there is nothing to do, and that is no error.
func (t *Tuner) Undo() (Undone, error) {
	u := Undone{Gone: []string{}, Changed: []string{}}
	journal, err := t.Store.Load()
	if err != nil || journal == nil {
		return u, err
	}
	if t.bootID() != journal.BootID {
		u.Stale = true
		return u, t.Store.Remove()
	}
	for _, b := range journal.Entries {
		if now, err := t.Host.Get(b.Setting); err == nil && b.After != "" && now != b.Before && !sameValue(now, b.After) {
			u.Changed = append(u.Changed, b.Setting.String())
		}
	}
	gone, err := restore(t.Host, journal.Entries, t.Progress)
	u.Gone = append(u.Gone, gone...)
	if err != nil {
		return u, fmt.Errorf("undo: %w; the journal stays, undo again when that is mended", err)
	}
	u.Restored = len(journal.Entries) - len(gone)
	return u, t.Store.Remove()
}

// bootID tells one start of the machine from another.
func (t *Tuner) bootID() string {
	text, _ := t.Host.Get(Setting{Kind: KindFile, Name: bootIDFile})
	return strings.TrimSpace(text)
}

// passes bounds restore: queues first, then the table that spreads over them, then what hangs on the queues.
const passes = 6

// restore sets everything that differs from what was before, until nothing does: a setting can depend on another (a
// table on its queues), and take others with it (queues theirs). What is there no more at the end is returned.
func restore(host Host, entries []Before, progress func(Item)) (gone []string, err error) {
	for range passes {
		changed := false
		gone, err = nil, nil
		for _, b := range entries {
			now, getErr := host.Get(b.Setting)
			switch {
			case errors.Is(getErr, fs.ErrNotExist):
				gone = append(gone, b.Setting.String())
			case getErr != nil:
				err = errors.Join(err, fmt.Errorf("read %s: %w", b.Setting, getErr))
			case now != b.Before:
				if progress != nil {
					progress(Item{Setting: b.Setting, Now: strings.TrimSpace(now), Wanted: strings.TrimSpace(b.Before)})
				}
				setErr := host.Set(b.Setting, b.Before)
				err = errors.Join(err, setErr)
				changed = changed || setErr == nil
			}
		}
		if !changed {
			return gone, err
		}
	}
	return gone, errors.Join(err, errors.New("settings do not stay as they were set: does irqbalance, or another, "+
		"set them, too?"))
}

// Status is what became of an apply.
type Status struct {
	Applied  bool `json:"applied"`
	Complete bool `json:"complete"` // false: the apply did not come to its end
	Stale    bool `json:"stale"`    // the machine was restarted since
	Settings int  `json:"settings"`
	// Drifted are those that somebody changed since.
	Drifted []Drift `json:"drifted"`
}

// Drift is a setting that is not as apply made it.
type Drift struct {
	Setting
	Applied string `json:"applied"`
	Now     string `json:"now"`
}

// Status compares the machine with the journal.
func (t *Tuner) Status() (Status, error) {
	st := Status{Drifted: []Drift{}}
	journal, err := t.Store.Load()
	if err != nil || journal == nil {
		return st, err
	}
	st.Applied, st.Complete, st.Settings = true, journal.Complete, len(journal.Entries)
	if t.bootID() != journal.BootID {
		st.Stale, st.Applied = true, false
		return st, nil
	}
	for _, b := range journal.Entries {
		now, err := t.Host.Get(b.Setting)
		if b.After != "" && (err != nil || !sameValue(now, b.After)) {
			st.Drifted = append(st.Drifted, Drift{b.Setting, b.After, strings.TrimSpace(now)})
		}
	}
	return st, nil
}
