package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNotUp is returned by Open when no complete lab of the prefix stands.
var ErrNotUp = errors.New("the lab is not up")

// errNotRoot says what to do about it.
var errNotRoot = errors.New("the lab makes network namespaces and needs root: run it with sudo")

// Lab is a site of namespaces that stands. Its methods name a namespace by its short
// name: c1 (client), sw0 and sw1 (bridges), rt (gateway), d1 .., r1 ... They may be called
// from several goroutines.
type Lab struct {
	opts  Options
	addrs Addresses
}

// Up returns the lab that o describes: the one that stands if it is the same, else a
// new one in place of what a crashed or other run of the same prefix left. It
// refuses, with ErrForeign and nothing changed, when a name it needs is taken by a
// namespace that it did not make. On any error it takes down what it made.
func Up(ctx context.Context, o Options) (*Lab, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	if os.Geteuid() != 0 {
		return nil, errNotRoot
	}
	held, err := lock(ctx, o.Prefix)
	if err != nil {
		return nil, err
	}
	defer func() { _ = held.Close() }()
	l := &Lab{o, plan(o)}
	if l.stands() {
		return l, nil
	}
	if err := l.rebuild(ctx); err != nil {
		return nil, fmt.Errorf("lab %s: %w", o.Prefix, err)
	}
	return l, nil
}

// Open returns the lab of the prefix that stands, or ErrNotUp.
func Open(prefix string) (*Lab, error) {
	o := Options{Prefix: prefix}.withDefaults()
	s, err := readState(o.Prefix)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l := &Lab{s.Options, plan(s.Options)}
	if !s.Complete || !l.stands() {
		return nil, fmt.Errorf("lab %s: %w: bring it up with: ulvs lab up --prefix %s", o.Prefix, ErrNotUp, o.Prefix)
	}
	return l, nil
}

// Down takes the lab of the prefix down: ends the processes in its namespaces, and
// removes every namespace with the prefix's mark, none other. It returns how
// many there were; none is no error.
func Down(ctx context.Context, prefix string) (removed int, err error) {
	o := Options{Prefix: prefix}.withDefaults()
	if err := o.validate(); err != nil {
		return 0, fmt.Errorf("lab: %w", err)
	}
	if os.Geteuid() != 0 {
		return 0, errNotRoot
	}
	held, err := lock(ctx, o.Prefix)
	if err != nil {
		return 0, err
	}
	defer func() { _ = held.Close() }()
	removed, err = teardown(o.Prefix)
	return removed, errors.Join(err, os.Remove(held.Name()))
}

// Down takes this lab down; see the function Down.
func (l *Lab) Down(ctx context.Context) error {
	_, err := Down(ctx, l.opts.Prefix)
	return err
}

// Options returns what the lab was built from, defaults filled in.
func (l *Lab) Options() Options { return l.opts }

// Addresses returns the address plan.
func (l *Lab) Addresses() Addresses { return l.addrs }

// Netns returns the name by which "ip netns" knows a namespace: "ulvs-d1" for "d1".
func (l *Lab) Netns(short string) string { return l.opts.Prefix + "-" + short }

// Do runs fn on this goroutine with its thread in the namespace, and returns fn's
// error. Sockets and processes that fn makes stay there; goroutines that it starts
// run outside. fn may end a test. A thread that cannot come back ends with its
// goroutine and runs nothing else.
func (l *Lab) Do(ns string, fn func() error) error { return l.namespace(ns).do(fn) }

// Command returns a command that will run in the namespace, its /sys included when
// iproute2 is installed. The process is the command itself, so signals reach it.
func (l *Lab) Command(ns, name string, args ...string) *exec.Cmd {
	if ip, err := exec.LookPath("ip"); err == nil {
		return exec.Command(ip, append([]string{"netns", "exec", l.Netns(ns), name}, args...)...)
	}
	return exec.Command("nsenter", append([]string{"--net=" + l.namespace(ns).path(), "--", name}, args...)...)
}

func (l *Lab) namespace(short string) namespace {
	return namespace{l.Netns(short), markOf(l.opts.Prefix)}
}

// hosts lists the short names of all namespaces, in the order they are shown.
func (l *Lab) hosts() []string {
	names := []string{"c1", "sw0"}
	for _, d := range l.addrs.Directors {
		names = append(names, d.Name)
	}
	names = append(names, "rt", "sw1")
	for _, r := range l.addrs.Reals {
		names = append(names, r.Name)
	}
	return names
}

// stands tells whether the lab is there, complete and as described.
func (l *Lab) stands() bool {
	s, err := readState(l.opts.Prefix)
	if err != nil || !s.Complete || s.Options != l.opts {
		return false
	}
	for _, name := range l.hosts() {
		ns := l.namespace(name)
		if !ns.mounted() {
			return false
		}
		if who, err := ns.owned(); err != nil || who != ours {
			return false
		}
	}
	return true
}

// rebuild replaces whatever the prefix has by a new lab.
func (l *Lab) rebuild(ctx context.Context) error {
	if err := l.refuseForeign(); err != nil {
		return err
	}
	if _, err := teardown(l.opts.Prefix); err != nil {
		return fmt.Errorf("clear what an earlier run left: %w", err)
	}
	err := l.build(ctx)
	if err == nil {
		err = writeState(state{Options: l.opts, Complete: true})
	}
	if err != nil {
		_, undo := teardown(l.opts.Prefix)
		return errors.Join(err, undo)
	}
	return nil
}

func (l *Lab) build(ctx context.Context) error {
	for _, name := range l.hosts() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.namespace(name).create(); err != nil {
			return err
		}
		if err := l.Do(name, func() error { return setSysctls(baseSysctls) }); err != nil {
			return fmt.Errorf("set up %s: %w", l.Netns(name), err)
		}
	}
	if err := l.wire(ctx); err != nil {
		return err
	}
	return l.configure(ctx)
}

// refuseForeign names every namespace that is in the way.
func (l *Lab) refuseForeign() error {
	var taken []string
	for _, name := range l.hosts() {
		who, err := l.namespace(name).owned()
		if err != nil {
			return err
		}
		if who == foreign {
			taken = append(taken, l.Netns(name))
		}
	}
	if len(taken) > 0 {
		return fmt.Errorf("%s: %w: choose another --prefix, or remove it yourself with: ip netns del %s",
			strings.Join(taken, ", "), ErrForeign, strings.Join(taken, " "))
	}
	return nil
}

// teardown removes what carries the prefix's mark.
func teardown(prefix string) (removed int, err error) {
	list, err := marked(prefix)
	if err != nil {
		return 0, err
	}
	if err := endProcesses(list); err != nil {
		return 0, err
	}
	for _, ns := range list {
		if err := ns.remove(); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, removeState(prefix)
}

// marked lists the namespaces with the prefix's mark.
func marked(prefix string) ([]namespace, error) {
	entries, err := os.ReadDir(namespaceDir)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var list []namespace
	for _, e := range entries {
		ns := namespace{e.Name(), markOf(prefix)}
		if !strings.HasPrefix(e.Name(), prefix+"-") {
			continue
		}
		if who, err := ns.owned(); err == nil && who == ours {
			list = append(list, ns)
		}
	}
	return list, nil
}
