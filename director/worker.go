package director

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"ulvs/config"
	"ulvs/dataplane"
	"ulvs/dataplane/afxdp"
	"ulvs/events"
	"ulvs/tuning"
)

// ioSet is a worker's packet I/O, whichever library it is.
type ioSet interface {
	dataplane.Queue
	FD(socket int) int      // in the order of Options.Interfaces
	Info() []afxdp.PortInfo // and Stats: by port
	Stats() []afxdp.PortStats
	Wake()
	Close() error
}

var _ = []ioSet{(*afxdp.Set)(nil), (*afxdp.AsavieSet)(nil), (*afxdp.Trunk)(nil)}

// worker is a data plane worker with its thread and queue.
type worker struct {
	id   int
	cpu  int // -1: not pinned
	dp   *dataplane.Worker
	mu   sync.Mutex    // guards set: any goroutine may wake
	set  ioSet         // nil while stopped
	done chan struct{} // closed when the thread ended; nil while stopped
}

func (w *worker) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.set != nil {
		w.set.Wake()
	}
}

// pause ends the thread and leaves the queue as it is, for startWorker or another process.
func (w *worker) pause() {
	if w.done == nil {
		return
	}
	w.dp.Stop()
	w.wake()
	<-w.done
	w.done = nil
}

// stop ends the thread, then the queue: frames must not be touched afterwards.
func (w *worker) stop() error {
	w.pause()
	set := w.swap(nil)
	if set == nil {
		return nil
	}
	if err := set.Close(); err != nil {
		return fmt.Errorf("close the queues of worker %d: %w", w.id, err)
	}
	return nil
}

// swap puts another queue in the place of the one it returns.
func (w *worker) swap(set ioSet) ioSet {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.set
	w.set = set
	return old
}

func (d *director) makeWorkers(n int) {
	cpus := d.opt.Config.Node.CPUs
	if len(cpus) == 0 {
		cpus = tuning.PickCPUs(d.opt.Config.Node.Interfaces, n) // unreadable: workers stay unpinned, as logged below
	}
	for id := range n {
		w := &worker{id: id, cpu: -1, dp: dataplane.NewWorker(dataplane.Options{
			ID: id, Workers: n, Table: d.table, Snapshots: d.Snapshots(), Notices: d.notices, Stack: d.stack.Link(id),
			Gathering: d.gathering, Drops: &d.drops, Seed: rand.Uint64(), Log: d.replication.log(id),
			Taps: &d.captures.tap,
		})}
		if id < len(cpus) {
			w.cpu = cpus[id]
		} else {
			d.log.Warn("more queues than cores: worker is not pinned", "worker", id, "cores", len(cpus))
		}
		d.Serve(w.dp)
		d.workers = append(d.workers, w)
	}
}

// openQueue opens the worker's sockets and has frames steered to them.
func (d *director) openQueue(w *worker, ports []port) (err error) {
	node := &d.opt.Config.Node
	o := afxdp.Options{Queue: w.id, Frames: node.Frames, Mode: ioMode(node.XDPMode), HugePages: true, Log: d.log}
	o.Interfaces = allBelow(ports)
	for _, p := range ports {
		if p.link.MTU > smallMTU {
			o.FrameSize = 4096
		}
	}
	if d.copies && o.Mode == afxdp.ModeAuto {
		o.Mode = afxdp.ModeCopy
	}
	set, err := openSet(o, ports, node.IO)
	if err != nil {
		return err
	}
	w.swap(set)
	d.noteFallback(set.Info())
	for i, below := range o.Interfaces {
		if err := d.steering.Register(below.Index, w.id, set.FD(i)); err != nil {
			return err
		}
	}
	return nil
}

// noteFallback tells that zero-copy failed its test, once: other workers do not wait for it to fail them, too.
func (d *director) noteFallback(ports []afxdp.PortInfo) {
	for _, p := range ports {
		if p.Fallback != "" && !d.copies {
			d.copies = true
			d.journal.Add(events.Event{Kind: events.ZeroCopyFailed, Instance: p.Name, Reason: p.Fallback})
		}
	}
}

// smallMTU fits a chunk of 2048 bytes with the kernel's headroom and an Ethernet header with a tag.
const smallMTU = 2048 - afxdp.Headroom - 18

// asSet keeps a nil pointer from becoming a non-nil interface.
func asSet[T ioSet](set T, err error) (ioSet, error) {
	if err != nil {
		return nil, err
	}
	return set, nil
}

func ioMode(m config.XDPMode) afxdp.Mode {
	switch m {
	case config.XDPZeroCopy:
		return afxdp.ModeZeroCopy
	case config.XDPCopy, config.XDPGeneric:
		return afxdp.ModeCopy
	}
	return afxdp.ModeAuto
}

func (d *director) startWorker(w *worker) {
	w.dp.SetQueue(w.set)
	w.done = make(chan struct{})
	go d.runWorker(w, w.done)
}

// runWorker is a worker's thread. The thread is never given back: it ends with the
// goroutine, and its affinity with it.
func (d *director) runWorker(w *worker, done chan<- struct{}) {
	defer close(done)
	runtime.LockOSThread()
	if w.cpu >= 0 {
		if err := tuning.PinThread(w.cpu); err != nil {
			d.log.Warn("worker is not pinned", "worker", w.id, "err", err)
		}
	}
	if _, err := tuning.PreferThread(); err != nil {
		d.log.Info("worker has no priority over other threads", "worker", w.id, "err", err)
	}
	d.log.Info("worker started", "worker", w.id, "queue", w.id, "cpu", w.cpu)
	err := w.dp.Run(context.Background(), dataplane.RunOptions{
		Spin: spin(d.opt.Config.Node.Idle), Clock: d.clock, Yield: yield(d.opt.Config.Node.Idle),
	})
	if err != nil {
		select {
		case d.failures <- err:
		default: // one restart serves all of them
		}
	}
}

// clock is the data plane's time: the table's, which goes on when another director goes on with its sessions.
func (d *director) clock() time.Duration { return time.Since(d.started) + d.ahead }

// yield is what a worker does with its core while it spins: with IdleSpin it is nobody else's.
func yield(idle config.Idle) func() {
	if idle == config.IdleSpin {
		return nil
	}
	return tuning.Yield
}

func spin(idle config.Idle) time.Duration {
	switch idle {
	case config.IdleSpin:
		return -1
	case config.IdlePoll:
		return 0
	}
	return dataplane.SpinDefault
}
