package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// conn is one connection of a client.
type conn struct {
	fd     int // -1: none
	begun  time.Time
	got    int // bytes of the answer
	want   int // HTTP: bytes of the whole answer, once its header is here
	header []byte
	sent   bool // the request at hand
	open   bool // was answered, or in idle mode established
}

// client is one Run under way.
type client struct {
	Options
	poll    *poller
	conns   []conn
	buf     [64 << 10]byte
	out     []byte
	turn    int
	report  Report
	took    []time.Duration
	end     time.Time
	now     time.Time
	opened  int
	onReady func(n int)
}

// Run drives the targets and returns what came of it. A failed operation is counted; the error is for options
// that make no sense, and for a machine that gives no sockets.
func Run(ctx context.Context, o Options) (*Report, error) { return run(ctx, o, nil) }

// Hold opens Parallel connections, calls ready with how many there are, and holds them until ctx is done.
func Hold(ctx context.Context, o Options, ready func(n int)) (*Report, error) {
	o.Mode = Idle
	o.Duration = 24 * time.Hour
	return run(ctx, o, ready)
}

func run(ctx context.Context, o Options, ready func(int)) (*Report, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	defer poll.close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c := &client{Options: o, poll: poll, conns: make([]conn, o.Parallel), out: o.request(), onReady: ready}
	c.report = Report{Mode: o.Mode, Errors: map[string]int{}}
	begin := time.Now()
	c.now, c.end = begin, begin.Add(o.Duration)
	err = c.loop(ctx)
	for i := range c.conns {
		if c.conns[i].fd >= 0 {
			_ = unix.Close(c.conns[i].fd)
		}
	}
	c.report.Seconds = time.Since(begin).Seconds()
	c.report.Latency = quantiles(c.took)
	return &c.report, err
}

// burst is how many connections are begun before the events of others are heard.
const burst = 64

func (c *client) loop(ctx context.Context) error {
	started, swept := 0, c.now
	for c.now.Before(c.end) && ctx.Err() == nil {
		for range burst {
			if started < len(c.conns) {
				c.conns[started].fd = -1
				c.start(started)
				started++
			}
		}
		timeout := 20 * time.Millisecond
		if started < len(c.conns) {
			timeout = 0
		}
		events, err := c.poll.wait(timeout)
		if err != nil {
			return err
		}
		c.now = time.Now()
		for i := range events {
			c.event(int(events[i].Fd))
		}
		if c.now.Sub(swept) > 100*time.Millisecond {
			c.sweep(started)
			swept = c.now
		}
	}
	for i := started; i < len(c.conns); i++ {
		c.conns[i].fd = -1
	}
	return nil
}

// start begins connection i.
func (c *client) start(i int) {
	to := c.Targets[c.turn%len(c.Targets)]
	var from netip.Addr
	if len(c.Sources) > 0 {
		from = c.Sources[c.turn/len(c.Targets)%len(c.Sources)]
	}
	c.turn++
	fd, err := dial(to, from)
	c.conns[i] = conn{fd: fd, begun: c.now, header: c.conns[i].header[:0]}
	if err == nil {
		err = c.poll.add(fd, int32(i))
	}
	if err != nil {
		c.fail(i, err)
	}
}

// fail gives connection i up; it is begun again by the next sweep.
func (c *client) fail(i int, err error) {
	c.report.Failed++
	c.report.Errors[errorWord(err)]++
	c.drop(i)
}

func errorWord(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

func (c *client) drop(i int) {
	if x := &c.conns[i]; x.fd >= 0 {
		_ = unix.Close(x.fd)
		x.fd = -1
	}
}

// sweep gives up what takes too long, and begins again what failed.
func (c *client) sweep(started int) {
	for i := range c.conns[:started] {
		x := &c.conns[i]
		switch {
		case x.fd < 0:
			c.start(i)
		case c.Mode == Idle && x.open:
		case c.now.Sub(x.begun) > c.Timeout:
			c.fail(i, unix.ETIMEDOUT)
		}
	}
}

// event goes on with connection i.
func (c *client) event(i int) {
	x := &c.conns[i]
	if x.fd < 0 {
		return
	}
	if !x.sent {
		c.send(i)
		if x.fd < 0 || !x.sent || c.Mode == Idle {
			return
		}
	}
	for x.fd >= 0 {
		n, err := unix.Read(x.fd, c.buf[:])
		switch {
		case err == unix.EAGAIN:
			return
		case err != nil:
			c.fail(i, err)
		case n == 0:
			c.ended(i)
		default:
			c.received(i, c.buf[:n])
		}
	}
}

// send makes the request, or finds that the connection failed.
func (c *client) send(i int) {
	x := &c.conns[i]
	if c.Mode == Idle {
		c.established(i)
		return
	}
	n, err := unix.Write(x.fd, c.out)
	switch {
	case err == unix.EAGAIN:
	case err != nil:
		c.fail(i, err)
	case n < len(c.out):
		c.fail(i, errors.New("a request did not fit the socket"))
	default:
		x.sent, x.got, x.want = true, 0, 0
	}
}

// established counts an idle connection.
func (c *client) established(i int) {
	x := &c.conns[i]
	if errno, err := unix.GetsockoptInt(x.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || errno != 0 {
		c.fail(i, unix.Errno(errno))
		return
	}
	x.sent, x.open = true, true
	c.opened++
	c.report.Ops++
	c.took = append(c.took, time.Since(x.begun))
	if c.opened == len(c.conns) && c.onReady != nil {
		c.onReady(c.opened)
	}
}

// received takes a part of an answer.
func (c *client) received(i int, b []byte) {
	x := &c.conns[i]
	x.got += len(b)
	if c.HTTP && x.want == 0 {
		x.header = append(x.header, b...)
		x.want = answerLength(x.header)
	} else if !c.HTTP {
		x.want = len(c.out)
	}
	if c.Mode == Request && x.want > 0 && x.got >= x.want {
		c.answered(x)
		x.sent, x.begun, x.header = false, c.now, x.header[:0]
		c.send(i)
	}
}

// ended: the server closed. In connect mode that is the end of a good answer.
func (c *client) ended(i int) {
	x := &c.conns[i]
	if c.Mode != Connect || x.got == 0 || !c.HTTP && x.got < len(c.out) {
		c.fail(i, errors.New("closed by the server"))
		return
	}
	c.answered(x)
	c.drop(i)
	c.start(i)
}

func (c *client) answered(x *conn) {
	x.open = true
	c.report.Ops++
	c.took = append(c.took, time.Since(x.begun))
}

// maxAnswer is the longest HTTP body that is waited for, in bytes.
const maxAnswer = 1 << 40

var headerEnd = []byte("\r\n\r\n")

// answerLength returns the bytes of an HTTP answer whose beginning is b, 0 while that is not known.
func answerLength(b []byte) int {
	head, _, whole := bytes.Cut(b, headerEnd)
	if !whole {
		return 0
	}
	for _, line := range bytes.Split(head, headerEnd[:2]) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if !bytes.EqualFold(name, []byte("Content-Length")) {
			continue
		}
		if n, err := strconv.Atoi(string(bytes.TrimSpace(value))); err == nil && n >= 0 && n <= maxAnswer {
			return len(head) + len(headerEnd) + n
		}
	}
	return len(head) + len(headerEnd)
}

// quantiles sorts d.
func quantiles(d []time.Duration) Quantiles {
	if len(d) == 0 {
		return Quantiles{}
	}
	slices.Sort(d)
	at := func(share float64) float64 { return float64(d[int(share*float64(len(d)-1))].Nanoseconds()) / 1000 }
	return Quantiles{at(0.5), at(0.9), at(0.99), at(0.999), at(1)}
}
