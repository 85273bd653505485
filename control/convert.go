package control

import "ulvs/lvs"

// ServiceOf describes a service of a snapshot, with the sessions of its real servers, as if nothing but configuration
// mattered. States, stats and next hops are the director's to add; real servers are in the snapshot's order.
func ServiceOf(s *lvs.Service) Service {
	out := Service{
		Protocol:           lvs.ProtoName(s.Key.Proto),
		VIP:                s.Key.AddrPort(),
		Scheduler:          s.Scheduler,
		Flags:              FlagWords(s.Scheduler, s.SchedFlags),
		PersistenceSeconds: int64(s.Persistence.Seconds()),
		PersistenceBits:    int(s.PersistBits),
		OnePacket:          s.OnePacket,
		State:              StateUp,
		RealServers:        make([]RealServer, len(s.Destinations)),
	}
	if s.PersistWild != 0 {
		out.PersistenceMask = lvs.DottedMask4(s.ClientMask4())
	}
	if s.Key.Mark != 0 {
		out.Protocol, out.Mark = "fwm", s.Key.Mark
	}
	for i := range s.Destinations {
		out.RealServers[i] = RealServerOf(&s.Destinations[i])
	}
	return out
}

// RealServerOf describes a destination in the same way.
func RealServerOf(d *lvs.Destination) RealServer {
	r := RealServer{
		Address: d.AddrPort(), Method: d.Method.String(), Weight: d.Weight, State: StateUp,
		ConfiguredWeight: d.Weight,
		UpperThreshold:   d.Upper, LowerThreshold: d.Lower,
	}
	if d.Method == lvs.MethodTUN {
		r.Tunnel = tunnelWord(d.Tunnel.Type)
	}
	if l := d.Load; l != nil {
		r.Active, r.Inactive, r.Persistent, r.Overloaded = l.Active(), l.Inactive(), l.Persist(), l.Overloaded()
	}
	return r
}

func tunnelWord(t lvs.TunnelType) string {
	switch t {
	case lvs.TunnelIPIP:
		return "ipip"
	case lvs.TunnelGUE:
		return "gue"
	case lvs.TunnelGRE:
		return "gre"
	}
	return "unknown"
}

// FlagWords returns the words of ipvsadm for scheduler flags, in its order. Never nil.
func FlagWords(scheduler string, flags lvs.SchedFlags) []string {
	names := [3]string{"flag-1", "flag-2", "flag-3"}
	if scheduler == "sh" || scheduler == "mh" {
		names[0], names[1] = scheduler+"-fallback", scheduler+"-port"
	}
	words := []string{}
	for bit, name := range names {
		if flags&(1<<bit) != 0 {
			words = append(words, name)
		}
	}
	return words
}
