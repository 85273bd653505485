package director

import (
	"fmt"
	"time"
)

// tellManager tells the service manager that the director serves, and keeps telling it that it lives. stop tells
// that it ends.
func (d *director) tellManager() (stop func()) {
	m := d.opt.Manager
	d.complainOf(m.Ready(fmt.Sprintf("forwarding: %d workers, %d services", len(d.workers),
		len(d.opt.Config.Services()))))
	ended, done := make(chan struct{}), make(chan struct{})
	go d.runWatchdog(ended, done)
	return func() {
		close(ended)
		<-done
		if d.handed {
			return // the service goes on
		}
		d.complainOf(m.Stopping())
	}
}

// complainOf logs what the manager could not be told: it is no reason not to forward.
func (d *director) complainOf(err error) {
	if err != nil {
		d.log.Warn("the service manager does not listen", "err", err)
	}
}

// runWatchdog feeds the manager's watchdog while every worker moves: a data plane that stands still is restarted.
func (d *director) runWatchdog(ended <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	every := d.opt.Manager.WatchdogInterval()
	if every == 0 {
		return
	}
	next := time.NewTicker(min(every, heartbeatPeriod))
	defer next.Stop()
	hearts, fed := d.newHearts(), time.Time{}
	for {
		select {
		case <-ended:
			return
		case now := <-next.C:
			if _, alive := hearts.look(now); !alive && d.hasQueues() || now.Sub(fed) < every {
				continue
			}
			d.complainOf(d.opt.Manager.Watchdog())
			fed = now
		}
	}
}

// hasQueues reports whether workers are to move at all: those of interfaces that vanished wait for them.
func (d *director) hasQueues() bool {
	for _, w := range d.workers {
		w.mu.Lock()
		has := w.set != nil
		w.mu.Unlock()
		if has {
			return true
		}
	}
	return false
}
