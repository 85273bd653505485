package config

import (
	"net/netip"
	"path/filepath"
	"strings"
)

// SessionSync is how sessions travel between directors.
type SessionSync string

// The ways: the lane is ten times as fast, gossip is memberlist's own messages.
const (
	SyncLane   SessionSync = "lane"
	SyncGossip SessionSync = "gossip"
)

// DefaultSyncPort is where directors talk to each other, UDP and TCP. 8848 is IPVS's own sync.
const DefaultSyncPort = 8849

// maxSyncPeers bounds the directors of a cluster; two or three are common.
const maxSyncPeers = 64

// Sync is the [sync] section: the other directors. Without one Interface is empty.
type Sync struct {
	Interface string      `json:"interface"`
	Address   netip.Addr  `json:"address"` // of Interface, that is listened on; none: its first
	Port      uint16      `json:"port"`
	KeyFile   string      `json:"key_file"`
	Insecure  bool        `json:"insecure"` // no key: anybody on the network can forge sessions
	Peers     []string    `json:"peers"`    // addresses, with a port where it is another one
	Mode      SessionSync `json:"session_sync"`
	at        []netip.AddrPort
}

// On reports whether there is a [sync].
func (s *Sync) On() bool { return s.Interface != "" }

// PeerAddrs returns where the other directors listen.
func (s *Sync) PeerAddrs() []netip.AddrPort { return append([]netip.AddrPort(nil), s.at...) }

func spanSyncPort() span { return span{1, 65535, DefaultSyncPort} }

// sync reads [sync].
func (p *parser) sync(root *table) (s Sync) {
	if !root.has("sync") {
		return s
	}
	t, ok := root.table("sync")
	if !ok {
		return s
	}
	s.Interface = t.text("interface", `the interface towards the other directors, like "eth1"`)
	p.interfaceName(t.key("interface"), s.Interface, nil)
	s.Port = uint16(t.number("port", spanSyncPort()))
	if t.has("address") {
		text := t.text("address", `an address of the interface`)
		var err error
		if s.Address, err = netip.ParseAddr(text); err != nil || s.Address.IsUnspecified() || s.Address.Zone() != "" {
			t.fail("address", "%.60q is not one address of the interface; leave it out to take its first", text)
		}
	}
	s.Mode = SessionSync(t.word("session_sync", string(SyncLane), string(SyncGossip)))
	s.Insecure = t.flag("insecure")
	t.syncKey(&s)
	t.syncPeers(&s)
	t.done()
	return s
}

func (t *table) syncKey(s *Sync) {
	if t.has("key_file") {
		s.KeyFile = t.text("key_file", `the path of a key, see: ulvs sync keygen`)
	}
	switch {
	case s.KeyFile == "" && !s.Insecure:
		t.fail("key_file", "missing: anybody on that network could make sessions up; ulvs sync keygen > FILE makes one"+
			" (the same for all directors), or give insecure = true")
	case s.KeyFile != "" && s.Insecure:
		t.fail("insecure", "there is a key_file, too; remove one of them")
	case s.KeyFile != "" && !filepath.IsAbs(s.KeyFile):
		t.fail("key_file", "%.60q is relative; give a path from the root", s.KeyFile)
	}
}

func (t *table) syncPeers(s *Sync) {
	s.Peers = t.texts("peers", `addresses of the other directors, like ["10.9.0.2"]`)
	if len(s.Peers) > maxSyncPeers {
		t.fail("peers", "%d peers; give up to %d", len(s.Peers), maxSyncPeers)
		return
	}
	for _, text := range s.Peers {
		a, err := netip.ParseAddrPort(text)
		if err != nil {
			var addr netip.Addr
			addr, err = netip.ParseAddr(strings.Trim(text, "[]"))
			a = netip.AddrPortFrom(addr, s.Port)
		}
		if err != nil || a.Addr().IsUnspecified() || a.Addr().Is4In6() || a.Port() == 0 {
			t.fail("peers", "%.60q is not the address of a director, like 10.9.0.2 or 10.9.0.2:8849", text)
			continue
		}
		s.at = append(s.at, a)
	}
}
