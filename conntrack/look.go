package conntrack

// Look calls fn with the conn or template that a key finds, for tools beside the workers: like Walk, with which it
// takes turns, it keeps what it found from being used anew until fn returns. False: there is none.
func (t *Table) Look(k *Key, fn func(r Ref, e *Entry, i Info)) bool {
	t.walking.Lock()
	defer t.walking.Unlock()
	if t.closed {
		return false
	}
	self := len(t.epochs.readers) - 1
	t.epochs.enter(self)
	defer t.epochs.readers[self].local.Store(offline)
	p := &t.v4
	if k.V6 {
		p = &t.v6
	}
	ref := p.find(k, t.seeds.hash(k))
	if ref == 0 {
		return false
	}
	e := t.Entry(ref)
	info, ok := e.info()
	if ok {
		fn(ref, e, info)
	}
	return ok
}
