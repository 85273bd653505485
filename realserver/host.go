package realserver

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Host is the host that the calling thread is on, with where its journal is kept.
type Host struct {
	State string // path of the journal; "": DefaultState
}

func (h Host) state() string {
	if h.State == "" {
		return DefaultState
	}
	return h.State
}

// Step is one line of what was done.
type Step struct {
	What string `json:"what"`
	Did  string `json:"did"`
}

// What Step.Did says of a part.
const (
	DidAlready = "already there"
	DidSet     = "set"
)

// ErrBlocked is what Setup returns, and changes nothing, when somebody else's settings are in the way.
var ErrBlocked = errors.New("something is in the way, and nothing was changed")

// Configs returns what Setup was asked for on this host since it booted.
func (h Host) Configs() ([]Config, error) {
	var j journal
	err := readJSON(h.state(), &j)
	return j.Configs, err
}

// Setup makes the host serve as c says, besides what was set up before, and returns what it did. What is
// there already stays, and is not undone by Remove. It journals each change before it makes it, so Remove works
// after a crash. It needs CAP_NET_ADMIN, and CAP_BPF for the decapsulation program.
func (h Host) Setup(c Config) ([]Step, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	j, err := open(h.state())
	if err != nil {
		return nil, err
	}
	defer j.close()
	list := mergeInto(j.Configs, c)
	at := slices.IndexFunc(list, func(o Config) bool { return o.Method == c.Method })
	if list[at], err = list[at].resolve(); err != nil {
		return nil, err
	}
	if err := list[at].Validate(); err != nil { // together with what was there
		return nil, err
	}
	needed := parts(list[at])
	if err := refuse(needed); err != nil {
		return nil, err
	}
	j.Configs = list
	if err := j.save(); err != nil {
		return nil, err
	}
	return mend(j, needed)
}

// refuse returns ErrBlocked with everything that is in the way.
func refuse(list []part) error {
	found, err := look(list)
	if err != nil {
		return err
	}
	lines := []string{}
	for _, f := range found {
		if f.Blocks {
			lines = append(lines, fmt.Sprintf("%s: %s\n  mend it: %s", f.Code, f.Problem, f.Remedy))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return fmt.Errorf("%w:\n%s", ErrBlocked, strings.Join(lines, "\n"))
}

func look(list []part) (found []Finding, err error) {
	seen := map[string]bool{}
	for _, p := range list {
		if seen[p.id] {
			continue
		}
		seen[p.id] = true
		more, err := p.look()
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", p.what, err)
		}
		found = append(found, more...)
	}
	return found, nil
}

// mend sets what is not so, and looks again: what did not help is an error.
func mend(j *journal, list []part) (steps []Step, err error) {
	for _, p := range list {
		found, err := p.look()
		if err != nil {
			return steps, fmt.Errorf("look at %s: %w", p.what, err)
		}
		if len(found) == 0 {
			steps = append(steps, Step{p.what, DidAlready})
			continue
		}
		if err := p.mend(j); err != nil {
			return steps, fmt.Errorf("%s: %w", p.what, err)
		}
		if found, err = p.look(); err != nil || len(found) > 0 {
			return steps, errors.Join(fmt.Errorf("%s: it was set and is not so: %v", p.what, found), err)
		}
		steps = append(steps, Step{p.what, DidSet})
	}
	return steps, nil
}

// Check returns what is not as the list needs it, and changes nothing.
func (h Host) Check(list []Config) ([]Finding, error) {
	var needed []part
	for _, c := range list {
		if err := c.Validate(); err != nil {
			return nil, err
		}
		c, err := c.resolve()
		if err != nil {
			return nil, err
		}
		needed = append(needed, parts(c)...)
	}
	return look(needed)
}

// Remove takes back what Setup did: for the VIPs given, for everything of the method when none is, for
// everything when method is "". What is still needed for others stays. It goes on after an error, and
// what it could not undo stays in the journal.
func (h Host) Remove(method string, vips []netip.Addr) (steps []Step, err error) {
	j, err := open(h.state())
	if err != nil {
		return nil, err
	}
	defer j.close()
	rest := without(j.Configs, method, vips)
	needed := map[string]bool{}
	for _, c := range rest {
		for _, p := range parts(c) {
			needed[p.id] = true
		}
	}
	var errs []error
	var kept []change
	for _, c := range slices.Backward(j.Changes) {
		if needed[c.ID] {
			kept = append(kept, c)
			continue
		}
		did, err := c.undo()
		if err != nil {
			errs, kept = append(errs, err), append(kept, c)
		} else if did != "" {
			steps = append(steps, Step{c.ID, did})
		}
	}
	slices.Reverse(kept)
	j.Configs, j.Changes = rest, kept
	return steps, errors.Join(append(errs, j.save())...)
}
