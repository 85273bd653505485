package director

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"ulvs/ha"
	"ulvs/ha/vrrp"
)

const (
	// gatewayEvery is how often gateways are asked, and gatewayLimit after how long a silent one is held for cut off.
	gatewayEvery = 200 * time.Millisecond
	gatewayLimit = time.Second
)

// gatewayWatch asks the gateways of one unit.
type gatewayWatch struct {
	t      *takeover
	unit   int
	asks   []gatewayAsk
	last   atomic.Int64 // when one answered, in nanoseconds since the takeover began; 0: never
	answer chan struct{}
	up     bool
	told   bool // the machine knows
	begin  time.Duration
}

// gatewayAsk is one gateway on one instance's interface.
type gatewayAsk struct {
	prober          *vrrp.Prober
	gateway, source netip.Addr
}

// openGateways opens what the unit's gateways are asked by; nothing where it has none.
func (t *takeover) openGateways(unit int) error {
	w := &gatewayWatch{t: t, unit: unit, begin: t.now(), answer: make(chan struct{}, 1)}
	for _, in := range t.instances {
		if in.unit != unit {
			continue
		}
		for _, gateway := range in.Gateways {
			p, err := vrrp.OpenProber(in.Interface, gateway.Is6())
			if err != nil {
				return err
			}
			t.probers = append(t.probers, p)
			source, err := vrrp.Source(in.Interface, gateway.Is6(), append(slices.Clone(in.VIPs), in.Excluded...))
			if err != nil {
				return err
			}
			w.asks = append(w.asks, gatewayAsk{p, gateway, source})
		}
	}
	if len(w.asks) > 0 {
		t.gateways = append(t.gateways, w)
	}
	return nil
}

// startGateways begins to ask.
func (t *takeover) startGateways() {
	for _, w := range t.gateways {
		for _, a := range w.asks {
			t.readers.Add(1)
			go w.listen(a)
		}
		go w.run()
	}
}

// listen takes answers until the prober is closed.
func (w *gatewayWatch) listen(a gatewayAsk) {
	defer w.t.readers.Done()
	for failures := 0; failures < gatewayFailures; {
		from, err := a.prober.Answer()
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case err != nil: // the interface is down
			failures++
			continue
		}
		failures = 0
		if from != a.gateway {
			continue
		}
		w.last.Store(int64(max(w.t.now(), 1)))
		select {
		case w.answer <- struct{}{}:
		default:
		}
	}
}

// gatewayFailures bounds how often in a row a socket may fail.
const gatewayFailures = 1000

// run asks, and tells the machine when that changes anything.
func (w *gatewayWatch) run() {
	tick := time.NewTicker(gatewayEvery)
	defer tick.Stop()
	for {
		for _, a := range w.asks {
			w.t.failed(a.prober.Ask(a.gateway, a.source))
		}
		w.look()
		select {
		case <-w.answer:
			w.look()
			select {
			case <-tick.C:
			case <-w.t.done:
				return
			}
		case <-tick.C:
		case <-w.t.done:
			return
		}
	}
}

func (w *gatewayWatch) look() {
	last := w.last.Load()
	up := last != 0 && w.t.now()-time.Duration(last) < gatewayLimit
	waits := !up && w.t.now()-w.begin < gatewayLimit // the first answer is on its way
	if up != w.up || !w.told && !waits {
		w.up, w.told = up, true
		w.t.tell(ha.Event{Kind: ha.EventGateway, Unit: w.unit, Up: up})
	}
}

// gatewayOf returns the watch of a unit; nil: none of its gateways is asked.
func (t *takeover) gatewayOf(unit int) *gatewayWatch {
	for _, w := range t.gateways {
		if w.unit == unit {
			return w
		}
	}
	return nil
}
