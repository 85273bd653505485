package dataplane

import (
	"ulvs/conntrack"
	"ulvs/lvs"
)

// KernelConn is a session or template as a kernel's sync daemon tells it. It has no version, and its
// service's identity is to be found: Services are what it may be, best first.
type KernelConn struct {
	conntrack.Record
	Services [maxKernelServices]uint64 // 0: no more
	// Inactive says that the kernel counts it so. Of a session that goes to another real server here it is the
	// last word on what was replaced since (ip_vs_proc_conn), and changes nothing.
	Inactive bool
}

// maxKernelServices is a mark's, the address and port's, FTP's, and the one for all ports (ip_vs_service_find).
const maxKernelServices = 4

const (
	// kernelQuiet is how long a session of ours must have been without a packet before a kernel's word on it
	// counts: its daemon sends what it has for up to two seconds after the VIP moved to us.
	kernelQuiet = 3 * conntrack.TicksPerSecond
	// kernelTemplate is what a backup gives a template of which it knows no timeout (ip_vs_proc_conn).
	kernelTemplate = 180 * conntrack.TicksPerSecond
)

// ApplyKernel brings in what a kernel tells. What it tells later holds, since nothing in it says when it was said.
func (r *Replica) ApplyKernel(k *KernelConn) conntrack.Applied {
	a := r.applyKernel(k)
	r.applied[a].Add(1)
	return a
}

func (r *Replica) applyKernel(k *KernelConn) conntrack.Applied {
	bound := r.place(k)
	rec := &k.Record
	ref := r.h.FindKey(&rec.Key)
	switch {
	case ref.Reply():
		return conntrack.AppliedClash
	case ref == 0:
		return r.insert(rec)
	}
	e := r.h.Entry(ref)
	other := !sameWay(e, rec)
	switch {
	case e.Flags()&conntrack.FlagStandby == 0 && uint64(e.Seen())+kernelQuiet > uint64(r.now):
		return conntrack.AppliedNothing
	case other && k.Inactive && !rec.Template():
		return conntrack.AppliedNothing
	case other || bound && e.Dest() == 0:
		r.remove(ref, e)
		return r.insert(rec)
	}
	refreshed := e.Flags()&conntrack.FlagStandby != 0 && e.State() == rec.State
	rec.Version = e.Version()
	r.update(e, rec)
	if refreshed {
		return conntrack.AppliedRefreshed
	}
	return conntrack.AppliedUpdated
}

// place finds the session's service and real server, and completes what the kernel leaves to the backup: the
// method of a real server that is configured here, and the timeout where version 0 tells none. A template
// gets its service's, where the kernel goes on with the 60 s that it may have had left.
func (r *Replica) place(k *KernelConn) (bound bool) {
	rec := &k.Record
	rec.Service = k.Services[0]
	for _, id := range k.Services {
		if id != 0 && r.names.services[id] != 0 {
			rec.Service = id
			break
		}
	}
	svc, d := r.names.find(r.snap, rec)
	if d != nil && !rec.Template() {
		rec.Flags = rec.Flags&^(conntrack.FlagNAT|conntrack.FlagTUN) | methodFlags(d.Method)
	}
	timeout := rec.Timeout
	switch {
	case d != nil && rec.Template() && r.snap.Services[svc].Persist != 0:
		timeout = r.snap.Services[svc].Persist
	case timeout == 0 && rec.Template():
		timeout = kernelTemplate
	case timeout == 0:
		timeout = r.snap.Timeouts.Of(rec.State)
	}
	rec.Timeout, rec.Remaining = timeout, timeout
	return d != nil
}

func methodFlags(m lvs.Method) conntrack.Flags {
	switch m {
	case lvs.MethodNAT:
		return conntrack.FlagNAT
	case lvs.MethodTUN:
		return conntrack.FlagTUN
	}
	return 0
}

// Own calls fn with a record of each session and template of ours, told to peers or not, among the next n entries of
// the table from position at on, and returns where to go on, as Scan does. The record is Own's.
func (r *Replica) Own(at uint64, n int, fn func(rec *conntrack.Record)) uint64 {
	const no = conntrack.FlagOnePacket | conntrack.FlagBypass | conntrack.FlagUnlinked | conntrack.FlagStandby
	var rec conntrack.Record
	return r.h.Scan(at, n, func(_ conntrack.Ref, e *conntrack.Entry) {
		if e.Flags()&no != 0 || e.Expired(r.now) || !e.Describe(&rec, r.now) {
			return
		}
		id := e.Service()
		rec.Service = r.snap.identity(id)
		if rec.Template() && int(id) < len(r.snap.Services) && r.snap.Services[id].Persist != 0 {
			rec.Timeout = r.snap.Services[id].Persist
		}
		fn(&rec)
	})
}

// Service returns the configured service of an identity, nil if there is none. It is not to be changed.
func (r *Replica) Service(identity uint64) *lvs.Service {
	if id := r.names.services[identity]; id != 0 {
		return r.snap.Services[id].Config
	}
	return nil
}
