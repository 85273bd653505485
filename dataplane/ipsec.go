package dataplane

import (
	"ulvs/conntrack"
	"ulvs/packet"
)

// portIKE is the port of the key exchange that AH and ESP packets follow.
const portIKE = 500

// ikeKey is the key of the session of the key exchange between the ends of an AH or ESP packet: UDP, port
// 500 on both sides, whichever way it goes (ah_esp_conn_fill_param_proto in ip_vs_proto_ah_esp.c).
func ikeKey(p *packet.Parsed) conntrack.Key {
	port := uint64(packet.WirePort(portIKE))
	return conntrack.Key{Addr: p.Addr, L4: port | port<<16 | packet.ProtoUDP<<32, V6: p.V6()}
}

// isIPsec reports whether the packet is AH or ESP, which have sessions of the key exchange only.
func isIPsec(p *packet.Parsed) bool { return p.Proto == packet.ProtoESP || p.Proto == packet.ProtoAH }

// ipsec sends an AH or ESP packet where its key exchange went. It starts no session itself: one that has
// none is answered like every other protocol that nobody here speaks, or routed on if it is not for a VIP.
func (w *Worker) ipsec(f *packet.Frame, p *packet.Parsed) Verdict {
	key := ikeKey(p)
	if ref := w.conns.FindKey(&key); ref != 0 {
		if s := w.session(ref); s.meta.Live() && !s.e.Expired(w.now) {
			if ref.Reply() {
				return w.reply(f, p, s.e)
			}
			return w.request(f, p, s)
		}
	}
	if !w.snap.VIPs[p.Dst()] {
		return w.stray(f, p)
	}
	return w.protocolUnreachable(f, p)
}
