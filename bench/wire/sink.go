package wire

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"ulvs/dataplane/afxdp"
	"ulvs/packet"
)

// SinkOptions say what a sink counts.
type SinkOptions struct {
	Interface string
	Queue     int
	Port      uint16       // UDP
	Addrs     []netip.Addr // packets to these, and tunnels to them
}

// Counted is what a sink saw.
type Counted struct {
	Received uint64 `json:"received"`
	Dropped  uint64 `json:"dropped"` // by the kernel, for the sink was too slow: they arrived
}

// Sink counts until ctx is done. ready is called when it does. All else on the interface stays the kernel's.
func Sink(ctx context.Context, o SinkOptions, ready func()) (c *Counted, err error) {
	steering, err := afxdp.LoadSteering(afxdp.SteeringOptions{})
	if err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	defer func() { err = errors.Join(err, steering.Close()) }()
	rules := afxdp.Rules{}
	for _, a := range o.Addrs {
		rules.Services = append(rules.Services, afxdp.Rule{Addr: a, Port: o.Port, Proto: packet.ProtoUDP},
			afxdp.Rule{Addr: a, Proto: packet.ProtoIPIP})
	}
	if err := steering.Set(rules); err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	set, dev, err := open(o.Interface, o.Queue)
	if err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	if _, err := steering.Attach(dev, afxdp.AttachAuto); err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	if err := steering.Register(dev.Index, o.Queue, set.FD(0)); err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	ready()
	return count(ctx, set)
}

// count reads and gives back.
func count(ctx context.Context, set *afxdp.AsavieSet) (*Counted, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var lent [batch]packet.Frame
	c := &Counted{}
	for ctx.Err() == nil {
		n := set.Recv(lent[:])
		if n == 0 {
			if err := set.Wait(10 * time.Millisecond); err != nil {
				return nil, err
			}
			continue
		}
		c.Received += uint64(n)
		set.Release(lent[:n])
	}
	for _, s := range set.Stats() {
		c.Dropped += s.KernelRXRingFull + s.KernelFillRingEmpty
	}
	return c, nil
}
