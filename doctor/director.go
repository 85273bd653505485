package doctor

import (
	"fmt"
	"strings"

	"ulvs/control"
	"ulvs/health"
)

// syncing judges the replication of sessions as the director tells it.
func syncing(p *Patient) (found []Finding) {
	s := p.Facts.Sync
	if s == nil {
		return nil
	}
	for _, name := range s.Missing {
		found = append(found, find(codePeer, name, "it is configured as a peer, and not there"))
	}
	for i := range s.Peers {
		found = append(found, syncPeer(s, &s.Peers[i])...)
	}
	for reason, n := range s.Rejected {
		if strings.Contains(reason, "seal") || strings.Contains(reason, "key") {
			found = append(found, find(codePeer, "key_file", "%d datagrams are sealed with another key (%s)", n, reason))
		}
	}
	return found
}

// syncPeer judges one of the other directors.
func syncPeer(s *control.Sync, peer *control.SyncPeer) (found []Finding) {
	switch {
	case peer.State != inSync:
		found = append(found, find(codeBehind, peer.Name, "it is %s: %.1f%% of its %d sessions are here, lag %.0f ms",
			peer.State, peer.Coverage, peer.Sessions, peer.LagMS))
	case peer.LagMS > lagLimit:
		found = append(found, find(codeBehind, peer.Name, "it has not acknowledged what is %.0f ms old", peer.LagMS))
	case !s.Ready && len(s.Peers) == 1:
		found = append(found, find(codeBehind, peer.Name, "it tells nothing of its sessions any more, although it is there"))
	case !s.Ready:
		found = append(found, find(codeBehind, s.Name, "one of its peers tells nothing of its sessions any more"))
	}
	if peer.Configuration == control.OtherConfiguration {
		found = append(found, find(codeDrift, peer.Name, "its services are configured otherwise than those of %s", s.Name))
	}
	return found
}

// lagLimit is how late acknowledgements may be, in milliseconds: well beyond what a busy network takes.
const lagLimit = 1000

// inSync is control.SyncPeer's word for all is well.
const inSync = "in sync"

// reasonCodes are what the director's own checks down the real path have found already.
var reasonCodes = map[health.Reason]string{
	health.ReasonVIP: codeVIPMissing, health.ReasonTunnel: codeDecap, health.ReasonGateway: codeGateway,
}

// checks turns what the director's checks found into findings.
func checks(p *Patient) (found []Finding) {
	for i := range p.Facts.Health {
		s := &p.Facts.Health[i]
		for k := range s.RealServers {
			if r := &s.RealServers[k]; !r.Up {
				found = append(found, checkFinding(s.Service, r))
			}
		}
	}
	return found
}

func checkFinding(service string, r *control.ServerHealth) Finding {
	vip := service
	if _, after, found := strings.Cut(service, " "); found {
		vip = after
	}
	for reason, code := range reasonCodes {
		if strings.HasPrefix(r.Reason, string(reason)) {
			return find(code, r.Address.Addr().String(), "%s", what(code, vip))
		}
	}
	return find(codeDown, fmt.Sprint(r.Address), "%s: %s", service, r.Reason)
}

// what words a fault of a real server the same way, whoever found it.
func what(code, vip string) string {
	switch code {
	case codeVIPMissing:
		return "it answers on its own address, not as " + vip
	case codeDecap:
		return "it answers on its own address, not as " + vip + " through the tunnel"
	case codeGateway:
		return "it answers the director, and not clients from elsewhere through it (" + vip + ")"
	}
	return ""
}
