package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ulvs/config"
	"ulvs/control"
	"ulvs/ha"
)

// How long answers are gathered of which there may be several, and adverts.
const (
	answerPeriod = time.Second
	advertLeast  = 1500 * time.Millisecond
	advertMost   = 7 * time.Second
)

// dataSeconds is how long a running director shows what it takes from the kernel: the gathering, and its start.
const dataSeconds = 2

func masterElsewhere(i control.VRRPInstance) bool { return i.State != "MASTER" }

// vips returns the VIPs of the services, each once.
func (p *Patient) vips() (list []netip.Addr) {
	for _, s := range p.Config.Services() {
		if s.Key.Mark == 0 && !slices.Contains(list, s.Key.Addr) {
			list = append(list, s.Key.Addr)
		}
	}
	return list
}

// maxVIPs bounds the VIPs that are asked for.
const maxVIPs = 256

// answer is who answered for a VIP, and where.
type answer struct {
	vip  netip.Addr
	port string
	mac  string
}

// duplicates asks on every port who has the VIPs.
func duplicates(ctx context.Context, p *Patient) (found []Finding, err error) {
	if p.Network == nil || p.Config == nil {
		return nil, nil
	}
	vips := p.vips()
	if len(vips) > maxVIPs {
		err = fmt.Errorf("%d of %d VIPs were not asked for", len(vips)-maxVIPs, len(vips))
		vips = vips[:maxVIPs]
	}
	answers, askErr := p.whoHas(ctx, vips)
	servers := p.serverMACs(ctx)
	others := map[netip.Addr][]answer{}
	for _, a := range answers {
		if server, is := servers[neighbour{a.mac, a.vip.Is4()}]; is {
			found = append(found, find(codeARP, server.String(), "it says on %s that %s is at %s", a.port, a.vip, a.mac))
			continue
		}
		others[a.vip] = append(others[a.vip], a)
	}
	for vip, list := range others {
		if len(list) > p.masters() {
			found = append(found, find(codeDuplicate, vip.String(), "%s", wordAnswers(list)))
		}
	}
	return found, errors.Join(err, askErr)
}

func wordAnswers(list []answer) string {
	parts := make([]string, len(list))
	for i, a := range list {
		parts[i] = fmt.Sprintf("%s on %s", a.mac, a.port)
	}
	slices.Sort(parts)
	return "it is answered for by " + strings.Join(parts, " and ")
}

// masters returns how many others may answer for a VIP: the master, if we are not, or do not run.
func (p *Patient) masters() int {
	if len(p.Config.Takeover.Instances) == 0 {
		return 0
	}
	if v := p.Facts.VRRP; v != nil && !slices.ContainsFunc(v.Instances, masterElsewhere) {
		return 0
	}
	return 1
}

// whoHas gathers the answers of all ports at once.
func (p *Patient) whoHas(ctx context.Context, vips []netip.Addr) (list []answer, err error) {
	var mu sync.Mutex
	seen := map[answer]bool{}
	ours := map[string]bool{}
	take := func(port string, frame []byte) {
		for _, vip := range vips {
			if mac := neighbourAnswer(frame, vip); mac != nil {
				mu.Lock()
				seen[answer{vip, port, mac.String()}] = true
				mu.Unlock()
			}
		}
	}
	for i := range p.Config.Takeover.Instances {
		if in := &p.Config.Takeover.Instances[i]; in.UseVMAC { // whoever is master answers with it
			ours[in.VirtualMAC().String()] = true
		}
	}
	var wait sync.WaitGroup
	fail := func(e error) {
		mu.Lock()
		defer mu.Unlock()
		err = errors.Join(err, e)
	}
	for _, name := range p.Config.Node.Interfaces {
		w, wayErr := p.Network.named(name)
		if wayErr != nil {
			fail(wayErr)
			continue
		}
		ours[w.ifi.HardwareAddr.String()] = true
		var requests [][]byte
		for _, vip := range vips {
			request, buildErr := neighbourRequest(w, vip)
			fail(buildErr)
			requests = append(requests, request)
		}
		wait.Go(func() {
			fail(w.gather(ctx, answerPeriod, func(frame []byte) { take(name, frame) }, requests...))
		})
	}
	if p.Network.Data != nil { // the XDP program takes answers that name a VIP
		wait.Go(func() { fail(p.Network.Data(ctx, dataSeconds, func(frame []byte) { take("the data plane", frame) })) })
	}
	wait.Wait()
	for a := range seen {
		if !ours[a.mac] {
			list = append(list, a)
		}
	}
	return mergePorts(list), err
}

// mergePorts leaves each VIP's answerer once: what the kernel and the data plane both show is the same answer.
func mergePorts(list []answer) []answer {
	slices.SortFunc(list, func(a, b answer) int {
		return strings.Compare(fmt.Sprint(a.vip, a.mac, a.port), fmt.Sprint(b.vip, b.mac, b.port))
	})
	return slices.CompactFunc(list, func(a, b answer) bool { return a.vip == b.vip && a.mac == b.mac })
}

// neighbour is a MAC address that an address of a family was resolved to.
type neighbour struct {
	mac string
	v4  bool
}

// serverMACs returns the real servers by their MAC addresses, as far as they answer.
func (p *Patient) serverMACs(ctx context.Context) map[neighbour]netip.Addr {
	order, _ := p.servers()
	var mu sync.Mutex
	var wait sync.WaitGroup
	of := map[neighbour]netip.Addr{}
	for _, addr := range order[:min(len(order), maxServers)] {
		w, err := p.Network.way(addr)
		if err != nil || w.gateway.IsValid() {
			continue
		}
		wait.Go(func() {
			if mac, _ := w.resolve(ctx, addr); mac != nil {
				mu.Lock()
				of[neighbour{mac.String(), addr.Is4()}] = addr
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return of
}

// adverts listens to the LAN's VRRP.
func adverts(ctx context.Context, p *Patient) (found []Finding, err error) {
	if p.Network == nil || p.Config == nil {
		return nil, nil
	}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for i := range p.Config.Takeover.Instances {
		wait.Go(func() {
			got, hearErr := p.Network.hearAdverts(ctx, &p.Config.Takeover.Instances[i])
			mu.Lock()
			defer mu.Unlock()
			found, err = append(found, got...), errors.Join(err, hearErr)
		})
	}
	wait.Wait()
	return found, err
}

// groups are the MAC addresses of VRRP's multicast groups (RFC 1112, RFC 2464).
var groups = []net.HardwareAddr{{0x01, 0, 0x5e, 0, 0, 0x12}, {0x33, 0x33, 0, 0, 0, 0x12}}

func (n *Network) hearAdverts(ctx context.Context, v *config.VRRP) ([]Finding, error) {
	w, err := n.named(v.Interface)
	if err != nil {
		return nil, err
	}
	for _, group := range groups {
		if err := w.conn.JoinGroup(group); err != nil {
			return nil, fmt.Errorf("hear VRRP on %s: %w", v.Interface, err)
		}
	}
	var mu sync.Mutex
	found := map[netip.Addr]Finding{}
	period := min(max(3*v.AdvertInt, advertLeast), advertMost)
	err = w.gather(ctx, period, func(frame []byte) {
		if src, f := judgeAdvert(frame, w.ifi.HardwareAddr, v); f != nil {
			mu.Lock()
			defer mu.Unlock()
			found[src] = *f
		}
	})
	return slices.Collect(maps.Values(found)), err
}

// judgeAdvert says what is wrong with an advert of another one with our VRID.
func judgeAdvert(frame []byte, us net.HardwareAddr, v *config.VRRP) (netip.Addr, *Finding) {
	a, at, reject, ok := readAdvert(frame, us)
	if !ok || a.VRID != v.VRID || len(v.VIPs) == 0 {
		return at.Src, nil
	}
	shared := slices.ContainsFunc(a.Addrs, func(x netip.Addr) bool { return slices.Contains(v.VIPs, x) })
	switch {
	case len(a.Addrs) > 0 && a.Addrs[0].Is4() != v.VIPs[0].Is4():
		return at.Src, nil // the other family has VRIDs of its own
	case reject == ha.RejectNone && !shared && !slices.Contains(v.Peers, at.Src):
		f := find(codeVRID, fmt.Sprintf("%s %d", v.Interface, v.VRID), "%s uses it for %v", at.Src, a.Addrs)
		return at.Src, &f
	}
	if differs := differences(&a, reject, v); differs != "" {
		f := find(codeDrift, v.Name, "%s advertises %s", at.Src, differs)
		return at.Src, &f
	}
	return at.Src, nil
}

// readAdvert decodes a frame as another one's advert.
func readAdvert(frame []byte, us net.HardwareAddr) (a ha.Advert, at ha.Arrival, reject ha.Reject, ok bool) {
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy)
	eth, is := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
	if !is || eth.SrcMAC.String() == us.String() {
		return a, at, reject, false
	}
	var body []byte
	if ip, is := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4); is && ip.Protocol == ha.Proto {
		at.Src, _ = netip.AddrFromSlice(ip.SrcIP)
		at.Dst, _ = netip.AddrFromSlice(ip.DstIP)
		at.TTL, body = ip.TTL, ip.Payload
	} else if ip, is := p.Layer(layers.LayerTypeIPv6).(*layers.IPv6); is && ip.NextHeader == ha.Proto {
		at.Src, _ = netip.AddrFromSlice(ip.SrcIP)
		at.Dst, _ = netip.AddrFromSlice(ip.DstIP)
		at.TTL, body = ip.HopLimit, ip.Payload
	} else {
		return a, at, reject, false
	}
	reject = a.Decode(body, at)
	return a, at, reject, true
}

// differences words how a peer's advert differs from ours; empty if it does not.
func differences(a *ha.Advert, reject ha.Reject, v *config.VRRP) string {
	var parts []string
	if reject != ha.RejectNone {
		return fmt.Sprintf("what is refused: %v", reject)
	}
	theirs, ours := slices.Clone(a.Addrs), slices.Clone(v.VIPs)
	slices.SortFunc(theirs, netip.Addr.Compare)
	slices.SortFunc(ours, netip.Addr.Compare)
	if !slices.Equal(theirs, ours) {
		parts = append(parts, fmt.Sprintf("the VIPs %v, ours are %v", theirs, ours))
	}
	if a.Version != v.Version {
		parts = append(parts, fmt.Sprintf("version %d, ours is %d", a.Version, v.Version))
	}
	if a.Interval != v.AdvertInt {
		parts = append(parts, fmt.Sprintf("advert_int %v, ours is %v", a.Interval, v.AdvertInt))
	}
	if a.Auth != v.Auth || a.Auth != ha.AuthNone && a.Password != v.Password {
		parts = append(parts, "another auth_pass")
	}
	return strings.Join(parts, "; ")
}

// skewLimit is what clocks may differ by: logs of two directors still read in order.
const skewLimit = time.Second

// clocks asks the other directors for their time.
func clocks(ctx context.Context, p *Patient) (found []Finding, err error) {
	if p.Network == nil || p.Config == nil {
		return nil, nil
	}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for _, peer := range p.peers() {
		wait.Go(func() {
			skew, known, skewErr := p.Network.skew(ctx, peer)
			mu.Lock()
			defer mu.Unlock()
			err = errors.Join(err, skewErr)
			if known && (skew > skewLimit || skew < -skewLimit) {
				found = append(found, find(codeSkew, peer.String(), "its clock is %v off ours", skew))
			}
		})
	}
	wait.Wait()
	return found, err
}

// peers returns the IPv4 addresses of the other directors.
func (p *Patient) peers() (list []netip.Addr) {
	add := func(a netip.Addr) {
		if a.Is4() && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	for _, a := range p.Config.Sync.PeerAddrs() {
		add(a.Addr().Unmap())
	}
	for _, v := range p.Config.Takeover.Instances {
		for _, a := range v.Peers {
			add(a)
		}
	}
	return list
}

// skew returns how far a host's clock is ahead of ours. One that does not tell is not known.
func (n *Network) skew(ctx context.Context, peer netip.Addr) (skew time.Duration, known bool, err error) {
	w, err := n.way(peer)
	if err != nil {
		return 0, false, err
	}
	mac, err := w.resolve(ctx, w.hop(peer))
	if err != nil || mac == nil {
		return 0, false, err
	}
	id := uint16(rand.Uint32())
	request, err := stampRequest(w, mac, peer, id)
	if err != nil {
		return 0, false, err
	}
	var theirs, ours uint32
	frame, err := w.ask(ctx, func(frame []byte) bool {
		stamp, ok := stampAnswer(frame, peer, id)
		if ok {
			theirs, ours = stamp, sinceMidnight(time.Now())
		}
		return ok
	}, request)
	if frame == nil {
		return 0, false, err
	}
	millis := (int64(theirs) - int64(ours) + dayMillis + dayMillis/2) % dayMillis // around midnight, too
	return time.Duration(millis-dayMillis/2) * time.Millisecond, true, nil
}
