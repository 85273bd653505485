package kernelsync

import (
	"bytes"
	"io"
	"sync"
	"time"

	"ulvs/conntrack"
	"ulvs/ha/ipvssync"
)

const (
	// flushEvery bounds how long a connection waits for its message to be full; a kernel waits two seconds.
	flushEvery = 100 * time.Millisecond
	// scanEvery and scanRecords bound how fast all sessions are told when a master starts: 100 000 a second, in
	// bursts that a kernel's socket buffer holds.
	scanEvery   = 10 * time.Millisecond
	scanRecords = 1000
	// repeatAfter is the pause before a message is sent again.
	repeatAfter = time.Second
	// repeatsMax bounds the messages that wait to be sent again.
	repeatsMax = 4096
	// MaxRetries is a kernel's sync_retries'.
	MaxRetries = 3
)

// MasterOptions are what a Master is made of.
type MasterOptions struct {
	SyncID, Version uint8
	MaxLen          int // of a message, in bytes
	// Retries is how often each message is sent again, a second apart: nobody acknowledges one.
	Retries int
	// TemplatesOnly leaves out the sessions of persistent services, of which the backup needs the templates only
	// (sync_persist_mode).
	TemplatesOnly bool
	Table         Table
	Mu            *sync.Mutex // guards Table
}

// Master tells a kernel's backup of this director's sessions: all there are when it starts, and from then on what
// workers write down and Take is given. A kernel's own master tells only what is touched again.
type Master struct {
	opt   MasterOptions
	out   io.WriteCloser
	stop  chan struct{}
	done  chan struct{}
	stats Stats

	mu    sync.Mutex // guards what follows: Take may be called by another goroutine than run
	build *ipvssync.Builder
	again []repeat
	scan  uint64
	seen  bool // the scan is over
}

// repeat is a message that is to be sent again.
type repeat struct {
	at      time.Time
	left    int
	message []byte
}

// StartMaster begins to tell on out, which it closes in the end.
func StartMaster(o MasterOptions, out io.WriteCloser) *Master {
	m := &Master{
		opt: o, out: out, stop: make(chan struct{}), done: make(chan struct{}),
		build: ipvssync.NewBuilder(o.Version, o.SyncID, o.MaxLen),
	}
	go m.run()
	return m
}

// Stats returns the counters.
func (m *Master) Stats() *Stats { return &m.stats }

// Close sends what waits and ends.
func (m *Master) Close() error {
	close(m.stop)
	<-m.done
	return m.out.Close()
}

func (m *Master) run() {
	defer close(m.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-m.stop:
			m.flush()
			return
		case <-timer.C:
		}
		timer.Reset(m.tick(time.Now()))
	}
}

// tick does what is due and returns when to come again.
func (m *Master) tick(now time.Time) time.Duration {
	scanned := m.scanSome()
	m.flush()
	m.resend(now)
	if scanned {
		return flushEvery
	}
	return scanEvery
}

// Take tells of records, which it does not keep.
func (m *Master) Take(records []conntrack.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opt.Mu.Lock()
	defer m.opt.Mu.Unlock()
	m.opt.Table.Begin()
	defer m.opt.Table.End()
	for i := range records {
		m.tell(&records[i])
	}
}

// scanSome tells some of the sessions that there were before it started, and reports whether that were all.
func (m *Master) scanSome() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen {
		return true
	}
	m.opt.Mu.Lock()
	defer m.opt.Mu.Unlock()
	m.opt.Table.Begin()
	defer m.opt.Table.End()
	m.scan = m.opt.Table.Own(m.scan, scanRecords, m.tell)
	m.seen = m.scan == 0
	return m.seen
}

// tell adds a session to the message. The mutexes are held.
func (m *Master) tell(rec *conntrack.Record) {
	svc := m.opt.Table.Service(rec.Service)
	c, ok := tells(rec, svc)
	if !ok || m.opt.TemplatesOnly && !rec.Template() && svc != nil && svc.Persistence != 0 {
		return
	}
	if m.opt.Version == 0 && c.V6() {
		m.stats.reject(RejectFamily)
		return
	}
	if !m.build.Add(&c) {
		m.send()
		if !m.build.Add(&c) {
			m.stats.reject(RejectTooLong)
			return
		}
	}
	m.stats.Conns.Add(1)
}

func (m *Master) flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.send()
}

// send sends the message that is being built, if there is anything in it.
func (m *Master) send() {
	if m.build.Len() == 0 {
		return
	}
	b := m.build.Bytes()
	m.write(b)
	switch {
	case m.opt.Retries == 0:
	case len(m.again) < repeatsMax:
		m.again = append(m.again, repeat{time.Now().Add(repeatAfter), m.opt.Retries, bytes.Clone(b)})
	default:
		m.stats.Unrepeated.Add(1)
	}
	m.build.Reset()
}

// write sends a message; it is lost if that fails, as any on the network may be.
func (m *Master) write(b []byte) {
	if _, err := m.out.Write(b); err != nil {
		m.stats.Failed.Add(1)
		return
	}
	m.stats.Messages.Add(1)
	m.stats.Bytes.Add(uint64(len(b)))
}

// resend sends again what is due; the list is in the order of its times.
func (m *Master) resend(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.again) > 0 && !m.again[0].at.After(now) {
		r := m.again[0]
		m.again = m.again[1:]
		m.write(r.message)
		if r.left--; r.left > 0 {
			r.at = now.Add(repeatAfter)
			m.again = append(m.again, r)
		}
	}
}
