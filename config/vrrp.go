package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ulvs/ha"
)

// Limits of the takeover's tables.
const (
	maxInstances = 255
	maxGroups    = 255
	maxTracks    = 64
	maxPeers     = 32
	maxVRRPVIPs  = 1024 // vips and vips_excluded of one instance
	maxGateways  = 8
)

// The modes of an instance.
const (
	modeAvailable = "available" // a director that hears nobody takes over alone
	modeQuorum    = "quorum"
)

// quorumDirectors is how many directors there must be for a majority to outlive one of them.
const quorumDirectors = 3

// quorum complains about instances in mode quorum that cannot have one, or that move with others that are not.
func (p *parser) quorum(t *Takeover, s *Sync) {
	byName := map[string]*VRRP{}
	for i := range t.Instances {
		v := &t.Instances[i]
		byName[v.Name] = v
		if v.Quorum && len(s.Peers)+1 < quorumDirectors {
			p.fail(fmt.Sprintf("vrrp[%d].mode", i), "a majority needs %d directors, and [sync] names %d besides this one;"+
				" add peers, or leave mode out", quorumDirectors, len(s.Peers))
		}
	}
	for i, g := range t.Groups {
		for _, name := range g.Instances[min(1, len(g.Instances)):] {
			if a, b := byName[g.Instances[0]], byName[name]; a != nil && b != nil && a.Quorum != b.Quorum {
				p.fail(fmt.Sprintf("vrrp_sync_group[%d].group", i), "%q and %q have different modes; give both the same",
					a.Name, b.Name)
			}
		}
	}
}

// virtualMACs complains about use_vmac where the kernel answers for VIPs, which it does with the interface's address.
func (p *parser) virtualMACs(t *Takeover, mode VIPMode) {
	for i := range t.Instances {
		if t.Instances[i].UseVMAC && mode == VIPNetlink {
			p.fail(fmt.Sprintf("vrrp[%d].use_vmac", i), `needs vip_mode = "user"; remove one of the two`)
		}
	}
}

// VRRP is a [[vrrp]]: keepalived's vrrp_instance.
type VRRP struct {
	ha.Instance                // Source is what the file gives; none: the interface's address
	Prefixes    []netip.Prefix // of the VIPs and then of the excluded ones, as vip_mode netlink adds them
	Interfaces  []Track        // besides its own
	Scripts     []Track
	Files       []Track
	Processes   []Track
	Quorum      bool         // mode quorum: a majority of the directors decides
	Gateways    []netip.Addr // one of them must answer where the VIPs are claimed; none: nobody is asked
	Notify      VRRPNotify
}

// Track is something that an instance's priority depends on. Weight 0: its failure is a fault.
type Track struct {
	Name   string
	Weight int
}

// VRRPNotify are the programs that are told of a state, nil where there are none.
type VRRPNotify struct {
	Master, Backup, Fault, Stop []string
	Any                         []string // after the one of the state, with type, name, state and priority
}

// TrackScript is a [[track_script]]: keepalived's vrrp_script.
type TrackScript struct {
	Name              string
	Command           []string
	Interval, Timeout time.Duration
	Weight            int // where track_script of an instance gives none
	Rise, Fall        int
	InitFail          bool
}

// TrackFile is a [[track_file]]: the number in the file, times Weight, is added to the priority.
type TrackFile struct {
	Name, Path string
	Weight     int
}

// TrackProcess is a [[track_process]]: at least Quorum processes of that name must run.
type TrackProcess struct {
	Name, Process string
	Quorum        int
	Weight        int
}

// VRRPGroup is a [[vrrp_sync_group]]: instances that change state together.
type VRRPGroup struct {
	Name      string
	Instances []string
	Notify    VRRPNotify
}

// Takeover is all that a file says of VRRP.
type Takeover struct {
	Instances []VRRP
	Groups    []VRRPGroup
	Scripts   []TrackScript
	Files     []TrackFile
	Processes []TrackProcess
}

// takeover reads the tables of VRRP.
func (p *parser) takeover(root *table) (t Takeover) {
	t.Scripts = named(p, root.tables("track_script"), (*table).trackScript)
	t.Files = named(p, root.tables("track_file"), (*table).trackFile)
	t.Processes = named(p, root.tables("track_process"), (*table).trackProcess)
	list := root.tables("vrrp")
	if len(list) > maxInstances {
		p.fail("vrrp", "%d instances; give up to %d", len(list), maxInstances)
		return t
	}
	t.Instances = named(p, list, func(one *table, name string) VRRP { return one.instance(name, &t) })
	p.uniqueRouters(t.Instances)
	groups := root.tables("vrrp_sync_group")
	t.Groups = named(p, groups, func(one *table, name string) VRRPGroup { return one.syncGroup(name, t.Instances) })
	p.oneGroupEach(t.Groups)
	return t
}

// named reads tables that have a name each, and complains about names given twice.
func named[T any](p *parser, tables []*table, read func(*table, string) T) []T {
	var out []T
	seen := map[string]bool{}
	for _, t := range tables {
		name := t.text("name", "a name")
		switch {
		case name == "" || len(name) > maxNameBytes || strings.ContainsAny(name, " \t\r\n"):
			t.fail("name", "%.60q is no name; give one word of up to %d bytes", name, maxNameBytes)
		case seen[name]:
			t.fail("name", "%q is given twice; rename one", name)
		}
		seen[name] = true
		out = append(out, read(t, name))
		t.done()
	}
	return out
}

// instance reads a [[vrrp]].
func (t *table) instance(name string, all *Takeover) (v VRRP) {
	v.Name = name
	v.Interface = t.text("interface", `an interface like "eth0"`)
	t.p.interfaceName(t.key("interface"), v.Interface, nil)
	v.InitialMaster = t.word("state", "BACKUP", "MASTER") == "MASTER"
	v.VRID = uint8(t.number("virtual_router_id", span{1, 255, 0}))
	v.Priority = uint8(t.number("priority", span{1, 255, ha.DefaultPriority}))
	v.AdvertInt = t.period("advert_int", ha.DefaultAdvertInt)
	v.Version = t.version(v.AdvertInt)
	v.NoPreempt = t.flag("nopreempt")
	v.PreemptDelay = t.period("preempt_delay", 0)
	v.Auth, v.Password = t.password()
	t.addresses(&v)
	t.announcing(&v)
	v.DownAdverts = int(t.number("down_timer_adverts", span{1, 100, ha.DefaultDownAdverts}))
	v.LowerPrioNoAdvert = t.flag("lower_prio_no_advert")
	v.HigherPrioSendAdvert = t.flag("higher_prio_send_advert")
	v.DemandClaims = t.flag("demand_claims")
	v.UseVMAC = t.flag("use_vmac")
	v.Quorum = t.word("mode", modeAvailable, modeQuorum) == modeQuorum
	v.Gateways = t.peerAddrs("gateway")
	if len(v.Gateways) > maxGateways {
		t.fail("gateway", "%d addresses; give up to %d", len(v.Gateways), maxGateways)
	}
	t.tracks(&v, all)
	v.Notify = t.notifies()
	before := len(t.p.problems)
	if i := v.WithDefaults(); before == len(t.p.problems) && i.VRID != 0 {
		t.judgeInstance(&i)
	}
	if v.VRID == 0 && !t.has("virtual_router_id") {
		t.fail("virtual_router_id", "missing; give 1 to 255, one that nobody else on the LAN uses: tcpdump -nn vrrp")
	}
	return v
}

// judgeInstance complains about what package ha does not take.
func (t *table) judgeInstance(i *ha.Instance) {
	if err := i.Validate(); err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			t.p.fail(t.path, "%s", strings.TrimPrefix(line, "vrrp "+i.Name+": "))
		}
	}
}

// period reads a duration down to a centisecond.
func (t *table) period(key string, def time.Duration) time.Duration {
	if !t.has(key) {
		return def
	}
	if word, ok := readTime(t, key).(string); ok {
		d, _ := time.ParseDuration(word)
		return d
	}
	return def
}

// version is 2 where adverts are whole seconds apart, as keepalived's default: a director may replace a keepalived.
func (t *table) version(every time.Duration) uint8 {
	if t.has("version") {
		return uint8(t.number("version", span{2, 3, 2}))
	}
	vips, _ := t.m["vips"].([]any)
	for _, vip := range vips {
		if s, ok := vip.(string); ok && strings.Contains(s, ":") {
			return 3
		}
	}
	if every%time.Second != 0 {
		return 3
	}
	return 2
}

func (t *table) password() (ha.AuthType, [8]byte) {
	var pass [8]byte
	text, ok := get[string](t, "auth_pass", "up to 8 characters")
	if !ok {
		return ha.AuthNone, pass
	}
	if text == "" || len(text) > len(pass) {
		t.fail("auth_pass", "%d bytes long; give 1 to 8 (keepalived cuts longer ones to 8: give those)", len(text))
	}
	copy(pass[:], text)
	return ha.AuthPass, pass
}

// addresses reads VIPs and whom adverts go to and come from.
func (t *table) addresses(v *VRRP) {
	const form = `addresses like ["192.0.2.10/24"]`
	for _, key := range []string{"vips", "vips_excluded"} {
		for i, text := range t.texts(key, form) {
			path := fmt.Sprintf("%s[%d]", t.key(key), i)
			prefix, err := vipPrefix(text)
			switch {
			case err != nil:
				t.p.fail(path, "%.60q is no address; give %s", text, form)
				continue
			case slices.ContainsFunc(v.Prefixes, func(p netip.Prefix) bool { return p.Addr() == prefix.Addr() }):
				t.p.fail(path, "%s is given twice; remove one", prefix.Addr())
				continue
			}
			v.Prefixes = append(v.Prefixes, prefix)
			if key == "vips" {
				v.VIPs = append(v.VIPs, prefix.Addr())
			} else {
				v.Excluded = append(v.Excluded, prefix.Addr())
			}
		}
	}
	if len(v.Prefixes) > maxVRRPVIPs {
		t.fail("vips", "%d addresses; give up to %d", len(v.Prefixes), maxVRRPVIPs)
	}
	v.Peers = t.peerAddrs("unicast_peer")
	if len(v.Peers) > maxPeers {
		t.fail("unicast_peer", "%d peers; give up to %d", len(v.Peers), maxPeers)
	}
	v.Source = t.source(v)
}

// source reads where adverts come from, under both of keepalived's names.
func (t *table) source(v *VRRP) netip.Addr {
	uni, multi := t.host("unicast_src_ip"), t.host("mcast_src_ip")
	if uni.IsValid() && len(v.Peers) == 0 {
		t.fail("unicast_src_ip", "means nothing without unicast_peer; use mcast_src_ip")
	}
	if uni.IsValid() {
		return uni
	}
	return multi
}

// vipPrefix reads an address, with or without a prefix length; without it is a host's.
func vipPrefix(text string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p, nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return netip.Prefix{}, fmt.Errorf("no address: %.60q", text)
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// host reads an address, the invalid one where it is not set.
func (t *table) host(key string) netip.Addr {
	text, ok := get[string](t, key, `an address like "192.0.2.11"`)
	if !ok {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Is4In6() {
		t.fail(key, `%.60q is no address; give one like "192.0.2.11"`, text)
		return netip.Addr{}
	}
	return a.WithZone("")
}

func (t *table) peerAddrs(key string) (out []netip.Addr) {
	for i, text := range t.texts(key, `addresses like ["192.0.2.12"]`) {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Is4In6() {
			t.p.fail(fmt.Sprintf("%s[%d]", t.key(key), i), `%.60q is no address; give one like "192.0.2.12"`, text)
			continue
		}
		out = append(out, a.WithZone(""))
	}
	return out
}

// announcing reads when neighbours are told where VIPs are.
func (t *table) announcing(v *VRRP) {
	v.GARPDelay = t.period("garp_master_delay", ha.DefaultGARPDelay)
	v.GARPRepeat = int(t.number("garp_master_repeat", span{1, 100, ha.DefaultGARPRepeat}))
	v.GARPLowerRepeat = int(t.number("garp_lower_prio_repeat", span{1, 100, int64(v.GARPRepeat)}))
	v.GARPRefresh = t.period("garp_master_refresh", ha.DefaultGARPRefresh)
}
