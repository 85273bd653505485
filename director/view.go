package director

import (
	"cmp"
	"os"
	"slices"
	"time"

	"ulvs/conntrack"
	"ulvs/control"
	"ulvs/dataplane"
	"ulvs/dataplane/afxdp"
	"ulvs/lvs"
	"ulvs/packet"
)

// Status implements control.Backend.
func (d *director) Status() control.Status {
	alarms := d.ownerAlarms() // which waits for the takeover, and that perhaps for what is locked here
	d.ioMu.RLock()
	defer d.ioMu.RUnlock()
	d.mu.RLock()
	defer d.mu.RUnlock()
	s := control.Status{
		Name: d.opt.Config.Node.Name, PID: os.Getpid(), Version: d.opt.Version, StartedAt: d.started,
		UptimeSeconds: int64(time.Since(d.started).Seconds()), ConfigPath: d.opt.ConfigPath,
		Generation: d.generation, Sessions: d.sessions(), Routing: d.routing(), Verdicts: d.verdicts(),
		Stack: d.stackStatus(), Restart: d.memory.told, Alarms: alarms,
	}
	s.Restart.HugePages = d.memory.file != nil && d.table.Stats().Huge > 0
	d.compare().tell(&s)
	for _, w := range d.workers {
		s.Workers = append(s.Workers, d.workerStatus(w))
	}
	for i := range d.network.ports {
		s.Ports = append(s.Ports, d.portStatus(i))
	}
	return s
}

func (d *director) workerStatus(w *worker) control.WorkerStatus {
	st := w.dp.Stats()
	_, slept := w.dp.Sleeps()
	out := control.WorkerStatus{
		ID: w.id, CPU: w.cpu, Queue: w.id, IO: string(d.opt.Config.Node.IO), Ports: []string{},
		Generation: st.Generation(), Frames: st.Received(), Batches: st.Batches(),
		IdleFraction: min(slept.Seconds()/time.Since(d.started).Seconds(), 1), IdleSeconds: slept.Seconds(),
	}
	for i := range d.network.ports {
		out.Ports = append(out.Ports, d.network.ports[i].name)
	}
	return out
}

func (d *director) portStatus(i int) control.PortStatus {
	p := &d.network.ports[i]
	out := control.PortStatus{
		Name: p.name, MAC: macString(p.link.MAC), MTU: p.link.MTU, LinkUp: p.link.Up, Queues: len(d.workers),
	}
	for _, m := range p.below() {
		d.addAttachment(&out, m.Index)
		if p.bond {
			out.Members = append(out.Members, control.PortMember{Name: m.Name, Sends: m.Sends})
		}
	}
	for _, w := range d.workers {
		if w.set != nil {
			addQueue(&out, w.set, i)
		}
	}
	return out
}

// addAttachment adds what the program on an interface says; of members that differ, generic is what counts.
func (d *director) addAttachment(out *control.PortStatus, ifindex int) {
	at := slices.IndexFunc(d.attach, func(a *afxdp.Attachment) bool { return a.Interface.Index == ifindex })
	if at < 0 {
		return
	}
	a := d.attach[at]
	if out.XDPMode == "" || a.Mode == afxdp.AttachGeneric {
		out.XDPMode = a.Mode.String()
	}
	if st, err := a.Stats(); err == nil {
		out.SteeredFrames += st.Seen - st.Passed - st.NoSocket
		out.PassedFrames += st.Passed + st.NoSocket
	}
}

func addQueue(out *control.PortStatus, set ioSet, port int) {
	out.CopyMode = "copy"
	info := set.Info()[port]
	if info.ZeroCopy {
		out.CopyMode = "zerocopy"
	}
	out.ZeroCopyFailure = cmp.Or(out.ZeroCopyFailure, info.Fallback)
	st := set.Stats()[port]
	out.RXFrames += st.RX
	out.TXFrames += st.TX
	out.TXFull += st.TXFull
	out.TXErrors += st.TXErrors + st.TXInvalid
	out.RXDropped += st.KernelRXDropped
	out.RXRingFull += st.KernelRXRingFull
	out.FillEmpty += st.KernelFillRingEmpty
	out.InvalidDescs += st.KernelRXInvalid + st.KernelTXInvalid
	out.TXRingEmpty += st.KernelTXRingEmpty
}

func (d *director) sessions() control.Sessions {
	st := d.table.Stats()
	out := control.Sessions{
		Templates: int64(st.Templates), SizeHint: int64(st.Size), MaxConns: int64(st.MaxConns), Bytes: int64(st.Bytes),
		Grown: st.Grown, Refused: st.Full, ReplyClash: st.ReplyCollisions,
	}
	for _, dest := range d.built.Destinations {
		if dest != nil {
			out.Active += int64(dest.Load.Active())
			out.Inactive += int64(dest.Load.Inactive())
		}
	}
	return out
}

func (d *director) verdicts() []control.Verdict {
	list := make([]control.Verdict, 0, dataplane.NumCounters)
	for v := dataplane.Verdict(0); int(v) < dataplane.NumCounters; v++ {
		if !v.Counts() {
			continue
		}
		sum := uint64(0)
		for _, w := range d.workers {
			sum += w.dp.Stats().Verdict(v)
		}
		list = append(list, control.Verdict{Name: v.String(), Frames: sum, Drop: v.IsDrop()})
	}
	return list
}

func (d *director) routing() control.Routing {
	links, routes, neighs := d.network.state.Counts()
	out := control.Routing{Links: links, Routes: routes, Neighbours: neighs, NextHops: len(d.hops.keys) - 1}
	for i, h := range d.snapshots.Load().Hops {
		if i > 0 && h.State != dataplane.HopReady {
			out.Unresolved++
		}
	}
	return out
}

// Services implements control.Backend.
func (d *director) Services() []control.Service {
	d.ioMu.RLock()
	defer d.ioMu.RUnlock()
	d.mu.RLock()
	defer d.mu.RUnlock()
	snap := d.snapshots.Load()
	list := []control.Service{}
	for _, svc := range d.built.Services {
		if !configured(d.built, svc) {
			continue
		}
		out := control.ServiceOf(svc)
		c := &d.counters.services[svc.ID]
		out.Stats, out.Rates = c.since(d.counters.rawService(svc.ID)), c.rates.show()
		for i := range svc.Destinations {
			dest := &svc.Destinations[i]
			c := &d.counters.dests[dest.ID]
			out.RealServers[i].Stats, out.RealServers[i].Rates = c.since(d.counters.rawDest(dest.ID)), c.rates.show()
			out.RealServers[i].NextHop = d.nextHop(snap, dest.ID)
		}
		d.showHealth(svc, &out)
		list = append(list, out)
	}
	return list
}

func (d *director) nextHop(snap *dataplane.Snapshot, id lvs.DestID) *control.NextHop {
	if int(id) >= len(snap.Dests) {
		return nil
	}
	hopID := snap.Dests[id].Hop
	if hopID == 0 || int(hopID) >= len(d.hops.keys) {
		return &control.NextHop{Address: d.built.Dest(id).Addr, State: "no route"}
	}
	key, hop := d.hops.keys[hopID], &snap.Hops[hopID]
	out := &control.NextHop{Address: key.Addr, Port: d.network.ports[key.Port].name}
	link, ok := d.network.links.linkOf(key)
	switch {
	case !ok:
		out.State = "no route"
	case !link.Up:
		out.State = "link down"
	case hop.State == dataplane.HopReady:
		out.State, out.MAC = "resolved", macString(hop.DstMAC())
	default:
		out.State = "asking"
	}
	if ok {
		out.Port = link.Name
	}
	return out
}

// Conns implements control.Backend.
func (d *director) Conns(_ control.ConnFilter, fn func(control.Conn) bool) {
	now := dataplane.TickOf(d.clock())
	d.mu.RLock()
	built := d.built
	d.mu.RUnlock()
	d.table.Walk(func(_ conntrack.Ref, _ *conntrack.Entry, i conntrack.Info) bool {
		if left := i.Expires(now); left > 0 {
			return fn(connOf(i, left, built))
		}
		return true // over, but not swept yet
	})
}

func connOf(i conntrack.Info, left conntrack.Tick, built *lvs.Snapshot) control.Conn {
	c := control.Conn{
		Protocol: lvs.ProtoName(i.Proto), State: i.State.String(), Client: i.Client, VIP: i.VIP,
		RealServer:     destOf(&i, built),
		ExpiresSeconds: int64(left+conntrack.TicksPerSecond-1) / conntrack.TicksPerSecond, Flags: connFlags(i.Flags),
	}
	return c
}

func connFlags(f conntrack.Flags) []string {
	words := []string{}
	for _, x := range []struct {
		flag conntrack.Flags
		word string
	}{
		{conntrack.FlagTemplate, "template"}, {conntrack.FlagNAT, "nat"}, {conntrack.FlagTUN, "tun"},
		{conntrack.FlagNoOutput, "no_output"}, {conntrack.FlagNoReply, "no_reply"}, {conntrack.FlagOnePacket, "one_packet"},
	} {
		if f&x.flag != 0 {
			words = append(words, x.word)
		}
	}
	return words
}

func macString(mac packet.MAC) string { return mac.String() }

// ListedConns implements control.Editor.
func (d *director) ListedConns(fn func(control.ListedConn) bool) {
	d.Node.ListedConns(dataplane.TickOf(d.clock()), fn)
}

var _ control.Editor = (*director)(nil)
