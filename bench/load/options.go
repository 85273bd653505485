package load

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Mode is what the client does with its connections.
type Mode string

// The modes.
const (
	Connect Mode = "connect" // open, one request, closed by the server; again
	Request Mode = "request" // request after request on each connection
	Idle    Mode = "idle"    // open and hold
)

// Options of a client.
type Options struct {
	Targets  []netip.AddrPort // connections take turns
	Sources  []netip.Addr     // likewise; none: the kernel's choice
	Mode     Mode
	Parallel int // connections at a time
	Size     int // bytes of a request and of an answer
	HTTP     bool
	Duration time.Duration
	Timeout  time.Duration // of one operation; 0: 3 s
}

// Limits of Options.
const (
	maxParallel = 200_000
	maxSize     = 64 << 10
)

func (o Options) withDefaults() Options {
	if o.Mode == "" {
		o.Mode = Connect
	}
	if o.Parallel == 0 {
		o.Parallel = 32
	}
	if o.Size == 0 {
		o.Size = 64
	}
	if o.Duration == 0 {
		o.Duration = 5 * time.Second
	}
	if o.Timeout == 0 {
		o.Timeout = 3 * time.Second
	}
	return o
}

func (o *Options) validate() error {
	switch {
	case len(o.Targets) == 0:
		return errors.New("no target: want ADDRESS:PORT")
	case o.Mode != Connect && o.Mode != Request && o.Mode != Idle:
		return fmt.Errorf("mode %q: want connect, request or idle", o.Mode)
	case o.Parallel < 1 || o.Parallel > maxParallel:
		return fmt.Errorf("connections %d: want 1 to %d", o.Parallel, maxParallel)
	case o.Size < 1 || o.Size > maxSize:
		return fmt.Errorf("size %d: want 1 to %d bytes", o.Size, maxSize)
	}
	for _, t := range o.Targets {
		if !t.IsValid() || t.Port() == 0 {
			return fmt.Errorf("target %s: want ADDRESS:PORT", t)
		}
	}
	return nil
}

// request is what a client sends each time.
func (o *Options) request() []byte {
	if o.HTTP {
		keep := "close"
		if o.Mode == Request {
			keep = "keep-alive"
		}
		return fmt.Appendf(nil, "GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: ulvs-bench\r\nConnection: %s\r\n\r\n",
			o.Targets[0], keep)
	}
	b := make([]byte, o.Size)
	b[0] = closeAfter
	if o.Mode == Request {
		b[0] = keepOpen
	}
	return b
}

// The first byte of a request.
const (
	closeAfter = 'C'
	keepOpen   = 'K'
)

// Report is what a client saw.
type Report struct {
	Mode    Mode           `json:"mode"`
	Seconds float64        `json:"seconds"`
	Ops     int            `json:"ops"` // connections or requests that were answered
	Failed  int            `json:"failed"`
	Errors  map[string]int `json:"errors,omitempty"`
	Latency Quantiles      `json:"latency_us"`
}

// Quantiles of a latency, in microseconds.
type Quantiles struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}
