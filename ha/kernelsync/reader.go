package kernelsync

import "ulvs/conntrack"

// readMax is how many records are taken from a log at once.
const readMax = 256

// Reader hands over what workers write down.
type Reader struct {
	logs []*conntrack.Log
	wake <-chan struct{}
	tell func(records []conntrack.Record)
	stop chan struct{}
	done chan struct{}
}

// StartReader begins to read logs, which wake it by wake. What they hold is given to tell on the Reader's goroutine,
// borrowed.
func StartReader(logs []*conntrack.Log, wake <-chan struct{}, tell func(records []conntrack.Record)) *Reader {
	r := &Reader{logs: logs, wake: wake, tell: tell, stop: make(chan struct{}), done: make(chan struct{})}
	go r.run()
	return r
}

// Logs returns what is read.
func (r *Reader) Logs() []*conntrack.Log { return r.logs }

// Close reads what is left and ends.
func (r *Reader) Close() {
	close(r.stop)
	<-r.done
}

func (r *Reader) run() {
	defer close(r.done)
	for {
		r.drain()
		select {
		case <-r.stop:
			r.drain()
			return
		case <-r.wake:
		}
	}
}

// drain reads until nothing is left, and has itself woken by what comes then.
func (r *Reader) drain() {
	for again := true; again; {
		again = false
		for _, l := range r.logs {
			for records := l.Read(readMax); len(records) > 0; records = l.Read(readMax) {
				r.tell(records)
				l.Release(len(records))
			}
			again = !l.Sleep() || again
		}
	}
}
