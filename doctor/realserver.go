package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ulvs/lvs"
)

// maxServers bounds the real servers that are asked: each costs some frames.
const maxServers = 256

// elsewhere is RFC 7600's dummy address, which no host has: NAT real servers must answer it by the director.
// Of IPv6 it is one of the discard prefix (RFC 6666).
func elsewhere(v4 bool) netip.Addr {
	if v4 {
		return netip.AddrFrom4([4]byte{192, 0, 0, 8})
	}
	return netip.AddrFrom16([16]byte{0: 1, 15: 8})
}

// service is a service of a real server, as it is asked for.
type service struct {
	vip  netip.AddrPort
	tcp  bool
	dest lvs.Destination
}

const protoTCP = uint8(layers.IPProtocolTCP)

// servers returns the real servers of the configuration with their services, those that clients may reach.
func (p *Patient) servers() (order []netip.Addr, of map[netip.Addr][]service) {
	of = map[netip.Addr][]service{}
	if p.Config == nil {
		return nil, of
	}
	for _, s := range p.Config.Services() {
		if s.Key.Mark != 0 {
			continue
		}
		for _, d := range s.Destinations {
			if d.Addr.IsLoopback() {
				continue
			}
			if of[d.Addr] == nil {
				order = append(order, d.Addr)
			}
			of[d.Addr] = append(of[d.Addr], service{s.Key.AddrPort(), s.Key.Proto == protoTCP, d})
		}
	}
	return order, of
}

// realServers asks each one: is it there, does it serve, and does it do its part of the method?
func realServers(ctx context.Context, p *Patient) (found []Finding, err error) {
	order, of := p.servers()
	if p.Network == nil || len(order) == 0 {
		return nil, nil
	}
	if len(order) > maxServers {
		err = fmt.Errorf("%d of %d real servers were not asked", len(order)-maxServers, len(order))
		order = order[:maxServers]
	}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for _, addr := range order {
		wait.Go(func() {
			got, askErr := p.server(ctx, addr, of[addr])
			mu.Lock()
			defer mu.Unlock()
			found = append(found, got...)
			err = errors.Join(err, askErr)
		})
	}
	wait.Wait()
	return found, err
}

// server examines one real server.
func (p *Patient) server(ctx context.Context, addr netip.Addr, list []service) (found []Finding, err error) {
	w, err := p.Network.way(addr)
	switch {
	case errors.Is(err, errOurs):
		return nil, nil // served by this host
	case err != nil:
		return nil, err
	}
	if w.gateway.IsValid() {
		for _, s := range list {
			if s.dest.Method == lvs.MethodDR {
				found = append(found, find(codeSegment, addr.String(), "frames to it go by the gateway %s, so that DR's never "+
					"arrive with the VIP", w.gateway))
				break
			}
		}
		list = slices.DeleteFunc(list, func(s service) bool { return s.dest.Method == lvs.MethodDR })
	}
	mac, err := w.resolve(ctx, w.hop(addr))
	if err != nil || ctx.Err() != nil {
		return found, err
	}
	if mac == nil {
		return append(found, find(codeSilent, addr.String(), "%s does not answer %s on %s", w.hop(addr), neighbourWord(addr),
			w.ifi.Name)), nil
	}
	got, err := p.services(ctx, &visit{w, mac, addr}, list)
	return append(found, got...), err
}

// resolve asks for a neighbour's MAC address; nil if nobody answers.
func (w *way) resolve(ctx context.Context, addr netip.Addr) (mac net.HardwareAddr, err error) {
	request, err := neighbourRequest(w, addr)
	if err != nil {
		return nil, err
	}
	frame, err := w.ask(ctx, func(frame []byte) bool { return neighbourAnswer(frame, addr) != nil }, request)
	if frame == nil {
		return nil, err
	}
	return neighbourAnswer(frame, addr), nil
}

// neighbourWord is what an address is resolved by.
func neighbourWord(a netip.Addr) string {
	if a.Is4() {
		return "ARP"
	}
	return "neighbour solicitations"
}

// visit is a real server that can be asked.
type visit struct {
	*way
	mac  net.HardwareAddr
	addr netip.Addr
}

// services asks each service on the server's own address, then the way clients do.
func (p *Patient) services(ctx context.Context, v *visit, list []service) (found []Finding, err error) {
	asked := map[string]bool{}
	for _, s := range list {
		port := s.dest.Port
		if !s.tcp {
			port = 0
		}
		own, ownErr := v.question(ctx, newFlow(v.source, v.addr, port))
		if err = errors.Join(err, ownErr); ownErr != nil || ctx.Err() != nil {
			return found, err
		}
		if own.partial {
			found = append(found, find(codeChecksum, v.addr.String(), "its answer from port %d has the checksum of the pseudo "+
				"header alone", port))
		}
		if f := down(v.addr, s, own); f != nil {
			found = append(found, *f)
			continue
		}
		if s.vip.Addr().Is4() != v.addr.Is4() && s.dest.Method != lvs.MethodTUN {
			continue // no such service
		}
		key := fmt.Sprint(s.dest.Method, s.vip.Addr(), s.dest.Tunnel)
		if !own.echo && !own.open || asked[key] || p.passive(s.dest.Method) {
			continue
		}
		asked[key] = true
		f, pathErr := v.path(ctx, s)
		if err = errors.Join(err, pathErr); f != nil {
			found = append(found, *f)
		}
	}
	return found, err
}

// passive reports whether answers go to another director: those of NAT go to the one that has the gateway's address.
func (p *Patient) passive(m lvs.Method) bool {
	if m != lvs.MethodNAT || len(p.Config.Takeover.Instances) == 0 {
		return false
	}
	if v := p.Facts.VRRP; v != nil {
		return slices.ContainsFunc(v.Instances, masterElsewhere)
	}
	return true
}

// down judges the answers on the server's own address. A host that answers nothing may drop echoes: only TCP's port
// tells.
func down(addr netip.Addr, s service, r reply) *Finding {
	at := netip.AddrPortFrom(addr, s.dest.Port)
	switch {
	case !s.tcp, r.open:
		return nil
	case r.refused:
		f := find(codeDown, at.String(), "it refuses connections")
		return &f
	case r.echo:
		f := find(codeDown, at.String(), "the host answers echoes, its port does not")
		return &f
	}
	f := find(codeDown, at.String(), "it answers %s, and nothing else", neighbourWord(addr))
	return &f
}

// question asks once by all means: a SYN's answer is waited for as long as an echo's alone is there.
func (v *visit) question(ctx context.Context, f flow, outer ...gopacket.SerializableLayer) (all reply, err error) {
	frames, err := f.questions(v.ifi.HardwareAddr, v.mac, outer...)
	if err != nil {
		return all, err
	}
	_, err = v.ask(ctx, func(frame []byte) bool {
		r, ok := f.answers(frame)
		if ok {
			all.echo, all.open = all.echo || r.echo, all.open || r.open
			all.refused, all.partial = all.refused || r.refused, all.partial || r.partial
		}
		return ok && (f.port == 0 || r.open || r.refused)
	}, frames...)
	return all, err
}

// path asks the way clients' packets come, and says what is wrong if the answer stays out.
func (v *visit) path(ctx context.Context, s service) (*Finding, error) {
	port := s.vip.Port()
	if !s.tcp {
		port = 0
	}
	var r reply
	var err error
	code := codeVIPMissing
	switch s.dest.Method {
	case lvs.MethodNAT:
		code = codeGateway
		// An echo: a running director takes the service's answers.
		r, err = v.question(ctx, newFlow(elsewhere(v.addr.Is4()), v.addr, 0))
	case lvs.MethodTUN:
		code = codeDecap
		head, _ := outer(v.source, &s.dest, s.vip.Addr().Is4())
		r, err = v.question(ctx, newFlow(v.sourceFor(s.vip.Addr()), s.vip.Addr(), port), head...)
	default:
		r, err = v.question(ctx, newFlow(v.source, s.vip.Addr(), port))
	}
	if err != nil || ctx.Err() != nil || r.echo || r.open || r.refused {
		return nil, err
	}
	f := find(code, v.addr.String(), "%s", what(code, s.vip.String()))
	return &f, nil
}

// tunnelMTU compares what comes in with what fits through the tunnels.
func tunnelMTU(_ context.Context, p *Patient) (found []Finding, err error) {
	if p.Network == nil {
		return nil, nil
	}
	order, of := p.servers()
	for _, addr := range order {
		for _, s := range of[addr] {
			if s.dest.Method != lvs.MethodTUN {
				continue
			}
			w, err := p.Network.way(addr)
			if err != nil {
				break // the real server's own finding
			}
			largest := p.clientMTU(s.vip.Addr())
			if _, over := outer(w.source, &s.dest, s.vip.Addr().Is4()); w.ifi.MTU-over < largest {
				found = append(found, find(codeMTU, addr.String(), "%s has an MTU of %d, so %d byte fit into the tunnel; clients' "+
					"packets have up to %d", w.ifi.Name, w.ifi.MTU, w.ifi.MTU-over, largest))
			}
			break
		}
	}
	return found, nil
}

// clientMTU is the size of the largest packets that come in for a VIP: by the port in whose network it is, or, if it is
// routed here, by any.
func (p *Patient) clientMTU(vip netip.Addr) (bytes int) {
	for _, name := range p.Config.Node.Interfaces {
		ifi, err := net.InterfaceByName(name)
		if err != nil {
			continue
		}
		addrs, _ := ifi.Addrs()
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && !prefix.IsSingleIP() && prefix.Contains(vip) {
				return ifi.MTU
			}
		}
		if bytes == 0 || ifi.MTU < bytes {
			bytes = ifi.MTU
		}
	}
	return bytes
}
