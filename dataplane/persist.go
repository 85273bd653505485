package dataplane

import (
	"encoding/binary"
	"math/bits"

	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

// pickPersistent follows the client's template, or schedules and makes one
// (ip_vs_sched_persist). A template that may not be followed any more is replaced.
func (w *Worker) pickPersistent(p *packet.Parsed, svc *Service) (lvs.DestID, conntrack.Ref) {
	key := templateKey(p, svc.Config)
	if ref := w.conns.FindKey(&key); ref != 0 {
		e := w.table.Entry(ref)
		switch {
		case e.Expired(w.now) && w.Expired(ref, e):
			w.expire(ref, e)
		case !w.usable(e):
			w.conns.Unlink(ref.Conn()) // it waits for its time where nobody finds it, sessions or not
		default:
			w.follow(e, svc)
			return lvs.DestID(e.Dest()), ref
		}
	}
	id := w.pickNew(p, svc)
	d := w.dest(uint32(id))
	if d == nil {
		return 0, 0
	}
	spec := conntrack.Spec{
		Key: key, Dest: uint32(id), Service: uint32(svc.Config.ID), DestAddr: d.Addr,
		State: conntrack.TemplateNone, Flags: conntrack.FlagTemplate, Timeout: svc.Persist,
	}
	if !anyPort(svc.Config) {
		spec.DestPort = d.Port
	}
	ref, result := w.conns.Insert(&spec, w.now)
	switch result {
	case conntrack.Inserted:
		d.Load.BindTemplate()
		if w.log != nil {
			w.tell(w.table.Entry(ref), conntrack.TemplateNone, true)
		}
	case conntrack.Exists: // another worker was faster: its choice holds
		id = lvs.DestID(w.table.Entry(ref).Dest())
	case conntrack.Full:
		return id, 0
	}
	return id, ref
}

// follow restarts a template's timer. The kernel does so with what the template was last given, which is 60 s once
// it outlived its time for its sessions' sake; where directors take over from each other it is what is configured.
func (w *Worker) follow(e *conntrack.Entry, svc *Service) {
	if w.log == nil {
		e.Touch(w.now, e.Timeout())
		return
	}
	e.Touch(w.now, svc.Persist)
	w.tell(e, e.State(), false)
}

// usable reports whether a template may be followed (ip_vs_check_template): its destination is configured,
// and not quiesced where expire_quiescent_template says so. One that failed or is being drained is no good to
// a new session, whatever the settings.
func (w *Worker) usable(template *conntrack.Entry) bool {
	d := w.dest(template.Dest())
	return d != nil && !d.Removed && !d.Shunned && (!d.Quiesced || w.snap.Settings.ExpireQuiescentTemplate == 0)
}

// anyPort reports whether a template of the service is for all ports of the real server: those of marks, of
// port 0, and of FTP, whose data connections come on others.
func anyPort(svc *lvs.Service) bool {
	return svc.Key.Mark != 0 || svc.Key.Port == 0 || svc.Key.Port == portFTP
}

const portFTP = 21

// persistPort is the port of the real server for a session of a persistent service, in wire order: the packet's
// own, unless it is the service's and maps to the real server's.
func persistPort(p *packet.Parsed, svc *lvs.Service, d *Dest) uint16 {
	port := uint16(p.L4 >> 16)
	if port == packet.WirePort(svc.Key.Port) && d.Port != 0 {
		return d.Port
	}
	return port
}

// templateKey is {proto, client masked, 0 -> VIP, port}, and {0, client masked, 0 -> mark, 0} for the service of
// a mark, whose VIP is the mark written as an address.
func templateKey(p *packet.Parsed, svc *lvs.Service) conntrack.Key {
	k := flowKey(p)
	k.L4 &^= 0xffff_ffff
	if !anyPort(svc) {
		k.L4 |= uint64(packet.WirePort(svc.Key.Port)) << 16
	}
	if svc.Key.Mark != 0 {
		k.L4 = 0
		mark := uint64(bits.ReverseBytes32(svc.Key.Mark))
		if k.V6 {
			k.Addr[2], k.Addr[3] = mark, 0
		} else {
			k.Addr[0] = k.Addr[0]&0xffff_ffff | mark<<32
		}
	}
	if !svc.MasksClients() {
		return k
	}
	if !k.V6 {
		k.Addr[0] &= uint64(bits.ReverseBytes32(svc.ClientMask4())) | 0xffff_ffff<<32
		return k
	}
	hi, lo := maskWire6(svc.PersistBits)
	k.Addr[0] &= hi
	k.Addr[1] &= lo
	return k
}

// maskWire6 is the netmask of a prefix length as little-endian loads of its wire bytes.
func maskWire6(bits uint8) (first, second uint64) {
	var b [16]byte
	binary.BigEndian.PutUint64(b[0:], ^uint64(0)<<(64-min(bits, 64)))
	if bits > 64 {
		binary.BigEndian.PutUint64(b[8:], ^uint64(0)<<(128-min(bits, 128)))
	}
	return binary.LittleEndian.Uint64(b[0:]), binary.LittleEndian.Uint64(b[8:])
}
