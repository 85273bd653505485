package config

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"ulvs/lvs"
	"ulvs/sched"
)

const (
	vipForm  = `an address with port like "192.0.2.10:80" or "[2001:db8::10]:80"`
	realForm = `an address like "192.0.2.21:80"; without port it takes the service's`
)

func (p *parser) services(tables []*table) []lvs.Service {
	if len(tables) > lvs.MaxServices {
		p.fail("service", "%d services; give up to %d", len(tables), lvs.MaxServices)
		return nil
	}
	first := make(map[lvs.ServiceKey]string, len(tables))
	services, dests := make([]lvs.Service, 0, len(tables)), 0
	for _, t := range tables {
		s := p.service(t)
		dests += len(s.Destinations)
		if s.Key.Addr.IsValid() {
			p.onlyOnce(first, s.Key, t.path, fmt.Sprintf("service %s is given twice", s.Key))
		}
		services = append(services, s)
	}
	if dests > lvs.MaxDestinations {
		p.fail("service", "%d real servers; give up to %d", dests, lvs.MaxDestinations)
	}
	return services
}

// onlyOnce complains when key was seen before, naming the line of the first.
func (p *parser) onlyOnce(first map[lvs.ServiceKey]string, key lvs.ServiceKey, path, msg string) {
	if other, seen := first[key]; seen {
		p.problems = append(p.problems, problem{path: path, msg: msg, other: other})
		return
	}
	first[key] = path
}

// inherit is what real servers have that say nothing else.
type inherit struct {
	method  lvs.Method
	tunnel  lvs.Tunnel
	inhibit bool
}

// defaults are what a service gives its real servers.
type defaults struct {
	inherit
	key  lvs.ServiceKey
	ok   bool  // key is usable: checks that compare with it make sense
	care *Care // takes what real servers say of their health
}

func (p *parser) service(t *table) lvs.Service {
	t.never("persistence_engine")
	key, ok := t.serviceKey()
	s := lvs.Service{Key: key, Scheduler: t.scheduler()}
	s.SchedFlags = t.schedFlags(s.Scheduler)
	s.Persistence = t.persistence()
	t.persistMask(&s, ok)
	s.OnePacket = t.flag("one_packet")
	if s.OnePacket && key.Mark == 0 && key.Proto != lvs.ProtoUDP {
		t.fail("one_packet", "only udp has services without sessions; remove it or give protocol = \"udp\"")
	}
	if _, persistent := t.m["persistence_timeout"]; ok && key.Mark == 0 && key.Port == 0 && !persistent {
		t.fail("vip", "port 0 takes every port, which needs persistence; give a port or persistence_timeout = \"6m\"")
	}
	d := defaults{key: key, ok: ok, inherit: inherit{method: t.method("method", lvs.MethodDR)}}
	d.tunnel = t.tunnel(d.method, lvs.Tunnel{})
	s.Policy = t.policy(d)
	d.inhibit = t.flagOr("inhibit_on_failure", s.Policy.OnFailure == lvs.FailInhibit)
	p.inherits = append(p.inherits, d.inherit)
	d.care = &Care{Service: key, Keys: t.care()}
	s.Destinations = p.realServers(t.tables("real_server"), d)
	if ok && !d.care.empty() {
		p.care = append(p.care, *d.care)
	}
	t.done()
	return s
}

// serviceKey reads what a service is told from others by: vip and protocol, or mark and family. ok is
// false when that is unusable; then its address is invalid.
func (t *table) serviceKey() (key lvs.ServiceKey, ok bool) {
	if t.has("mark") {
		return t.markKey()
	}
	if t.has("family") {
		t.fail("family", "means nothing without mark: the vip tells; remove it")
	}
	key.Proto = protocols[t.word("protocol", "tcp", "udp", "sctp")]
	vip, ok := t.vip()
	if ok {
		key.Addr, key.Port = vip.Addr(), vip.Port()
	}
	return key, ok
}

// markKey is the key of packets with a firewall mark.
func (t *table) markKey() (key lvs.ServiceKey, ok bool) {
	key = lvs.ServiceKey{Addr: netip.IPv4Unspecified(), Mark: uint32(t.number("mark", spanMark()))}
	if t.word("family", "ipv4", "ipv6") == "ipv6" {
		key.Addr = netip.IPv6Unspecified()
	}
	for _, other := range []string{"vip", "protocol"} {
		if t.has(other) {
			t.fail(other, "means nothing with mark: the [[mark]] rules choose the packets; remove one of them")
		}
	}
	if key.Mark == 0 { // complained about
		key.Addr = netip.Addr{}
	}
	return key, key.Mark != 0
}

func (t *table) scheduler() string {
	name, set := get[string](t, "scheduler", `a name like "wlc"`)
	switch {
	case !set:
		return "wlc" // ipvsadm's default
	case !sched.Known(name):
		t.fail("scheduler", "unknown scheduler %.60q; %s", name, wouldBeRight(name, sched.Names()))
		return "wlc"
	}
	return name
}

func (t *table) vip() (netip.AddrPort, bool) {
	text, ok := get[string](t, "vip", vipForm)
	if !ok {
		if _, present := t.m["vip"]; !present {
			t.fail("vip", "missing; give %s", vipForm)
		}
		return netip.AddrPort{}, false
	}
	vip, hasPort, err := parseAddress(text)
	if err == nil && !hasPort {
		err = fmt.Errorf("%s has no port", text)
	}
	if err != nil {
		t.fail("vip", "%v; give %s", err, vipForm)
	}
	return vip, err == nil
}

// flagBits are the words of ipvsadm -b that a scheduler takes, with their bits.
func flagBits(scheduler string) ([]string, map[string]lvs.SchedFlags) {
	words := []string{"flag-1", "flag-2", "flag-3"}
	bits := map[string]lvs.SchedFlags{"flag-1": 1 << 0, "flag-2": 1 << 1, "flag-3": 1 << 2}
	if scheduler == "sh" || scheduler == "mh" {
		words = append([]string{scheduler + "-fallback", scheduler + "-port"}, words...)
		bits[scheduler+"-fallback"], bits[scheduler+"-port"] = lvs.SchedFallback, lvs.SchedPort
	}
	return words, bits
}

func (t *table) schedFlags(scheduler string) (flags lvs.SchedFlags) {
	words, bits := flagBits(scheduler)
	for i, word := range t.texts("flags", `a list like ["sh-port"]`) {
		bit, ok := bits[word]
		if !ok {
			path := fmt.Sprintf("%s[%d]", t.key("flags"), i)
			t.p.fail(path, "scheduler %s has no flag %.60q; %s", scheduler, word, wouldBeRight(word, words))
		}
		flags |= bit
	}
	return flags
}

func (t *table) persistence() time.Duration {
	return t.duration("persistence_timeout", 0)
}

func (t *table) persistMask(s *lvs.Service, vipOK bool) {
	const key = "persistence_granularity"
	if !t.has(key) {
		return
	}
	if _, persistent := t.m["persistence_timeout"]; !persistent {
		t.fail(key, "means nothing without persistence_timeout; add that or remove this")
	}
	if !vipOK {
		return
	}
	v4 := s.Key.Addr.Is4()
	err := parseGranularity(s, t.m[key])
	switch {
	case err != nil && v4:
		t.fail(key, `%v; give a prefix length from 1 to 32 or a mask like "255.255.255.0"`, err)
	case err != nil:
		t.fail(key, "%v; give a prefix length from 1 to 128", err)
	}
}

func (t *table) method(key string, def lvs.Method) lvs.Method {
	text, set := get[string](t, key, `"dr", "nat" or "tun"`)
	if !set {
		return def
	}
	m, ok := lvs.ParseMethod(text)
	if !ok {
		t.fail(key, "unknown method %.60q; %s", text, wouldBeRight(text, []string{"dr", "nat", "tun"}))
		return def
	}
	return m
}

func (p *parser) realServers(tables []*table, def defaults) []lvs.Destination {
	first := make(map[lvs.ServiceKey]string, len(tables))
	dests := make([]lvs.Destination, len(tables))
	for i, t := range tables {
		d, ok := p.realServer(t, def)
		if ok {
			key := lvs.ServiceKey{Addr: d.Addr, Port: d.Port}
			p.onlyOnce(first, key, t.path, fmt.Sprintf("real server %s is given twice", d.AddrPort()))
		}
		dests[len(tables)-1-i] = d // added last, listed first: every scheduler's ties follow it
	}
	return dests
}

// realServer reads one; ok is false when its address is unusable.
func (p *parser) realServer(t *table, def defaults) (d lvs.Destination, ok bool) {
	d.Method = t.method("method", def.method)
	d.Tunnel = t.tunnel(d.Method, def.tunnel)
	d.Weight = int32(t.number("weight", span{0, lvs.MaxWeight, 1}))
	d.Upper = uint32(t.number("upper_threshold", span{0, math.MaxInt32, 0}))
	d.Lower = uint32(t.number("lower_threshold", span{0, math.MaxInt32, 0}))
	if d.Upper != 0 && d.Lower > d.Upper {
		t.fail("lower_threshold", "%d is above the upper_threshold %d; give a lower one", d.Lower, d.Upper)
	}
	d.Inhibit = t.flagOr("inhibit_on_failure", def.inhibit)
	ap, ok := t.realAddress(def)
	d.Addr, d.Port = ap.Addr(), ap.Port()
	if ok && def.ok {
		t.reachable("address", &d, def.key)
	}
	before := len(t.p.problems)
	k := t.serverCare()
	if len(k) > 0 && ok {
		def.care.Servers = append(def.care.Servers, ServerCare{ap, k})
	}
	if ok && def.ok && len(t.p.problems) == before {
		t.judgeChecks(def.care.Keys, k, &d, def.key)
	}
	t.done()
	return d, ok
}

func (t *table) realAddress(def defaults) (ap netip.AddrPort, ok bool) {
	text, ok := get[string](t, "address", realForm)
	if !ok {
		if _, present := t.m["address"]; !present {
			t.fail("address", "missing; give %s", realForm)
		}
		return ap, false
	}
	ap, hasPort, err := parseAddress(text)
	if err != nil {
		t.fail("address", "%v; give %s", err, realForm)
		return ap, false
	}
	if !hasPort {
		ap = netip.AddrPortFrom(ap.Addr(), def.key.Port)
	}
	return ap, true
}

// reachable checks that the method can carry packets of the service to d, whose address name gives.
func (t *table) reachable(name string, d *lvs.Destination, key lvs.ServiceKey) {
	mixed := d.Addr.Is4() != key.Addr.Is4()
	switch {
	case d.Addr == key.Addr:
		t.fail(name, "%s is the VIP itself; give the real server's own address", d.Addr)
	case mixed && d.Method != lvs.MethodTUN:
		t.fail(name, "method %s cannot reach %s from VIP %s; give an address of the same family or method = \"tun\"",
			d.Method, d.Addr, key.Addr)
	case key.Mark != 0: // any port, and 0 for that of the packet
	case d.Method != lvs.MethodNAT && d.Port != key.Port:
		t.fail(name, "method %s cannot map port %d to %d; give port %d or method = \"nat\"",
			d.Method, key.Port, d.Port, key.Port)
	case d.Port == 0 && key.Port != 0:
		t.fail(name, "port 0 is no port to send to; give one, or none for the service's port %d", key.Port)
	}
}
