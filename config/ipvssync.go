package config

import (
	"fmt"
	"net/netip"

	"ulvs/lvs"
)

// IPVSRole is what a director is to kernels that speak IPVS's sync protocol.
type IPVSRole string

// The roles.
const (
	IPVSMaster IPVSRole = "master" // tells of its sessions
	IPVSBackup IPVSRole = "backup" // takes what a master tells
	IPVSBoth   IPVSRole = "both"   // both, as a kernel may run both daemons
	IPVSFollow IPVSRole = "vrrp"   // master while a [[vrrp]] is MASTER, else backup: keepalived's lvs_sync_daemon
)

// maxIPVSLen is what fits a datagram over IPv4.
const maxIPVSLen = 65507

// IPVSSync is the [ipvs_sync] section: IPVS's own sync daemons. Without one Interface is empty.
type IPVSSync struct {
	Role      IPVSRole `json:"role"`
	Interface string   `json:"interface"`
	// SyncID is the group of directors; a backup with 0 takes every group's.
	SyncID int        `json:"sync_id"`
	Group  netip.Addr `json:"group"`
	Port   uint16     `json:"port"`
	TTL    uint8      `json:"ttl"`
	MaxLen int        `json:"max_len"` // of a message in bytes; 0: what fits Ethernet
	// Version is that of the messages of a master; a backup takes both.
	Version int `json:"version"`
	// Retries is how often a master sends each message again.
	Retries int `json:"retries"`
	// Persist has a master tell of templates instead of the sessions that hang on them.
	Persist bool   `json:"persist_mode"`
	VRRP    string `json:"vrrp"` // of role vrrp: the instance
}

// On reports whether there is an [ipvs_sync].
func (s *IPVSSync) On() bool { return s.Interface != "" }

// Daemon returns what ipvsadm --start-daemon would have said for a role, master or backup.
func (s *IPVSSync) Daemon(role IPVSRole) lvs.SyncDaemon {
	return lvs.SyncDaemon{Role: string(role), Interface: s.Interface, SyncID: s.SyncID, MaxLen: s.MaxLen,
		Group: s.Group.String(), Port: int(s.Port), TTL: int(s.TTL)}
}

// ipvsSync reads [ipvs_sync].
func (p *parser) ipvsSync(root *table, takeover *Takeover) (s IPVSSync) {
	if !root.has("ipvs_sync") {
		return s
	}
	t, ok := root.table("ipvs_sync")
	if !ok {
		return s
	}
	s.Role = IPVSRole(t.word("role", string(IPVSBackup), string(IPVSMaster), string(IPVSBoth), string(IPVSFollow)))
	s.Interface = t.text("interface", `the interface towards the kernel directors, like "eth1"`)
	p.interfaceName(t.key("interface"), s.Interface, nil)
	s.Group = netip.AddrFrom4([4]byte{224, 0, 0, 81})
	if t.has("group") {
		s.Group = t.group(s.Group)
	}
	s.Port = uint16(t.number("port", span{1, 65535, 8848}))
	s.TTL = uint8(t.number("ttl", span{1, 255, 1}))
	s.MaxLen = int(t.number("max_len", span{0, maxIPVSLen, 0}))
	s.Version = int(t.number("version", span{0, 1, 1}))
	s.Retries = int(t.number("retries", span{0, 3, 0}))
	s.Persist = t.flag("persist_mode")
	t.follow(&s, takeover)
	t.done()
	return s
}

// group reads the multicast group.
func (t *table) group(def netip.Addr) netip.Addr {
	text := t.text("group", `a multicast group like "224.0.0.81"`)
	a, err := netip.ParseAddr(text)
	if err != nil || !a.IsMulticast() || a.Zone() != "" || a.Is4In6() {
		t.fail("group", `%.60q is no multicast group; leave it out for 224.0.0.81`, text)
		return def
	}
	return a
}

// follow reads which instance the role follows. As in keepalived, the sync id is its virtual_router_id unless
// another one is given.
func (t *table) follow(s *IPVSSync, takeover *Takeover) {
	var def int64
	switch {
	case s.Role == IPVSFollow && !t.has("vrrp"):
		t.fail("vrrp", `missing; give the name of the [[vrrp]] that role = "vrrp" follows`)
	case t.has("vrrp"):
		s.VRRP = t.text("vrrp", "the name of a [[vrrp]] whose state the role follows")
	}
	if s.VRRP != "" {
		def = t.followed(s, takeover)
	}
	s.SyncID = int(t.number("sync_id", span{0, 255, def}))
}

func (t *table) followed(s *IPVSSync, takeover *Takeover) (vrid int64) {
	if s.Role != IPVSFollow {
		t.fail("vrrp", `means nothing with role = %q; give role = "vrrp"`, s.Role)
		return 0
	}
	var names []string
	for i := range takeover.Instances {
		v := &takeover.Instances[i]
		if v.Name == s.VRRP {
			return int64(v.VRID)
		}
		names = append(names, v.Name)
	}
	hint := "there is no [[vrrp]]"
	if len(names) > 0 {
		hint = fmt.Sprintf("there is %s", quoteAll(names))
	}
	t.fail("vrrp", "there is no [[vrrp]] %.60q; %s", s.VRRP, hint)
	return 0
}
