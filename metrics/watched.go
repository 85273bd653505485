package metrics

import (
	"maps"
	"slices"

	"ulvs/control"
)

// vrrpStates are all that an instance can be in: each has a series, so that a change is seen as one.
var vrrpStates = []string{"INIT", "BACKUP", "MASTER", "FAULT", "STOP"}

// health emits services that are checked, and the checks of the first ones until limit real servers are used up.
func (w *writer) health(list []control.ServiceHealth, limit int) {
	for i := range list {
		s := &list[i]
		w.flag(w.quorum, s.Quorum, s.Service)
		if len(s.RealServers) > limit {
			continue
		}
		limit -= len(s.RealServers)
		for k := range s.RealServers {
			w.checks(&s.RealServers[k], s.Service)
		}
	}
}

// checks emits the checks of a real server, those of one type together: nothing but order tells them apart.
func (w *writer) checks(r *control.ServerHealth, service string) {
	byType := map[string][]control.CheckHealth{}
	for _, c := range r.Checks {
		byType[c.Type] = append(byType[c.Type], c)
	}
	for _, kind := range slices.Sorted(maps.Keys(byType)) {
		labels := []string{service, r.Address.String(), kind}
		up, answers, failures, latency := true, uint64(0), uint64(0), 0.0
		first := int64(0)
		for _, c := range byType[kind] {
			up = up && c.Up
			answers += c.Answers
			failures += c.Failures
			latency = max(latency, c.LatencySeconds)
			if c.CertExpires != nil && (first == 0 || c.CertExpires.Unix() < first) {
				first = c.CertExpires.Unix()
			}
		}
		w.flag(w.checkUp, up, labels...)
		w.count(w.checkAnswers, answers, labels...)
		w.count(w.checkFailures, failures, labels...)
		w.put(w.checkLatency, latency, labels...)
		if first != 0 {
			w.put(w.certExpires, float64(first), labels...)
		}
	}
}

func (w *writer) vrrp(v control.VRRP) {
	for i := range v.Instances {
		in := &v.Instances[i]
		for _, state := range vrrpStates {
			w.flag(w.vrrpState, in.State == state, in.Name, state)
		}
		w.put(w.vrrpPriority, float64(in.EffectivePriority), in.Name)
		w.put(w.vrrpMasters, float64(in.Masters), in.Name)
		w.flag(w.vrrpAlarm, in.Alarm != "", in.Name)
	}
	for reason, n := range v.Rejected {
		w.count(w.vrrpRejected, n, reason)
	}
}

func (w *writer) sync(s *control.Sync) {
	w.kernels(s.IPVS)
	if s.Address == "" {
		return // there are no other directors of ours
	}
	w.flag(w.syncReady, s.Ready)
	w.put(w.syncSessions, float64(s.Sessions))
	w.put(w.syncPeers, float64(len(s.Peers)))
	w.put(w.syncMissing, float64(len(s.Missing)))
	w.count(w.syncSent, s.SentRecords)
	w.count(w.syncResent, s.Resent)
	w.count(w.syncLost, s.Lost)
	w.count(w.syncDropped, s.DroppedRecords)
	w.count(w.syncReaped, s.Reaped)
	for reason, n := range s.Rejected {
		w.count(w.syncRejected, n, reason)
	}
	for i := range s.Peers {
		p := &s.Peers[i]
		if p.MatchedSeconds >= 0 {
			w.put(w.peerMatched, p.MatchedSeconds, p.Name)
		}
		w.put(w.peerDiffering, float64(p.Differing), p.Name)
		w.put(w.peerRate, p.Rate, p.Name)
		w.put(w.peerNotes, float64(len(p.Notes)), p.Name)
		w.flag(w.peerSynced, p.State == "in sync", p.Name)
		w.put(w.peerLag, p.LagMS/1000, p.Name)
		w.put(w.peerCoverage, p.Coverage/100, p.Name)
		w.put(w.peerSessions, float64(p.Sessions), p.Name)
		w.count(w.peerReceived, p.Received, p.Name)
		w.count(w.peerRepaired, p.Repaired, p.Name)
	}
}

// kernels are the daemons that speak IPVS's own sync protocol.
func (w *writer) kernels(daemons []control.IPVSDaemon) {
	for i := range daemons {
		d := &daemons[i]
		w.count(w.ipvsMessages, d.Messages, d.Role)
		w.count(w.ipvsConns, d.Conns, d.Role)
		w.count(w.ipvsFailed, d.Failed, d.Role)
		for reason, n := range d.Rejected {
			w.count(w.ipvsRejected, n, d.Role, reason)
		}
	}
}
