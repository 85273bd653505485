package dataplane

import (
	"net/netip"

	"ulvs/lvs"
	"ulvs/packet"
)

// MarkRule gives packets a firewall mark, as nftables would before IPVS sees them. Zero fields
// match everything.
type MarkRule struct {
	Mark     uint32 // not 0
	Port     int    // index of the interface it arrived on, plus one; 0: any
	Src, Dst netip.Prefix
	Proto    uint8
	DstPorts [2]uint16 // first and last destination port
}

// matches reports whether the rule is about the packet.
func (r *MarkRule) matches(f *packet.Frame, p *packet.Parsed) bool {
	if r.Port != 0 && r.Port != int(f.Port)+1 || r.Proto != 0 && r.Proto != p.Proto {
		return false
	}
	if r.Src.IsValid() && !r.Src.Contains(p.Src()) || r.Dst.IsValid() && !r.Dst.Contains(p.Dst()) {
		return false
	}
	port := packet.WirePort(uint16(p.L4 >> 16)) // the same swap leads back to host order
	return r.DstPorts == [2]uint16{} || port >= r.DstPorts[0] && port <= r.DstPorts[1]
}

// mark returns the packet's mark, 0 for none: the first rule that matches.
func (w *Worker) mark(f *packet.Frame, p *packet.Parsed) uint32 {
	for i := range w.snap.Marks {
		if r := &w.snap.Marks[i]; r.matches(f, p) {
			return r.Mark
		}
	}
	return 0
}

// service finds the packet's service in IPVS's order (ip_vs_service_find): by mark, by address and
// port, then any port of the address. 0 if there is none.
func (w *Worker) service(f *packet.Frame, p *packet.Parsed) lvs.ServiceID {
	if len(w.snap.Marks) > 0 {
		if m := w.mark(f, p); m != 0 {
			if id := w.snap.markService(m, p.V6()); id != 0 {
				return id
			}
		}
	}
	if p.V6() {
		return w.snap.service6(&p.Addr, p.L4)
	}
	return w.snap.service4(p.Addr[0], p.L4)
}
