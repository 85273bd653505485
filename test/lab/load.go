package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Kind is what a client speaks.
type Kind string

// The kinds, each with its server in Serve.
const (
	KindHTTP Kind = "http" // also with nginx
	KindTCP  Kind = "tcp"
	KindUDP  Kind = "udp"
)

// LoadOptions says what a client does. Zero counts mean one.
type LoadOptions struct {
	Kind        Kind
	Target      netip.AddrPort
	Connections int           // how many in all; for UDP sockets, each its own flow
	Parallel    int           // of those, open at once
	Requests    int           // on each connection
	Download    int64         // HTTP: bytes of each answer; 0: the name only
	Upload      int64         // bytes of each request
	Together    bool          // open all Parallel connections before the first request
	Source      netip.Addr    // the client's address; the zero Addr leaves it to the kernel
	Timeout     time.Duration // of one connect and of one request; 0: DefaultTimeout
}

// DefaultTimeout is far longer than anything takes in the lab.
const DefaultTimeout = 30 * time.Second

// Limits of a load.
const (
	maxConnections = 1 << 20
	maxParallel    = 1 << 14 // under the usual limit of local ports
)

func (o LoadOptions) withDefaults() LoadOptions {
	setDefault(&o.Connections, 1)
	setDefault(&o.Parallel, 1)
	setDefault(&o.Requests, 1)
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	o.Parallel = min(o.Parallel, o.Connections)
	return o
}

func (o LoadOptions) validate() error {
	switch {
	case o.Kind != KindHTTP && o.Kind != KindTCP && o.Kind != KindUDP:
		return fmt.Errorf("kind %q: want http, tcp or udp", o.Kind)
	case !o.Target.IsValid():
		return errors.New("target: want ADDRESS:PORT")
	case o.Connections < 1 || o.Connections > maxConnections:
		return fmt.Errorf("connections %d: want 1 to %d", o.Connections, maxConnections)
	case o.Parallel < 1 || o.Parallel > maxParallel:
		return fmt.Errorf("parallel %d: want 1 to %d", o.Parallel, maxParallel)
	case o.Requests < 1:
		return fmt.Errorf("requests %d: want 1 or more", o.Requests)
	case o.Download < 0 || o.Download > maxTransfer || o.Upload < 0 || o.Upload > maxTransfer:
		return fmt.Errorf("bytes: want 0 to %d", maxTransfer)
	case o.Kind == KindUDP && o.Upload > maxDatagram-128:
		return fmt.Errorf("bytes of a datagram: want 0 to %d", maxDatagram-128)
	}
	return nil
}

// Load drives the target from the namespace of the calling process and reports
// what came back. A failed exchange is counted, never returned; the error is for
// options that make no sense.
func Load(ctx context.Context, o LoadOptions) (*Report, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	r := &run{LoadOptions: o, tally: newTally(), start: time.Now()}
	r.gate = make(chan struct{})
	r.waiting.Store(int64(o.Parallel))
	if !o.Together {
		close(r.gate)
	}
	var wg sync.WaitGroup
	for i := range o.Parallel {
		share := o.Connections / o.Parallel
		if i < o.Connections%o.Parallel {
			share++
		}
		wg.Go(func() { r.client(ctx, share) })
	}
	wg.Wait()
	return r.tally.report(o, time.Since(r.start)), nil
}

// run is one Load under way.
type run struct {
	LoadOptions
	tally   *tally
	start   time.Time
	gate    chan struct{} // closed when requests may begin
	waiting atomic.Int64  // clients without their first connection yet
}

// client makes its share of the connections, one after the other.
func (r *run) client(ctx context.Context, share int) {
	for i := range share {
		begin := time.Now()
		conn, err := r.dial(ctx)
		if i == 0 && r.Together {
			r.meet(ctx)
		}
		if err != nil {
			r.tally.failConn(err, r.Requests)
			continue
		}
		r.tally.connected(time.Since(begin))
		r.exchangeAll(ctx, conn)
		_ = conn.Close()
	}
}

// meet waits until every client has tried its first connection.
func (r *run) meet(ctx context.Context) {
	if r.waiting.Add(-1) == 0 {
		close(r.gate)
	}
	select {
	case <-r.gate:
	case <-ctx.Done():
	}
}

func (r *run) dial(ctx context.Context) (net.Conn, error) {
	network := "tcp"
	d := net.Dialer{Timeout: r.Timeout}
	if r.Kind == KindUDP {
		network = "udp"
		if r.Source.IsValid() {
			d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.Source, 0))
		}
	} else if r.Source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(r.Source, 0))
	}
	return d.DialContext(ctx, network, r.Target.String())
}

// exchangeAll makes all requests of one connection; a failure gives the rest up.
func (r *run) exchangeAll(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	x := &exchange{o: &r.LoadOptions, conn: conn, r: bufio.NewReader(conn)}
	for i := range r.Requests {
		begin := time.Now()
		_ = conn.SetDeadline(begin.Add(r.Timeout))
		name, err := x.do()
		if err != nil {
			r.tally.failConn(err, r.Requests-i)
			return
		}
		r.tally.answered(name, time.Since(begin))
	}
}
