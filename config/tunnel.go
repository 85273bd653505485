package config

import (
	"slices"

	"ulvs/lvs"
)

func tunnelTypes() []string     { return []string{"ipip", "gue", "gre"} }
func tunnelChecksums() []string { return []string{"none", "csum", "remcsum"} }

// tunnel reads the encapsulation of a service or real server with method m. def holds where
// nothing is said; a type of one's own takes nothing of def.
func (t *table) tunnel(m lvs.Method, def lvs.Tunnel) lvs.Tunnel {
	own := t.tunnelKeys()
	if m != lvs.MethodTUN {
		for _, key := range own {
			t.fail(key, "means nothing with method %s; remove it or give method = \"tun\"", m)
		}
		return lvs.Tunnel{}
	}
	out := def
	if slices.Contains(own, "tunnel_type") {
		word := t.word("tunnel_type", tunnelTypes()...)
		out = lvs.Tunnel{Type: lvs.TunnelType(slices.Index(tunnelTypes(), word))}
	}
	if slices.Contains(own, "tunnel_checksum") {
		word := t.word("tunnel_checksum", tunnelChecksums()...)
		out.Checksum = uint8(slices.Index(tunnelChecksums(), word))
	}
	t.tunnelPort(&out, slices.Contains(own, "tunnel_port"))
	t.checkTunnel(&out, own)
	return out
}

// tunnelKeys returns which of the tunnel's keys are set.
func (t *table) tunnelKeys() (own []string) {
	for _, key := range []string{"tunnel_type", "tunnel_port", "tunnel_checksum"} {
		if t.has(key) {
			own = append(own, key)
		}
	}
	return own
}

func (t *table) tunnelPort(out *lvs.Tunnel, own bool) {
	switch {
	case own && out.Type != lvs.TunnelGUE:
		t.fail("tunnel_port", "only gue has a port; remove it or give tunnel_type = \"gue\"")
	case own:
		out.Port = uint16(t.number("tunnel_port", span{1, 65535, 1}))
	case out.Type == lvs.TunnelGUE && out.Port == 0:
		t.fail("tunnel_type", "gue needs the UDP port that the real servers listen on; give tunnel_port = 6080, or theirs")
	}
}

// checkTunnel judges the checksum as ipvsadm does: ipip has none, gre knows no remote one.
func (t *table) checkTunnel(out *lvs.Tunnel, own []string) {
	if !slices.Contains(own, "tunnel_checksum") {
		return
	}
	switch {
	case out.Type == lvs.TunnelIPIP:
		t.fail("tunnel_checksum", "ipip has no checksum; remove it or give tunnel_type = \"gue\" or \"gre\"")
	case out.Type == lvs.TunnelGRE && out.Checksum == lvs.TunnelRemoteChecksum:
		t.fail("tunnel_checksum", "only gue has a remote checksum; give \"none\" or \"csum\"")
	}
}
