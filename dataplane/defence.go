package dataplane

import (
	"math/rand/v2"
	"sync/atomic"

	"ulvs/conntrack"
	"ulvs/lvs"
)

// defenceAlways is the mode of drop_packet, drop_entry and secure_tcp that acts. Modes 1 and 2 act
// while the kernel is short of memory, and fall back to 1 when it is not (update_defense_level in ip_vs_ctl.c).
// Our table's memory is bounded by max_conns instead, so for us they are off.
const defenceAlways = 3

// PacketDrops is drop_packet's counter. It is shared by all workers, as the kernel's is by all CPUs, so that
// every n-th new session is refused however the sessions spread. The zero value is ready.
type PacketDrops struct {
	left atomic.Int64 // until the next drop; at or below 1 the next packet is dropped
}

// Drop reports whether the packet that would start a session is to be dropped: one of rate (am_droprate),
// the first at once (ip_vs_todrop in include/net/ip_vs.h).
func (d *PacketDrops) Drop(mode, rate int) bool {
	if mode != defenceAlways || rate <= 0 {
		return false
	}
	for {
		was := d.left.Load()
		next := was - 1
		if next <= 0 {
			next = int64(rate)
		}
		if d.left.CompareAndSwap(was, next) {
			return was <= 1
		}
	}
}

// entryDrops is drop_entry: each second the worker looks at its share of a thirty-second of the table, picked
// at random, and drops sessions that look like a flood's (ip_vs_random_dropentry in ip_vs_conn.c).
type entryDrops struct {
	w        *Worker
	random   rand.PCG
	counters [conntrack.CountLimit]int8 // by packets of the session: visits until one is dropped
	debt     int                        // chunks to look at, in parts of chunkCost
	at       conntrack.Tick
}

const (
	dropShare  = 32                                   // of the table per second
	dropBudget = 4                                    // chunks of a batch, a microsecond or so each
	dropMinAge = 60 * conntrack.TicksPerSecond        // since its last packet, for a session that got through
	chunkParts = dropShare * conntrack.TicksPerSecond // of debt that pay for a chunk, times the workers
)

// init starts the drops of a worker; seed is any.
func (d *entryDrops) init(w *Worker, seed uint64) {
	d.w = w
	d.random.Seed(seed, 0)
}

// run pays what is due at the worker's time, in pieces: it is called once per batch.
func (d *entryDrops) run() {
	if d.w.snap.Settings.DropEntry != defenceAlways {
		d.at, d.debt = d.w.now, 0
		return
	}
	conns, cost := d.w.conns, chunkParts*d.w.workers
	if passed := int(d.w.now - d.at); passed > 0 {
		d.at = d.w.now
		most := conns.SampleChunks() * conntrack.TicksPerSecond
		d.debt = min(d.debt+conns.SampleChunks()*min(passed, conntrack.TicksPerSecond), most+cost)
	}
	for n := 0; n < dropBudget && d.debt >= cost; n++ {
		d.debt -= cost
		conns.Sample(d.random.Uint64(), d)
	}
}

// Drops implements conntrack.Dropper. Half-open sessions go at once. Those that got through go if they are
// idle, and the fewer packets they had the sooner. The rest is left to its timeout.
func (d *entryDrops) Drops(_ conntrack.Ref, e *conntrack.Entry) bool {
	m := e.Meta()
	if m.Flags()&conntrack.FlagTemplate != 0 {
		return d.dropsTemplate(e, m)
	}
	switch m.State() {
	case conntrack.TCPSynRecv, conntrack.TCPSynAck, conntrack.SCTPInit1, conntrack.SCTPInit:
		return true
	case conntrack.TCPEstablished, conntrack.SCTPEstablished, conntrack.UDPNormal:
		return uint64(d.w.now) >= uint64(e.Seen())+dropMinAge && d.unlucky(m.InPackets())
	}
	return false
}

// unlucky is todrop_entry's lot: of sessions with n packets each n-th goes, up to 8. Sessions that nobody
// counted, being older than drop_entry, are not a flood's.
func (d *entryDrops) unlucky(n int) bool {
	if n < 1 || n >= len(d.counters) {
		return false
	}
	if d.counters[n]--; d.counters[n] > 0 {
		return false
	}
	d.counters[n] = int8(n)
	return true
}

// dropsTemplate drops a template that got nobody through and has no session. Those of one-packet scheduling
// always look so, and are spared.
func (d *entryDrops) dropsTemplate(e *conntrack.Entry, m conntrack.Meta) bool {
	return m.State() == conntrack.TemplateNone && e.Controlled() == 0 && !d.onePacket(lvs.ServiceID(e.Service()))
}

func (d *entryDrops) onePacket(id lvs.ServiceID) bool {
	services := d.w.snap.Services
	return int(id) < len(services) && services[id].Config != nil && services[id].Config.OnePacket
}

// Gone implements conntrack.Goner: the session gives back what it was counted in, and takes along its template
// if that has nobody else and got nobody through (ip_vs_conn_expire).
func (d *entryDrops) Gone(r conntrack.Ref, e *conntrack.Entry) {
	template := e.Control()
	d.w.Gone(r, e)
	if template == 0 {
		return
	}
	if t := d.w.table.Entry(template); d.dropsTemplate(t, t.Meta()) {
		d.w.expire(template, t)
	}
}

// nextTCP is the session's state after the segment, by the machine that secure_tcp says.
func (w *Worker) nextTCP(dir conntrack.Dir, s conntrack.State, tcpFlags uint8) conntrack.State {
	if w.snap.Settings.SecureTCP == defenceAlways {
		return conntrack.NextTCPSecure(dir, s, tcpFlags)
	}
	return conntrack.NextTCP(dir, s, tcpFlags)
}
