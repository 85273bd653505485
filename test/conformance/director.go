package conformance

import (
	"bytes"
	"net/netip"
	"time"

	"ulvs/control/ipvsadm"
	"ulvs/dataplane"
)

// Director is the replay's director for tests that drive it with something else than recordings: the real
// node, workers on queues in memory in the recordings' network (see Recorded), and a clock that moves
// when told. It is for one goroutine.
type Director struct {
	bed  *bed
	desk *desk
}

// NewDirector makes one with as many workers; frames are dealt to them by a hash.
func NewDirector(workers int) (*Director, error) {
	b, err := newBed(workers, false)
	if err != nil {
		return nil, err
	}
	return &Director{b, &desk{bed: b, sysctls: otherSysctls()}}, nil
}

// Close gives the director's memory back.
func (d *Director) Close() error { return d.bed.close() }

// Clock returns the time since the director's table began.
func (d *Director) Clock() time.Duration { return d.bed.clock }

// Jump moves the clock to a later time. What is over by then is swept at once, whatever happened in
// between; rates are estimated every two seconds on the way.
func (d *Director) Jump(to time.Duration) {
	b := d.bed
	for b.rated+ratePeriod <= to {
		b.rated += ratePeriod
		b.node.TickRates()
	}
	crossed := dataplane.TickOf(to) != b.now()
	b.clock = to
	if !crossed {
		return
	}
	for _, w := range b.workers {
		w.Sweep(b.now())
	}
}

// Inject plays one frame to the end and returns what came out.
func (d *Director) Inject(f *Frame) ([]Frame, error) { return d.bed.inject(f) }

// Command runs ipvsadm with arguments and input, and returns what it printed, both streams together, and its
// exit status.
func (d *Director) Command(args []string, stdin string) (text string, code int) {
	var out bytes.Buffer
	code = ipvsadm.Run(args, ipvsadm.IO{
		In: bytes.NewReader([]byte(stdin)), Out: &out, Err: &out, Names: offline{ipvsadm.SystemNames()},
	}, front{d.bed})
	return out.String(), code
}

// Set changes a setting of net.ipv4.vs.
func (d *Director) Set(name string, value int) error {
	err := d.bed.node.SetSetting(name, value)
	return err
}

// SetMTU changes an interface's MTU.
func (d *Director) SetMTU(name string, mtu uint16) {
	n := d.bed.network.clone()
	if i, ok := n.port(name); ok {
		n.ports[i].MTU = mtu
	}
	d.bed.reroute(n)
}

// Compare returns "" if got is want, sent in answer to the frame in, but for what a director chooses
// freely (see the README of the recordings); else one line that says both. local tells the
// director's own addresses.
func Compare(in []byte, want, got []Frame, local func(netip.Addr) bool) string {
	return compareFrames(&masker{in, local}, want, got)
}
