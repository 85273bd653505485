package director

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"ulvs/conntrack"
	"ulvs/control"
	"ulvs/dataplane"
	"ulvs/dataplane/afxdp"
	"ulvs/events"
	"ulvs/ha"
	"ulvs/health"
	"ulvs/keep"
	"ulvs/sandbox"
)

// What the two processes of an upgrade say to each other, in this order.
const (
	sayHello    = "hello"    // old: what runs; the table's memory, programs and maps with it
	sayPrepared = "prepared" // new: everything is ready that changes nothing for the old one
	sayFrozen   = "frozen"   // old: its workers stand still; sockets with it
	sayServing  = "serving"  // new: its workers run, and its programs steer
	sayReleased = "released" // old: addresses, ports and the control socket are free
)

const (
	// HandoverEnv names the descriptor of the channel for the new process.
	HandoverEnv = "ULVS_HANDOVER"
	// prepareLimit is for reading a file of a million real servers.
	prepareLimit = 2 * time.Minute
	// serveLimit bounds how long nobody forwards: then the old process goes on.
	serveLimit = 10 * time.Second
	// answerLimit is for telling who asked for the upgrade.
	answerLimit = time.Second
)

// serving is when workers began, in boot time.
type serving struct {
	Since int64 `json:"since"`
}

// hello is what the new process has to know to prepare.
type hello struct {
	Version  string               `json:"version"`
	Table    string               `json:"table"` // name of the memory with the keeper
	Steering afxdp.HandedSteering `json:"steering"`
	Health   []health.Memory      `json:"health"`
	Limits   sandbox.Limits       `json:"limits,omitzero"` // of the old process when it started the new one
}

// estate is what goes from one process to the other.
type estate struct {
	Sets    []afxdp.Handed    `json:"sets"`    // by worker
	Masters map[string]uint32 `json:"masters"` // units of [[vrrp]] that are MASTER here, and their terms
	VIPs    []handedVIP       `json:"vips"`    // on interfaces, by us
	// Hops are known before the first frame: what waited in the rings is more than workers hold back for new ones.
	Hops []dataplane.HopKey `json:"hops"`
	// Health is what was learnt since hello.
	Health  []health.Memory `json:"health"`
	Servers []handedServer  `json:"servers"`
}

type handedVIP struct {
	Link string     `json:"link"`
	VIP  netip.Addr `json:"vip"`
}

// handing is an upgrade on its way.
type handing struct {
	ch     *keep.Channel
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the new process has ended
	known  time.Time     // the new process was told the health of then
	limits sandbox.Limits
	answer chan error
}

// handable are sockets that another process can go on with.
type handable interface {
	HandOver() (afxdp.Handed, []*os.File, error)
	Same() bool
}

var _ = []handable{(*afxdp.Set)(nil), (*afxdp.Trunk)(nil)}

var errUpgrading = errors.New("an upgrade is under way already")

var _ control.Upgrader = (*director)(nil)

// Upgrade implements control.Upgrader: the program that is on disk now goes on in this one's place. On error this one
// goes on.
func (d *director) Upgrade(force bool) (out control.Upgraded, err error) {
	if !d.upgrading.TryLock() {
		return out, errUpgrading
	}
	defer d.upgrading.Unlock()
	defer func() {
		if err != nil {
			d.journal.Add(events.Event{Kind: events.UpgradeFailed, Reason: err.Error()})
		}
	}()
	if err := d.mayUpgrade(force); err != nil {
		return out, err
	}
	h, err := d.startSuccessor()
	if err != nil {
		return out, err
	}
	d.handovers <- h
	err = <-h.answer
	return control.Upgraded{From: os.Getpid(), To: h.cmd.Process.Pid, GapSeconds: d.frozen.Seconds()}, err
}

// mayUpgrade says what would get lost.
func (d *director) mayUpgrade(force bool) error {
	st := d.Status()
	switch {
	case len(d.opt.Self) == 0:
		return errors.New("the program's own path is not known: restart instead")
	case d.memory.file == nil:
		return errors.New(`sessions would be lost: give [restart] keep = "auto" and restart once`)
	case st.Modified && !force:
		return errors.New("what runs differs from the file, which the new process reads: ulvs save, or ulvs upgrade --force")
	}
	for _, w := range d.workers {
		if _, ok := w.set.(handable); !ok {
			return errors.New(`sockets of io = "asavie", or of interfaces that are gone, cannot be handed over: restart instead`)
		}
	}
	return nil
}

// startSuccessor starts the new process and returns when it is prepared.
func (d *director) startSuccessor() (*handing, error) {
	ch, theirs, err := keep.NewChannel()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	h := &handing{ch: ch, ended: make(chan struct{}), answer: make(chan error, 1)}
	if l := d.limits.Load(); l != nil {
		h.limits = *l
	}
	h.cmd = exec.Command(d.opt.Self[0], d.opt.Self[1:]...)
	h.cmd.Stdout, h.cmd.Stderr, h.cmd.ExtraFiles = os.Stdout, os.Stderr, []*os.File{theirs}
	h.cmd.Env = []string{HandoverEnv + "=3"}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "WATCHDOG_PID=") && !strings.HasPrefix(e, HandoverEnv+"=") {
			h.cmd.Env = append(h.cmd.Env, e)
		}
	}
	if err := h.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the new process: %w", err), ch.Close())
	}
	go func() { _ = h.cmd.Wait(); close(h.ended) }()
	theirs.Close() // so that its end is noticed
	h.known = time.Now()
	if err = d.sayHello(h); err == nil {
		_, err = ch.Hear(sayPrepared, prepareLimit, nil)
	}
	if err != nil {
		h.kill()
		return nil, fmt.Errorf("the new process did not get ready, this one goes on: %w", err)
	}
	return h, nil
}

func (d *director) sayHello(to *handing) error {
	steering, files, err := d.steering.HandOver()
	if err != nil {
		return err
	}
	defer closeFiles(files)
	h := hello{Version: d.opt.Version, Table: d.memory.name, Steering: steering,
		Health: d.checks.engine.Memory(time.Time{}), Limits: to.limits}
	return to.ch.Say(sayHello, h, append([]*os.File{d.memory.file}, files...)...)
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// kill ends the new process, which has not begun to serve or shall not any more.
func (h *handing) kill() {
	_ = h.cmd.Process.Kill()
	<-h.ended
	h.ch.Close()
}

// handOver stands still and gives everything to the new process. It runs on the loop, so that nothing changes
// meanwhile. On error this process goes on.
func (d *director) handOver(h *handing) error {
	begin := conntrack.BootTime()
	d.handing.Store(true)
	defer d.handing.Store(false)
	for _, w := range d.workers {
		w.pause()
	}
	d.memory.stopBeats()
	d.table.Beat(conntrack.BootTime())
	err := d.giveEstate(h)
	if err == nil {
		err = d.awaitServing(h, begin)
	}
	if err != nil {
		h.kill()
		d.goOn()
		return fmt.Errorf("the new process did not serve, this one goes on after %v: %w",
			time.Duration(conntrack.BootTime()-begin), err)
	}
	d.release(h)
	return nil
}

// awaitServing waits until the new process forwards, and notes for how long nobody did.
func (d *director) awaitServing(h *handing, begin int64) error {
	var s serving
	_, err := h.ch.Hear(sayServing, serveLimit, &s)
	if s.Since == 0 { // an earlier version, which does not say
		s.Since = conntrack.BootTime()
	}
	d.frozen = time.Duration(s.Since - begin)
	return err
}

// giveEstate sends what the workers had.
func (d *director) giveEstate(h *handing) error {
	var e estate
	var files []*os.File
	defer func() { closeFiles(files) }()
	for _, w := range d.workers {
		set, ok := w.set.(handable)
		if !ok {
			return errors.New("an interface is gone")
		}
		handed, more, err := set.HandOver()
		if err != nil {
			return err
		}
		e.Sets, files = append(e.Sets, handed), append(files, more...)
	}
	e.Masters, e.Hops = d.takeover.Load().masters(), slices.Collect(maps.Keys(d.hopKeys()))
	e.Health, e.Servers = d.checks.engine.Memory(h.known), d.conditionsNow()
	for _, a := range d.added {
		e.VIPs = append(e.VIPs, handedVIP{a.link.Attrs().Name, a.vip})
	}
	return h.ch.Say(sayFrozen, e, files...)
}

// goOn has the workers run again after an upgrade that came to nothing.
func (d *director) goOn() {
	m := d.memory
	if err := errors.Join(m.keeper.Store(m.name, m.file), m.keeper.Stay(m.conf.AfterCrash)); err != nil {
		d.log.Warn("sessions will not outlive this process", "err", err)
	}
	m.startBeats(d.table)
	same := true
	for _, w := range d.workers {
		set, ok := w.set.(handable)
		same = same && ok && set.Same()
	}
	if !same {
		d.log.Warn("the new process had begun: sockets are made anew")
		d.restartIO()
		return
	}
	for _, w := range d.workers {
		d.startWorker(w)
	}
}

// release gives up what only one process can have, saying nothing to other directors: for them nothing happened.
func (d *director) release(h *handing) {
	d.handed, d.memory.handed = true, true
	d.checks.handed.Store(true)
	d.takeover.Load().silence()
	d.replication.abandon()
	if err := d.kernels.close(); err != nil {
		d.log.Warn("cannot leave the kernels cleanly", "err", err)
	}
	d.sight.close()
	go func() { // the listener at once, and who asked for the upgrade is told
		defer close(d.answered)
		ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
		defer cancel()
		_ = d.server.Shutdown(ctx)
	}()
	d.complainOf(d.opt.Manager.MainPID(h.cmd.Process.Pid))
	if err := h.ch.Say(sayReleased, released{d.counted()}); err != nil {
		d.log.Warn("the new process does not listen any more", "err", err)
	}
}

// closeServer ends the control socket.
func (d *director) closeServer() {
	if d.handed {
		<-d.answered
	}
	_ = d.server.Close()
}

// upgradeBySignal is Upgrade for one who reads the log.
func (d *director) upgradeBySignal() {
	if out, err := d.Upgrade(false); err != nil {
		d.log.Error("not upgraded", "err", err)
	} else {
		d.log.Info("another process goes on", "pid", out.To, "gap", time.Duration(out.GapSeconds*float64(time.Second)))
	}
}

// masters are the units that are MASTER here, and their terms.
func (t *takeover) masters() map[string]uint32 {
	if t == nil {
		return nil
	}
	units := map[string]uint32{}
	t.inspect(func(m *ha.Machine) {
		for i := range t.units {
			if v := m.View(i); v.State == ha.StateMaster {
				units[v.Name] = v.Claim.Term
			}
		}
	})
	return units
}

// silence ends the machine without a word.
func (t *takeover) silence() {
	if t == nil || !t.started.Load() {
		return
	}
	t.silent.Store(true)
	close(t.stop)
	<-t.done
}

// abandon ends replication without a word.
func (r *replication) abandon() {
	if r == nil || r.node == nil {
		return
	}
	close(r.stop)
	if err := r.node.Abandon(); err != nil {
		r.d.log.Warn("cannot leave the other directors cleanly", "err", err)
	}
	<-r.done
	r.node = nil
}
