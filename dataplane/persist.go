package dataplane

import (
	"encoding/binary"

	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

// pickPersistent follows the client's template, or schedules and makes one
// (ip_vs_sched_persist). A template whose destination left is replaced.
func (w *Worker) pickPersistent(p *packet.Parsed, svc *Service) (lvs.DestID, conntrack.Ref) {
	key := templateKey(p, svc.Config)
	if ref := w.conns.FindKey(&key); ref != 0 {
		e := w.table.Entry(ref)
		if e.Expired(w.now) && w.Expired(ref, e) || !w.usable(e) {
			w.expire(ref, e)
		} else {
			e.Touch(w.now, e.Timeout())
			return lvs.DestID(e.Dest()), ref
		}
	}
	id := w.pickNew(p, svc)
	d := w.dest(uint32(id))
	if d == nil {
		return 0, 0
	}
	spec := conntrack.Spec{
		Key: key, Dest: uint32(id), Service: uint32(svc.Config.ID), DestAddr: d.Addr, DestPort: d.Port,
		Flags: conntrack.FlagTemplate, Timeout: svc.Persist,
	}
	ref, result := w.conns.Insert(&spec, w.now)
	switch result {
	case conntrack.Inserted:
		d.Load.BindTemplate()
	case conntrack.Exists: // another worker was faster: its choice holds
		id = lvs.DestID(w.table.Entry(ref).Dest())
	case conntrack.Full:
		return id, 0
	}
	return id, ref
}

// usable reports whether a template may still be followed: its destination is configured.
// A quiesced one is (expire_quiescent_template is off by default).
func (w *Worker) usable(template *conntrack.Entry) bool {
	d := w.dest(template.Dest())
	return d != nil && !d.Removed
}

// templateKey is {proto, client masked, 0 -> VIP, port of the service}.
func templateKey(p *packet.Parsed, svc *lvs.Service) conntrack.Key {
	k := flowKey(p)
	k.L4 = k.L4&^uint64(0xffff_ffff) | uint64(packet.WirePort(svc.Key.Port))<<16
	if svc.PersistBits == 0 {
		return k
	}
	if !k.V6 {
		k.Addr[0] &= uint64(maskWire4(svc.PersistBits)) | 0xffff_ffff<<32
		return k
	}
	hi, lo := maskWire6(svc.PersistBits)
	k.Addr[0] &= hi
	k.Addr[1] &= lo
	return k
}

// maskWire4 is the netmask of a prefix length as a little-endian load of its wire bytes.
func maskWire4(bits uint8) uint32 {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], ^uint32(0)<<(32-min(bits, 32)))
	return binary.LittleEndian.Uint32(b[:])
}

func maskWire6(bits uint8) (first, second uint64) {
	var b [16]byte
	binary.BigEndian.PutUint64(b[0:], ^uint64(0)<<(64-min(bits, 64)))
	if bits > 64 {
		binary.BigEndian.PutUint64(b[8:], ^uint64(0)<<(128-min(bits, 128)))
	}
	return binary.LittleEndian.Uint64(b[0:]), binary.LittleEndian.Uint64(b[8:])
}
