package conntrack

import "time"

// Tick is coarse time: TicksPerSecond to a second, counted from the table's start.
// It does not wrap for 17 years.
type Tick uint32

// TicksPerSecond is fine enough for timeouts in seconds and coarse enough that a busy
// conn's entry is written eight times a second and not per packet.
const TicksPerSecond = 8

// NewTimeout is how long a conn lives before its first transition (IPVS: 3 s).
const NewTimeout = 3 * TicksPerSecond

// RearmTimeout is what a template gets that ran out while conns still hang on it
// (ip_vs_conn_expire: 60 s).
const RearmTimeout = 60 * TicksPerSecond

// maxTimeout bounds a configured timeout, so that sums of ticks stay far from wrapping.
const maxTimeout = 365 * 24 * time.Hour

// Ticks converts a duration, rounded up, at least 0 and at most a year.
func Ticks(d time.Duration) Tick {
	const unit = time.Second / TicksPerSecond
	return Tick((min(max(d, 0), maxTimeout) + unit - 1) / unit)
}

// Duration converts ticks.
func (t Tick) Duration() time.Duration {
	return time.Duration(t) * (time.Second / TicksPerSecond)
}

// Timeouts holds how long a conn rests in each state before it expires.
type Timeouts struct {
	ticks [32]Tick // by State; the unused tail spares Of a bounds check
}

// DefaultTimeouts returns IPVS's defaults. Templates have timeouts of their
// own, from their service; here they get RearmTimeout.
func DefaultTimeouts() Timeouts {
	var t Timeouts
	for s, seconds := range [NumStates]Tick{
		TCPNone: 2, TCPEstablished: 900, TCPSynSent: 120, TCPSynRecv: 60, TCPFinWait: 120,
		TCPTimeWait: 120, TCPClose: 10, TCPCloseWait: 60, TCPLastAck: 30, TCPListen: 120,
		TCPSynAck: 120, UDPNormal: 300, TemplateNone: 60, TemplateAssured: 60,
		SCTPNone: 2, SCTPInit1: 4, SCTPInit: 61, SCTPCookieSent: 61, SCTPCookieReplied: 61,
		SCTPCookieWait: 61, SCTPCookie: 61, SCTPCookieEchoed: 61, SCTPEstablished: 900,
		SCTPShutdownSent: 61, SCTPShutdownReceived: 61, SCTPShutdownAckSent: 61,
		SCTPRejected: 4, SCTPClosed: 61,
	} {
		t.ticks[s] = seconds * TicksPerSecond
	}
	return t
}

// With returns t changed as ipvsadm --set does: ESTABLISHED, FIN_WAIT and UDP,
// where 0 keeps what is there.
func (t Timeouts) With(tcp, tcpfin, udp time.Duration) Timeouts {
	set := func(s State, d time.Duration) {
		if d > 0 {
			t.ticks[s] = Ticks(d)
		}
	}
	set(TCPEstablished, tcp)
	set(TCPFinWait, tcpfin)
	set(UDPNormal, udp)
	return t
}

// Of returns the timeout of a conn in s.
func (t *Timeouts) Of(s State) Tick { return t.ticks[s&31] }
