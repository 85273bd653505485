package director

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"ulvs/config"
	"ulvs/conntrack"
	"ulvs/control"
	"ulvs/dataplane"
	"ulvs/events"
	"ulvs/keep"
)

// keeper holds the memory of the table while no director runs.
type keeper interface {
	Files() (map[string]*os.File, error)
	Store(name string, f *os.File) error
	Forget(name string) error
	Stay(d time.Duration) error
	Leave(d time.Duration) error
	Close() error
}

var _ = []keeper{(*keep.Client)(nil), (*keep.Systemd)(nil)}

const (
	// tableName is what the memory of a table is kept as, with its generation behind a dot: the next table's is there
	// beside it until everything is in it.
	tableName = "ulvs-table"
	// beatEvery is how exactly the time is known at which a director died.
	beatEvery = 20 * time.Millisecond
	// maxClock is more than any table's clock, which counts ticks in 32 bits, shows.
	maxClock = 10 * 366 * 24 * time.Hour
)

// memory is what outlives the process: [restart].
type memory struct {
	log    *slog.Logger
	conf   config.Restart
	keeper keeper   // nil: nobody keeps anything
	file   *os.File // of the running table
	name   string   // what it is kept as
	old    []string // names of what earlier directors left
	image  *conntrack.Image
	shift  conntrack.Tick // from the image's clock to ours
	handed bool           // another process has gone on with it
	moved  bool           // the keeper has file, and nothing older
	stop   chan struct{}  // ends the beats
	done   chan struct{}
	told   control.Restart
}

// openTable makes the connection table, in memory that outlives this process if somebody keeps it.
func (d *director) openTable(workers int) error {
	node := &d.opt.Config.Node
	o := conntrack.Options{
		Bits: uint8(node.ConnTabBits), MaxConns: node.MaxConns, Workers: workers + 2, HugePages: true, // and two replicas'
	}
	m := &memory{log: d.log, conf: d.opt.Config.Restart, told: control.Restart{Keeper: string(config.KeepOff)}}
	d.memory = m
	m.openKeeper(&d.opt)
	m.findImage(d.successor, d.journal)
	d.setClock()
	if m.keeper != nil {
		o.Keep = m.newFile(d.clock())
	}
	var err error
	if d.table, err = conntrack.New(o); err != nil && o.Keep.File != nil {
		d.log.Warn("sessions will not outlive this process", "err", err)
		m.dropFile()
		o.Keep = conntrack.Keep{}
		d.table, err = conntrack.New(o)
	}
	if err != nil {
		return fmt.Errorf("make the connection table: %w", err)
	}
	return nil
}

// setClock begins the data plane's time: where the table's last clock would be now, or anew. It begins at one second:
// what was never set, a tick of 0, must not look like now (the answers of the first eighth of a second were over
// their limit).
func (d *director) setClock() {
	d.ahead = time.Second
	if d.replication != nil {
		d.ahead = syncClock
	}
	m := d.memory
	if m.image == nil {
		return
	}
	was := time.Duration(conntrack.BootTime()-m.image.Base()) - time.Since(d.started)
	const tick = time.Second / conntrack.TicksPerSecond
	if late := d.ahead - was; late > 0 {
		m.shift = conntrack.Tick((late + tick - 1) / tick)
	}
	d.ahead = was + time.Duration(m.shift)*tick
}

// openKeeper finds who keeps the memory. It is no reason not to forward that nobody does.
func (m *memory) openKeeper(opt *Options) {
	var err error
	if m.keeper, err = findKeeper(opt, m.conf.Keep); err != nil {
		m.log.Warn("sessions will not outlive this process", "err", err)
		m.told.Reason = err.Error()
		return
	}
	if m.keeper == nil {
		return
	}
	m.told.Keeper = string(config.KeepKeeper)
	if _, ok := m.keeper.(*keep.Systemd); ok {
		m.told.Keeper = string(config.KeepSystemd)
	}
	if err := m.keeper.Stay(m.conf.AfterCrash); err != nil {
		m.log.Warn("cannot tell the keeper how long to stay", "err", err)
	}
}

func findKeeper(opt *Options, who config.Keep) (keeper, error) {
	managed := opt.Manager.StoreRoom() > 0
	switch {
	case who == config.KeepOff || who == "":
		return nil, nil
	case who == config.KeepSystemd && !managed:
		return nil, errors.New(`[restart] keep = "systemd", but the unit has no FileDescriptorStoreMax=, or systemd is ` +
			"older than 254")
	case managed && who != config.KeepKeeper:
		return keep.NewSystemd(opt.Manager, opt.Inherited), nil
	case len(opt.Keeper) == 0:
		return nil, errors.New("nobody can start a keeper")
	}
	path := strings.TrimSuffix(opt.Config.Node.ControlSocket, ".sock") + ".keep"
	c, err := keep.Start(path, opt.Keeper...)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// findImage opens the newest table that an earlier director left. What cannot be read is dropped, and told.
func (m *memory) findImage(s *successor, journal *events.Journal) {
	if m.keeper == nil {
		return
	}
	files, err := m.keeper.Files()
	if err != nil {
		m.log.Warn("cannot ask the keeper what there is", "err", err)
	}
	if s != nil { // what the keeper has is the same, if it has it
		m.findIn(map[string]*os.File{s.hello.Table: s.table}, journal)
		return
	}
	m.findIn(files, journal)
	for _, f := range files {
		f.Close() // the image has its own mapping
	}
}

func (m *memory) findIn(files map[string]*os.File, journal *events.Journal) {
	for name, f := range files {
		if name != tableName && !strings.HasPrefix(name, tableName+".") {
			continue
		}
		m.old = append(m.old, name)
		im, err := conntrack.OpenImage(f)
		if err == nil && !saneClock(im) {
			err = errors.Join(fmt.Errorf("%w: its clock is of another boot", conntrack.ErrImage), im.Close())
		}
		if err != nil {
			m.told.ShardsDropped++
			journal.Add(events.Event{Kind: events.MemoryDropped, Reason: err.Error()})
			continue
		}
		m.choose(im)
	}
}

func saneClock(im *conntrack.Image) bool {
	clock := conntrack.BootTime() - im.Base()
	return clock >= 0 && clock < int64(maxClock)
}

// choose keeps the newer of two images: a director died between having moved into one and forgetting the other.
func (m *memory) choose(im *conntrack.Image) {
	loser := im
	if m.image == nil || im.Generation() > m.image.Generation() {
		loser, m.image = m.image, im
	}
	if loser != nil {
		m.close(loser)
	}
}

func (m *memory) close(im *conntrack.Image) {
	if err := im.Close(); err != nil {
		m.log.Warn("cannot let the last table's memory go", "err", err)
	}
}

// reopen looks at the memory of the process before anew, which stands still now: more may be in it.
func (m *memory) reopen(f *os.File) error {
	if m.image == nil {
		return errors.New("the sessions of the process before cannot be read")
	}
	im, err := conntrack.OpenImage(f)
	if err != nil {
		return err
	}
	m.close(m.image)
	m.image = im
	return f.Close()
}

// newFile makes the memory of this director's table, whose clock is at now.
func (m *memory) newFile(now time.Duration) conntrack.Keep {
	f, err := conntrack.NewFile()
	if err != nil {
		m.log.Warn("sessions will not outlive this process", "err", err)
		return conntrack.Keep{}
	}
	k := conntrack.Keep{File: f, Base: conntrack.BootTime() - int64(now), Generation: 1}
	if m.image != nil {
		k.Generation = m.image.Generation() + 1
	}
	m.file, m.name = f, tableName+"."+strconv.FormatUint(k.Generation, 10)
	for slices.Contains(m.old, m.name) {
		m.name += "0"
	}
	m.told.Generation = k.Generation
	return k
}

func (m *memory) dropFile() {
	if m.file != nil {
		m.file.Close()
	}
	m.file = nil
}

// recoverSessions brings back what the last director left, and has the keeper keep this director's table. No worker
// runs yet, and services are loaded. systemd heeds only the process that the service is: in an upgrade this one is it
// when the other has let go.
func (d *director) recoverSessions() {
	m := d.memory
	if m.image != nil {
		begin := time.Now()
		now := dataplane.TickOf(d.clock())
		got := dataplane.Recover(d.table, m.image, d.Snapshots().Load(), now, m.shift)
		m.told.Recovery = recoveryOf(&got)
		m.told.Seconds = time.Since(begin).Seconds()
		if beat := m.image.Beat(); beat != 0 {
			m.told.LastBeat = beat
		}
		m.close(m.image)
		m.image = nil
	}
	if m.file == nil {
		return
	}
	if _, managed := m.keeper.(*keep.Systemd); !managed || d.successor == nil {
		m.keepFile()
	}
	m.startBeats(d.table)
}

// keepFile has the keeper keep this director's table, and nothing older.
func (m *memory) keepFile() {
	if m.file == nil || m.moved {
		return
	}
	if err := m.keeper.Store(m.name, m.file); err != nil {
		m.log.Warn("sessions will not outlive this process", "err", err)
		m.told.Reason = err.Error()
		return
	}
	for _, name := range m.old {
		if err := m.keeper.Forget(name); err != nil {
			m.log.Warn("the keeper does not let the last table go", "err", err)
		}
	}
	m.moved = true
}

func recoveryOf(r *conntrack.Recovered) control.Recovery {
	return control.Recovery{
		Sessions: r.Conns, Templates: r.Templates, Torn: r.Torn, NoService: r.NoService, NoRealServer: r.NoDest,
		Expired: r.Expired, Twice: r.Twice, Full: r.Full, Loose: r.Loose, Dropped: r.Dropped(),
	}
}

// served is told when the workers run: the gap is over.
func (d *director) served() {
	m := d.memory
	if m == nil || m.told.LastBeat == 0 {
		return
	}
	m.told.GapSeconds = time.Duration(d.forwarding - m.told.LastBeat).Seconds()
	r := &m.told.Recovery
	d.journal.Add(events.Event{Kind: events.SessionsRecovered, Count: int64(r.Sessions + r.Templates),
		Reason: fmt.Sprintf("%d dropped, %d expired; %.0f ms without a director, %.0f ms of them to recover",
			r.Dropped, r.Expired, m.told.GapSeconds*1000, m.told.Seconds*1000)})
}

// startBeats keeps noting in the memory that somebody serves it.
func (m *memory) startBeats(t *conntrack.Table) {
	m.stop, m.done = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(m.done)
		tick := time.NewTicker(beatEvery)
		defer tick.Stop()
		for {
			t.Beat(conntrack.BootTime())
			select {
			case <-m.stop:
				return
			case <-tick.C:
			}
		}
	}()
}

// stopBeats is called before the table is closed.
func (m *memory) stopBeats() {
	if m != nil && m.stop != nil {
		close(m.stop)
		<-m.done
		m.stop = nil
	}
}

// leave has the memory kept for as long as an orderly stop wants it, or let go. A director that never got so far as to
// serve leaves what it found as after a crash: the next one may do better.
func (m *memory) leave() error {
	if m == nil || m.keeper == nil {
		return nil
	}
	if m.image != nil {
		m.close(m.image)
	}
	m.dropFile()
	if !m.moved || m.handed {
		return m.keeper.Close()
	}
	var err error
	if m.conf.AfterStop == 0 {
		err = m.keeper.Forget(m.name)
	}
	return errors.Join(err, m.keeper.Leave(m.conf.AfterStop))
}
