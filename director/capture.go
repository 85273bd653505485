package director

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"ulvs/capture"
	"ulvs/control"
	"ulvs/dataplane"
	"ulvs/lvs"
)

// capturePoll is how often the workers' rings are emptied.
const capturePoll = 10 * time.Millisecond

// maxCaptureReals bounds the real servers whose replies the capture of a service looks for: each is a test more for
// every frame.
const maxCaptureReals = 256

// captures is what captures of one director share.
type captures struct {
	tap     atomic.Pointer[dataplane.Tap] // the one that runs
	running atomic.Pointer[capturing]
}

// capturing is a capture that runs.
type capturing struct {
	*dataplane.Tap
	site  captureSite
	file  *capture.Writer
	stop  chan struct{}
	ended atomic.Bool
	left  int // frames until the end; negative: no limit
	err   error
}

var errCaptureRuns = errors.New("another capture runs; one is possible at a time")

// captureSite is what a capture needs of its director.
type captureSite struct {
	version string
	epoch   time.Time // when the data plane's clock was 0
	workers int
	ports   []string
	snaplen int // of the largest frame
}

// Capture implements control.Capturer.
func (d *director) Capture(
	ctx context.Context, q control.CaptureQuery, w io.Writer,
) (n control.CaptureCounts, err error) {
	if q.Filter, err = captureFilter(q, d.Services()); err != nil {
		return n, err
	}
	d.log.Info("capture begins", "filter", q.Filter, "drops", q.Drops)
	n, err = d.captures.run(ctx, d.captureSite(), q, w)
	d.log.Info("capture ends", "frames", n.Taken, "lost", n.Lost, "err", err)
	return n, err
}

// StopCapture implements control.Capturer.
func (d *director) StopCapture() bool { return d.captures.end() }

func (d *director) captureSite() captureSite {
	d.ioMu.RLock()
	defer d.ioMu.RUnlock()
	// Round takes the monotonic reading away: what is added to it are the data plane's seconds.
	s := captureSite{version: d.opt.Version, epoch: d.started.Add(-time.Second).Round(0), workers: len(d.workers)}
	for i := range d.network.ports {
		s.ports = append(s.ports, d.network.ports[i].name)
		s.snaplen = max(s.snaplen, d.network.ports[i].link.MTU+captureHeader)
	}
	return s
}

// captureHeader is Ethernet's header with two tags.
const captureHeader = 22

// run captures until the end. Only one runs at a time.
func (a *captures) run(
	ctx context.Context, s captureSite, q control.CaptureQuery, w io.Writer,
) (n control.CaptureCounts, err error) {
	filter, err := capture.Compile(q.Filter)
	if err != nil {
		return n, err
	}
	snaplen := min(q.Snaplen, s.snaplen)
	if snaplen == 0 {
		snaplen = s.snaplen
	}
	c := &capturing{
		Tap: dataplane.NewTap(filter, s.workers, snaplen, q.Drops), site: s, stop: make(chan struct{}), left: q.Count,
	}
	if q.Count == 0 {
		c.left = -1
	}
	if !a.running.CompareAndSwap(nil, c) {
		return n, errCaptureRuns
	}
	defer a.running.Store(nil)
	c.file, err = capture.NewWriter(w, capture.Section{
		Application: "ulvs " + s.version, Filter: q.Filter, Snaplen: snaplen, Interfaces: s.ports,
	})
	if err != nil {
		return n, err
	}
	a.tap.Store(c.Tap)
	err = c.loop(ctx, q.Seconds)
	a.tap.Store(nil)
	n, err2 := c.count()
	return n, errors.Join(err, err2)
}

// end has the capture that runs complete its file. False: none runs.
func (a *captures) end() bool {
	c := a.running.Load()
	if c == nil {
		return false
	}
	if c.ended.CompareAndSwap(false, true) {
		close(c.stop)
	}
	return true
}

// loop empties the rings until the end.
func (c *capturing) loop(ctx context.Context, seconds int) error {
	tick := time.NewTicker(capturePoll)
	defer tick.Stop()
	var over <-chan time.Time
	if seconds > 0 {
		over = time.After(time.Duration(seconds) * time.Second)
	}
	for {
		ended := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			ended = true
		case <-c.stop:
			ended = true
		case <-tick.C:
		}
		if c.drain(); c.err != nil || c.left == 0 || ended {
			return c.err
		}
	}
}

// drain writes what the rings hold, by time.
func (c *capturing) drain() {
	for more := true; more && c.err == nil && c.left != 0; {
		more = false
		var batch []capture.Packet
		for worker := range c.Workers() {
			n := c.Read(worker, dataplane.BatchSize, func(f *dataplane.TapFrame, b []byte) bool {
				batch = append(batch, c.packet(f, b))
				return true
			})
			more = more || n > 0
		}
		slices.SortStableFunc(batch, func(a, b capture.Packet) int { return a.Time.Compare(b.Time) })
		for i := range batch {
			if c.left == 0 {
				return
			}
			c.left--
			if c.err = c.file.Write(&batch[i]); c.err != nil {
				return
			}
		}
	}
}

func (c *capturing) packet(f *dataplane.TapFrame, b []byte) capture.Packet {
	return capture.Packet{
		Interface: int(f.Port), Time: c.site.epoch.Add(f.Time), Data: slices.Clone(b), Len: int(f.Wire), Sent: f.Sent,
		Comment: captureComment(f),
	}
}

// captureComment says what became of a frame.
func captureComment(f *dataplane.TapFrame) string {
	var what string
	switch {
	case f.Piece:
		what = "sent: a fragment"
	case f.Sent:
		what = "sent: " + f.Verdict.String()
	case f.Held():
		what = "received: held until its next hop resolves"
	case f.Verdict.IsDrop():
		what = "dropped: " + f.Verdict.String()
	default:
		what = "received: " + f.Verdict.String()
	}
	if f.Again {
		what += ", was held"
	}
	return fmt.Sprintf("%s, worker %d", what, f.Worker)
}

// count completes the file with what each interface had, and sums up.
func (c *capturing) count() (n control.CaptureCounts, err error) {
	for i := range c.site.ports {
		taken, lost := c.Counts(uint8(i))
		n.Taken += taken
		n.Lost += lost
		if err == nil {
			err = c.file.Count(i, time.Now(), taken, lost)
		}
	}
	return n, err
}

// captureFilter is the filter's text, with that of a service.
func captureFilter(q control.CaptureQuery, services []control.Service) (string, error) {
	if q.Service == "" {
		return q.Filter, nil
	}
	for _, s := range services {
		if s.Name() != q.Service {
			continue
		}
		text, err := serviceFilter(&s)
		if err != nil || q.Filter == "" {
			return text, err
		}
		if _, err := capture.Compile(q.Filter); err != nil {
			return "", err // places count from its own start
		}
		return "(" + text + ") and (" + q.Filter + ")", nil
	}
	return "", fmt.Errorf("no service %q; name one as events do: \"tcp 192.0.2.10:80\"", q.Service)
}

// serviceFilter takes what clients send to a service, and what its NAT real servers answer.
func serviceFilter(s *control.Service) (string, error) {
	if s.Mark != 0 {
		return "", errors.New("a service of a mark has no address that a filter could look for; give a filter")
	}
	terms := []string{endpointFilter(s.Protocol, s.VIP.Addr().String(), s.VIP.Port())}
	for _, r := range s.RealServers {
		if r.Method != lvs.MethodNAT.String() {
			continue
		}
		if len(terms) > maxCaptureReals {
			return "", fmt.Errorf("the service has more than %d real servers of NAT; give a filter", maxCaptureReals)
		}
		terms = append(terms, endpointFilter(s.Protocol, r.Address.Addr().String(), r.Address.Port()))
	}
	return strings.Join(terms, " or "), nil
}

func endpointFilter(proto, host string, port uint16) string {
	if port == 0 {
		return fmt.Sprintf("(%s and host %s)", proto, host)
	}
	return fmt.Sprintf("(host %s and %s port %d)", host, proto, port)
}
