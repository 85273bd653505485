package dashboard

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"ulvs/control"
	"ulvs/events"
)

// fake is a director with traffic: what it counts grows with its clock.
type fake struct {
	mu       sync.Mutex
	now      time.Time
	started  time.Time
	rnd      *rand.Rand
	services []control.Service
	status   control.Status
	journal  *events.Journal
	conns    []control.Conn
	vrrp     control.VRRP
	asked    int // for its status
}

func ap(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

// load is how busy each service is, relative to the others.
var load = []float64{1, 0.72, 0.4, 0.22, 0.09, 0.16, 0.05}

func newFake(end time.Time) *fake {
	f := &fake{now: end.Add(-time.Hour), started: end.Add(-51 * time.Hour), rnd: rand.New(rand.NewPCG(1, 2))}
	f.journal = events.New(events.Options{Clock: f.clock})
	f.services = fakeServices()
	f.status = fakeStatus()
	f.conns = fakeConns()
	f.vrrp = control.VRRP{Rejected: map[string]uint64{"other_vrid": 12}, Instances: []control.VRRPInstance{
		{Name: "VI_1", Group: "G1", Interface: "eth0", VRID: 51, Version: 3, State: "MASTER", StateSeconds: 183_600,
			Priority: 150, EffectivePriority: 150, AdvertMillis: 100, VIPs: []string{"192.0.2.10", "192.0.2.11"},
			Term: 4, Owner: "lvs1", Preempts: true},
		{Name: "VI_2", Group: "G1", Interface: "eth1", VRID: 52, Version: 3, State: "BACKUP", StateSeconds: 301,
			Priority: 100, EffectivePriority: 80, AdvertMillis: 100, MasterMillis: 100, PreemptSeconds: 42},
	}}
	return f
}

func (f *fake) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *fake) Status() control.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	st := f.status
	st.UptimeSeconds = int64(f.now.Sub(f.started).Seconds())
	st.StartedAt = f.started
	st.Verdicts = append([]control.Verdict(nil), st.Verdicts...)
	st.Workers = append([]control.WorkerStatus(nil), st.Workers...)
	return st
}

func (f *fake) Services() []control.Service {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]control.Service, len(f.services))
	for i, s := range f.services {
		out[i] = s
		out[i].RealServers = append([]control.RealServer(nil), s.RealServers...)
	}
	return out
}

func (f *fake) Conns(_ control.ConnFilter, fn func(control.Conn) bool) {
	for _, c := range f.conns {
		if !fn(c) {
			return
		}
	}
}

func (f *fake) VRRP() control.VRRP {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.vrrp
}

func (f *fake) Sync() (control.Sync, bool) {
	return control.Sync{Name: "lvs1", Address: "10.9.0.1:7946", Secure: true, Ready: true, Sessions: 158_211,
		Peers: []control.SyncPeer{{Name: "lvs2", Address: "10.9.0.2:7946", State: "in sync", LagMS: 3.2,
			Sessions: 158_190,
			Coverage: 100, MatchedSeconds: 4, Repaired: 12, Received: 91_822_110, Rate: 13_400}},
		Missing: []string{"10.9.0.3"}}, true
}

func (f *fake) Health() []control.ServiceHealth {
	f.mu.Lock()
	defer f.mu.Unlock()
	out, now := []control.ServiceHealth{}, f.now
	end := f.now.Add(51 * 24 * time.Hour)
	for i := range f.services[:2] {
		s := &f.services[i]
		h := control.ServiceHealth{Service: s.Name(), Quorum: true}
		for k, r := range s.RealServers {
			c := control.CheckHealth{Type: "https", Target: "https " + s.VIP.String() + " via path",
				Up:    r.State != "down",
				Since: f.started, Answers: 30612, Failures: uint64(3 * k), Last: "ok: status 200", LastAt: &now,
				LatencySeconds: 0.0031 + 0.0004*float64(k), CertExpires: &end}
			if !c.Up {
				c.Since, c.Last, c.CertExpires = f.now.Add(-4*time.Minute), r.Reason, nil
			}
			h.RealServers = append(h.RealServers, control.ServerHealth{Address: r.Address, Up: c.Up,
				Checks: []control.CheckHealth{c}})
		}
		out = append(out, h)
	}
	return out
}

// set changes the services, a while later.
func (f *fake) set(fn func(list []control.Service)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn(f.services)
	f.now = f.now.Add(maxAge)
}

// pass lets time pass, with the traffic of a day on which something happened twenty minutes ago.
func (f *fake) pass(d time.Duration, left time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
	minute := 60 - left.Minutes()
	wave := 1 + 0.28*math.Sin(minute/9) + 0.1*math.Sin(minute/2.3) + 0.05*f.rnd.Float64()
	if minute > 40 && minute < 44 {
		wave *= 1.5 - math.Abs(minute-42)*0.25
	}
	for i := range f.services {
		f.serve(&f.services[i], wave*load[i%len(load)]*(0.96+0.08*f.rnd.Float64()), d.Seconds())
	}
	f.verdicts(wave, minute, d.Seconds())
	busy := 0.31 * wave
	for i := range f.status.Workers {
		w := &f.status.Workers[i]
		share := min(busy*(1+0.1*float64(i)), 0.97)
		w.IdleSeconds += d.Seconds() * (1 - share)
		w.Frames += uint64(240_000 * wave * d.Seconds())
		w.Batches += uint64(11_000 * d.Seconds())
	}
}

// serve counts traffic of a service: conns per second are 4200 at busy 1.
func (f *fake) serve(s *control.Service, busy, seconds float64) {
	up, active := 0, int32(0)
	for i := range s.RealServers {
		if s.RealServers[i].Weight > 0 {
			up += int(s.RealServers[i].Weight)
		}
	}
	add := func(st *control.Stats, r *control.Rates, part float64, nat bool) {
		conns := 4200 * busy * part
		*r = control.Rates{Conns: uint64(conns), InPackets: uint64(conns * 21), InBytes: uint64(conns * 21 * 410)}
		if nat {
			r.OutPackets, r.OutBytes = uint64(conns*26), uint64(conns*26*1180)
		}
		st.Conns += uint64(conns * seconds)
		st.InPackets += uint64(float64(r.InPackets) * seconds)
		st.InBytes += uint64(float64(r.InBytes) * seconds)
		st.OutPackets += uint64(float64(r.OutPackets) * seconds)
		st.OutBytes += uint64(float64(r.OutBytes) * seconds)
	}
	for i := range s.RealServers {
		r := &s.RealServers[i]
		part := 0.0
		if up > 0 && r.Weight > 0 {
			part = float64(r.Weight) / float64(up)
		}
		add(&r.Stats, &r.Rates, part, r.Method == "nat")
		r.Active, r.Inactive = int32(52_000*busy*part), int32(9_000*busy*part)
		active += r.Active
	}
	add(&s.Stats, &s.Rates, 1, len(s.RealServers) > 0 && s.RealServers[0].Method == "nat")
	f.status.Sessions.Active, f.status.Sessions.Inactive = f.sum()
}

func (f *fake) sum() (active, inactive int64) {
	for i := range f.services {
		for k := range f.services[i].RealServers {
			active += int64(f.services[i].RealServers[k].Active)
			inactive += int64(f.services[i].RealServers[k].Inactive)
		}
	}
	return active, inactive
}

func (f *fake) verdicts(wave, minute, seconds float64) {
	rates := []float64{190_000 * wave, 61_000 * wave, 70_000 * wave, 22_000 * wave, 14 + 9*f.rnd.Float64(),
		3 * f.rnd.Float64(),
		0, 2.2 * wave}
	if minute > 38 && minute < 45 {
		rates[6] = 260 * math.Exp(-math.Abs(minute-40))
	}
	for i := range f.status.Verdicts {
		f.status.Verdicts[i].Frames += uint64(rates[i]*seconds + f.rnd.Float64())
	}
}

func fakeServices() []control.Service {
	type rs struct {
		address, method string
		weight          int32
	}
	make1 := func(protocol, vip, scheduler string, servers ...rs) control.Service {
		s := control.Service{Protocol: protocol, VIP: ap(vip), Scheduler: scheduler, Flags: []string{}, State: "up"}
		for i, r := range servers {
			s.RealServers = append(s.RealServers, control.RealServer{Address: ap(r.address), Method: r.method,
				Weight: r.weight, ConfiguredWeight: max(r.weight, 1),
				State: "up", NextHop: &control.NextHop{Address: ap(r.address).Addr(),
					MAC:  fmt.Sprintf("02:00:0a:00:00:%02x", 33+i),
					Port: "eth1", State: "resolved"}})
		}
		return s
	}
	list := []control.Service{
		make1("tcp", "192.0.2.10:443", "wlc", rs{"10.0.0.21:443", "dr", 3}, rs{"10.0.0.22:443", "dr", 3},
			rs{"10.0.0.23:443", "dr", 3}, rs{"10.0.0.24:443", "dr", 2}, rs{"10.0.0.25:443", "dr",
				2}, rs{"10.0.0.26:443", "dr", 2}),
		make1("tcp", "192.0.2.10:80", "rr", rs{"10.0.0.21:80", "dr", 1}, rs{"10.0.0.22:80", "dr", 1},
			rs{"10.0.0.23:80", "dr", 0},
			rs{"10.0.0.24:80", "dr", 1}),
		make1("udp", "192.0.2.53:53", "rr", rs{"10.0.1.21:53", "tun", 1}, rs{"10.0.1.22:53", "tun", 1},
			rs{"10.0.1.23:53", "tun", 1}),
		make1("tcp", "192.0.2.11:3306", "sh", rs{"10.0.2.21:3306", "nat", 1}, rs{"10.0.2.22:3306", "nat", 1}),
		make1("tcp", "192.0.2.12:8080", "wlc", rs{"10.0.3.21:8080", "dr", 0}, rs{"10.0.3.22:8080", "dr", 0}),
		make1("tcp", "[2001:db8::10]:443", "mh", rs{"[2001:db8:1::21]:443", "dr", 1}, rs{"[2001:db8:1::22]:443", "dr",
			1}),
		make1("udp", "192.0.2.14:514", "wrr", rs{"10.0.4.21:514", "dr", 4}, rs{"10.0.4.22:514", "dr", 1}),
	}
	list[1].PersistenceSeconds, list[3].Flags = 50, []string{"sh-fallback", "sh-port"}
	list[2].OnePacket = true
	down := &list[1].RealServers[2]
	down.State, down.Reason = "down", "real server answers on its own address but not on the VIP: lo:0 missing?"
	for i := range list[4].RealServers {
		list[4].RealServers[i].State, list[4].RealServers[i].Reason = "down", "connect: connection refused, 4 times"
	}
	list[4].State = "quorum_lost"
	list[6].RealServers[1].State = "draining"
	list[6].RealServers[1].Weight = 0
	return list
}

func fakeStatus() control.Status {
	st := control.Status{
		Name: "lvs1", PID: 4711, Version: "v0.4.0", ConfigPath: "/etc/ulvs/ulvs.toml", Generation: 218,
		Sessions: control.Sessions{Templates: 4210, SizeHint: 1 << 20, Bytes: 171 << 20, Grown: 1},
		Routing:  control.Routing{Links: 4, Routes: 12, Neighbours: 31, NextHops: 21},
		Verdicts: []control.Verdict{{Name: "tx_dr"}, {Name: "tx_tun"}, {Name: "tx_nat"}, {Name: "tx_nat_reply"},
			{Name: "drop_no_service", Drop: true}, {Name: "bad_ip_checksum",
				Drop: true}, {Name: "drop_no_destination", Drop: true},
			{Name: "drop_ttl", Drop: true}},
	}
	for i := range 4 {
		st.Workers = append(st.Workers, control.WorkerStatus{ID: i, CPU: i + 2, Queue: i, Ports: []string{"eth0",
			"eth1"},
			IO: "afxdp", Generation: 218, IdleFraction: 0.66 - 0.03*float64(i), Frames: 41e9, Batches: 2e9})
	}
	for i, name := range []string{"eth0", "eth1"} {
		st.Ports = append(st.Ports, control.PortStatus{Name: name, MAC: fmt.Sprintf("02:00:00:00:00:0%d", i+1),
			MTU:    1500,
			LinkUp: true, Queues: 4, XDPMode: "native", CopyMode: "zerocopy", RXFrames: 41_238_917_204, TXFrames: 41_201_330_111,
			TXFull: 12, SteeredFrames: 41_238_917_216, PassedFrames: 822_917})
	}
	return st
}

func fakeConns() (list []control.Conn) {
	states := []string{"ESTABLISHED", "ESTABLISHED", "ESTABLISHED", "FIN_WAIT", "SYN_RECV", "TIME_WAIT"}
	for i := range 250 {
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), uint16(40000+17*i))
		c := control.Conn{Protocol: "tcp", State: states[i%len(states)], ExpiresSeconds: int64(893 - 3*i),
			Client: client,
			VIP:    ap("192.0.2.10:443"), RealServer: ap(fmt.Sprintf("10.0.0.%d:443", 21+i%6)), Flags: []string{}}
		if i%9 == 4 {
			c = control.Conn{Protocol: "udp", State: "UDP", ExpiresSeconds: 299, Client: client,
				VIP:        ap("192.0.2.53:53"),
				RealServer: ap("10.0.1.22:53"), Flags: []string{"tun"}}
		}
		list = append(list, c)
	}
	return list
}

// story is what the journal tells of the last hour.
func (f *fake) story() {
	tell := func(ago time.Duration, e events.Event) {
		e.Time = f.clock().Add(-ago)
		f.journal.Add(e)
	}
	const m, s = time.Minute, "tcp 192.0.2.10:80"
	tell(51*time.Hour, events.Event{Kind: events.Started, Count: 7})
	tell(58*m, events.Event{Kind: events.ConfigReloaded, Count: 3})
	tell(44*m, events.Event{Kind: events.ServerDown, Service: "tcp 192.0.2.10:443", RealServer: "10.0.0.24:443",
		From: "up",
		To:   "down", Reason: "connect: timed out after 5s, 4 times"})
	tell(41*m, events.Event{Kind: events.ServerUp, Service: "tcp 192.0.2.10:443", RealServer: "10.0.0.24:443",
		From: "down",
		To:   "up"})
	tell(33*m, events.Event{Kind: events.VRRPTransition, Instance: "VI_2", From: "MASTER", To: "BACKUP", Count: 80,
		Reason: "a higher priority was heard"})
	tell(20*m, events.Event{Kind: events.ServerDown, Service: "tcp 192.0.2.12:8080", RealServer: "10.0.3.21:8080",
		From: "up",
		To:   "down", Reason: "connect: connection refused, 4 times"})
	tell(20*m-3*time.Second, events.Event{Kind: events.ServerDown, Service: "tcp 192.0.2.12:8080",
		RealServer: "10.0.3.22:8080", From: "up", To: "down", Reason: "connect: connection refused, 4 times"})
	tell(20*m-3*time.Second, events.Event{Kind: events.QuorumDown, Service: "tcp 192.0.2.12:8080", Reason: "0 of 1"})
	tell(9*m, events.Event{Kind: events.ServerDraining, Service: "udp 192.0.2.14:514", RealServer: "10.0.4.22:514",
		Count: 31})
	tell(4*m, events.Event{Kind: events.ServerDown, Service: s, RealServer: "10.0.0.23:80", From: "up", To: "down",
		Reason: "real server answers on its own address but not on the VIP: lo:0 missing?"})
	tell(2*m, events.Event{Kind: events.ConfigEdited, Service: s, RealServer: "10.0.0.24:80", To: "weight 1",
		Reason: "edited by hand"})
}

// newBed returns a dashboard with an hour of history.
func newBed(end time.Time) (*Dashboard, *fake) {
	f := newFake(end)
	d := New(Options{Backend: f, Journal: f.journal, Hosts: []string{"lvs1.example.com"}, Clock: f.clock})
	for i := range Points + 1 {
		f.pass(Step, time.Hour-time.Duration(i)*Step)
		d.Sample()
	}
	f.story()
	return d, f
}
