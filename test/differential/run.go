package differential

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"ulvs/conntrack"
	"ulvs/test/conformance"
)

const (
	tick = time.Second / conntrack.TicksPerSecond
	// stepTime passes before every step: two things never happen at once.
	stepTime = 2 * time.Millisecond
	// ratePeriod is the estimators'.
	ratePeriod = 2 * time.Second
	// lookEvery is after how many steps all listings are compared.
	lookEvery = 50
)

// Totals say what a run did.
type Totals struct {
	Steps, Packets, Frames, Commands, Texts int
	Kinds                                   map[string]int // what happened how often, by the model
	Virtual                                 time.Duration
}

// Add adds another run's.
func (t *Totals) Add(o Totals) {
	t.Steps += o.Steps
	t.Packets += o.Packets
	t.Frames += o.Frames
	t.Commands += o.Commands
	t.Texts += o.Texts
	t.Virtual += o.Virtual
	if t.Kinds == nil {
		t.Kinds = map[string]int{}
	}
	for k, n := range o.Kinds {
		t.Kinds[k] += n
	}
}

// world is the director and the model side by side.
type world struct {
	director *conformance.Director
	model    *model
	rng      *rand.Rand // of the step
	rated    time.Duration
	removed  []removal
	totals   Totals
	log      []string // what was done, if it is kept
	keep     bool
	err      error // the first difference
}

func newWorld(workers int, f fault) (*world, error) {
	d, err := conformance.NewDirector(workers)
	if err != nil {
		return nil, err
	}
	w := &world{director: d, rated: d.Clock()}
	w.model = newModel(int64(d.Clock() / tick))
	if w.model.fault = f; f.spoil != nil {
		f.spoil(w.model)
	}
	return w, nil
}

// note records what was done.
func (w *world) note(format string, args ...any) {
	if w.keep {
		w.log = append(w.log, fmt.Sprintf(format, args...))
	}
}

func (w *world) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

// do does a step.
func (w *world) do(s Step) {
	w.rng = rand.New(rand.NewPCG(uint64(s.Seed), uint64(s.Kind)))
	w.pass(stepTime)
	if f := &w.model.fault; f.set != nil {
		f.set(w.model)
	}
	acts[actOf(s.Kind)].do(w)
	w.totals.Steps++
	if w.totals.Steps%lookEvery == 0 {
		w.lookAtAll()
	}
}

func (w *world) lookAtAll() {
	w.show("-Lcn")
	w.show("-Ln", "--stats")
	w.show("-Ln", "--persistent-conn")
}

// pass lets time pass. Both stop at every moment at which the model has something to end, and just before.
func (w *world) pass(d time.Duration) {
	end := w.director.Clock() + d
	for w.director.Clock() < end && w.err == nil {
		next := end
		due := w.model.due()
		for _, at := range []int64{due - 1, due} {
			if t := time.Duration(at) * tick; t > w.director.Clock() && at > w.model.now {
				next = min(next, t)
				break
			}
		}
		w.jump(next)
	}
}

func (w *world) jump(to time.Duration) {
	w.director.Jump(to)
	for w.rated+ratePeriod <= to {
		w.rated += ratePeriod
		w.model.tickRates(int64(w.rated / time.Second))
	}
	if now := int64(to / tick); now != w.model.now {
		w.model.now = now
		w.model.expire(w.listed)
	}
}

// listed counts the director's sessions and templates that are listed so.
func (w *world) listed(row string) (n int) {
	text, _ := w.director.Command([]string{"-Lcn"}, "")
	for _, line := range strings.SplitAfter(text, "\n") {
		if line == row {
			n++
		}
	}
	return n
}

func (w *world) wait(d time.Duration) {
	w.note("sleep %v", d)
	w.totals.Virtual += d
	w.pass(d)
}

func (w *world) inject(port int, p *ip) { w.injectBytes(port, ownMACs[port], p.encode()) }

func (w *world) injectBytes(port int, mac [6]byte, packet []byte) {
	kind := []byte{8, 0}
	if len(packet) > 0 && packet[0]>>4 == 6 {
		kind = []byte{0x86, 0xdd}
	}
	peer := routerMAC
	if p, ok := decode(packet); ok && port == portS0 {
		_, peer = route(p.src)
	}
	in := conformance.Frame{If: portNames[port], Hex: slices.Concat(mac[:], peer[:], kind, packet)}
	if w.err != nil {
		return
	}
	w.note("in %s %s", in.If, conformance.Describe(in.Hex))
	w.totals.Packets++
	want := w.model.receive(port, slices.Clone(in.Hex))
	got, err := w.director.Inject(&in)
	if err != nil {
		w.fail("inject: %w", err)
		return
	}
	w.totals.Frames += len(got)
	if d := conformance.Compare(in.Hex, want, got, isLocal); d != "" {
		w.fail("in %s %s\n  %s", in.If, conformance.Describe(in.Hex), d)
	}
}

// ipvsadm runs a command on both.
func (w *world) ipvsadm(args ...string) {
	if w.err != nil {
		return
	}
	w.note("ipvsadm %s", strings.Join(args, " "))
	w.totals.Commands++
	want := w.model.command(args)
	text, code := w.director.Command(args, "")
	if text != want.text || code != want.code {
		w.fail("ipvsadm %s\n  want %d %q\n  got  %d %q", strings.Join(args, " "), want.code, want.text, code, text)
	}
}

// show compares a listing.
func (w *world) show(args ...string) {
	if w.err != nil {
		return
	}
	w.note("ipvsadm %s", strings.Join(args, " "))
	w.totals.Texts++
	want := w.model.list(args).text
	got, _ := w.director.Command(args, "")
	if args[0] == "-Lcn" {
		got = sortedRows(got)
	}
	if got != want {
		w.fail("ipvsadm %s\n%s", strings.Join(args, " "), differences(want, got))
	}
}

// sortedRows sorts all lines but the two of the title.
func sortedRows(text string) string {
	lines := strings.SplitAfter(text, "\n")
	if len(lines) > 2 {
		slices.Sort(lines[2:])
	}
	return strings.Join(lines, "")
}

// differences are the lines of two texts that are not in both.
func differences(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var out []string
	for _, l := range w {
		if !slices.Contains(g, l) {
			out = append(out, "  want "+l)
		}
	}
	for _, l := range g {
		if !slices.Contains(w, l) {
			out = append(out, "  got  "+l)
		}
	}
	if len(out) == 0 {
		return "  the order of lines, want\n" + want + "got\n" + got
	}
	return strings.Join(out, "\n")
}

// saveAndRestore saves, clears and restores: everything is as before but for thresholds, counters and the order.
func (w *world) saveAndRestore() {
	w.show("-Sn")
	rules := w.model.list([]string{"-Sn"}).text
	w.ipvsadm("-C")
	if w.err != nil {
		return
	}
	w.note("ipvsadm -R <<\n%s", rules)
	w.totals.Commands++
	for _, line := range strings.Split(strings.TrimSpace(rules), "\n") {
		if line != "" {
			w.model.command(strings.Fields(line))
		}
	}
	text, code := w.director.Command([]string{"-R"}, rules)
	if text != "" || code != 0 {
		w.fail("ipvsadm -R: %d %q", code, text)
	}
	w.show("-Sn")
}

func (w *world) set(name string, value int) {
	w.note("sysctl -w net.ipv4.vs.%s=%d", name, value)
	w.totals.Commands++
	w.model.settings[name] = value
	if err := w.director.Set(name, value); err != nil {
		w.fail("set %s = %d: %w", name, value, err)
	}
}

func (w *world) setMTU(port, mtu int) {
	w.note("ip link set %s mtu %d", portNames[port], mtu)
	w.totals.Commands++
	w.model.mtu[port] = mtu
	w.director.SetMTU(portNames[port], uint16(mtu))
}

// Episode is a run from nothing.
type Episode struct {
	Seed    uint64
	Workers int
	Steps   []Step
	fault   fault
}

// NewEpisode makes one of n random steps.
func NewEpisode(seed uint64, workers, n int) Episode {
	r := rand.New(rand.NewPCG(seed, 0))
	e := Episode{Seed: seed, Workers: workers, Steps: make([]Step, n)}
	for i := range e.Steps {
		e.Steps[i] = Step{byte(r.Uint32()), r.Uint32()}
	}
	return e
}

// Difference is where the director and the model do not agree.
type Difference struct {
	Episode
	At   int      // the step
	Log  []string // what was done, up to there
	What error
}

// Error tells everything that is needed to see it again.
func (d *Difference) Error() string {
	return fmt.Sprintf("seed %d, %d workers, step %d, %d steps left of it:\n  %s\n%v",
		d.Seed, d.Workers, d.At, len(d.Steps), strings.Join(d.Log, "\n  "), d.What)
}

// Run plays the steps. A difference comes as an error of type *Difference.
func (e Episode) Run() (t Totals, err error) { return e.run(false) }

func (e Episode) run(keep bool) (t Totals, err error) {
	w, err := newWorld(e.Workers, e.fault)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, w.director.Close()) }()
	w.keep = keep
	for i, s := range e.Steps {
		if w.do(s); w.err != nil {
			e.Steps = e.Steps[:i+1]
			return w.totals, &Difference{e, i, w.log, w.err}
		}
	}
	w.lookAtAll()
	if w.err != nil {
		return w.totals, &Difference{e, len(e.Steps), w.log, w.err}
	}
	w.totals.Kinds = maps.Clone(w.model.seenKinds)
	return w.totals, nil
}

// Shrink leaves out steps as long as there still is a difference, and returns the last one, with its log.
func (d *Difference) Shrink() *Difference {
	e := d.Episode
	for size := len(e.Steps) / 2; size > 0; size /= 2 {
		for at := 0; at+size < len(e.Steps); {
			less := e
			less.Steps = slices.Delete(slices.Clone(e.Steps), at, at+size)
			var found *Difference
			if _, err := less.run(false); errors.As(err, &found) {
				e = found.Episode
				continue
			}
			at += size
		}
	}
	var last *Difference
	if _, err := e.run(true); errors.As(err, &last) {
		return &Difference{last.Episode, d.At, last.Log, last.What}
	}
	return d
}
