package top

import (
	"time"

	"ulvs/control"
)

// sample is what the director said at one moment.
type sample struct {
	at       time.Time
	status   control.Status
	services []control.Service
}

// rates are per second.
type rates struct{ conns, inPackets, outPackets, inBytes, outBytes float64 }

func (r *rates) add(o rates) {
	r.conns += o.conns
	r.inPackets += o.inPackets
	r.outPackets += o.outPackets
	r.inBytes += o.inBytes
	r.outBytes += o.outBytes
}

// view is a sample with what happened since the one before.
type view struct {
	sample
	services map[string]rates // by name; of real servers by name and address
	total    rates
	verdicts map[string]float64
	busy     []float64 // of workers, 0 to 1
}

func serverName(service string, r *control.RealServer) string {
	return service + " " + r.Address.String()
}

// compare makes a view. Without an earlier sample, or for what is not in it, rates are the director's own,
// which are averages of some seconds; of verdicts and workers there are none yet.
func compare(before *sample, now sample) *view {
	v := &view{sample: now, services: map[string]rates{}, verdicts: map[string]float64{},
		busy: make([]float64, len(now.status.Workers))}
	elapsed, old := 0.0, map[string]control.Stats{}
	if before != nil && now.status.StartedAt.Equal(before.status.StartedAt) {
		elapsed = now.at.Sub(before.at).Seconds()
		old = before.stats()
	}
	for i := range now.services {
		s := &now.services[i]
		name := s.Name()
		v.services[name] = ratesOf(old, name, &s.Stats, &s.Rates, elapsed)
		v.total.add(v.services[name])
		for k := range s.RealServers {
			r := &s.RealServers[k]
			v.services[serverName(name, r)] = ratesOf(old, serverName(name, r), &r.Stats, &r.Rates, elapsed)
		}
	}
	if elapsed > 0 {
		v.compareStatus(&before.status, elapsed)
	}
	return v
}

func (s *sample) stats() map[string]control.Stats {
	out := map[string]control.Stats{}
	for i := range s.services {
		svc := &s.services[i]
		out[svc.Name()] = svc.Stats
		for k := range svc.RealServers {
			out[serverName(svc.Name(), &svc.RealServers[k])] = svc.RealServers[k].Stats
		}
	}
	return out
}

func ratesOf(old map[string]control.Stats, name string, now *control.Stats, own *control.Rates,
	elapsed float64) rates {
	before, known := old[name]
	if !known || elapsed <= 0 {
		return rates{float64(own.Conns), float64(own.InPackets), float64(own.OutPackets), float64(own.InBytes),
			float64(own.OutBytes)}
	}
	per := func(before, now uint64) float64 {
		if now < before { // ipvsadm -Z
			before = 0
		}
		return float64(now-before) / elapsed
	}
	return rates{per(before.Conns, now.Conns), per(before.InPackets, now.InPackets),
		per(before.OutPackets, now.OutPackets), per(before.InBytes, now.InBytes), per(before.OutBytes, now.OutBytes)}
}

func (v *view) compareStatus(before *control.Status, elapsed float64) {
	frames := map[string]uint64{}
	for _, o := range before.Verdicts {
		frames[o.Name] = o.Frames
	}
	for _, n := range v.status.Verdicts {
		if n.Frames >= frames[n.Name] {
			v.verdicts[n.Name] = float64(n.Frames-frames[n.Name]) / elapsed
		}
	}
	for i := range min(len(v.busy), len(before.Workers)) {
		idle := v.status.Workers[i].IdleSeconds - before.Workers[i].IdleSeconds
		v.busy[i] = min(max(1-idle/elapsed, 0), 1)
	}
}
