package config

import (
	"fmt"
	"net/netip"

	"ulvs/lvs"
)

// policy reads what a service does beyond IPVS.
func (t *table) policy(def defaults) (p lvs.Policy) {
	p.OnFailure = t.onFailure()
	p.SlowStart = t.duration("slow_start", 0)
	p.Sorry = t.sorry(def)
	p.SorryInhibit = t.flag("sorry_server_inhibit")
	return p
}

func (t *table) onFailure() lvs.OnFailure {
	if !t.has("on_failure") {
		return lvs.FailDefault
	}
	words := lvs.OnFailureWords()
	word := t.word("on_failure", words[1:]...)
	for i, w := range words {
		if w == word {
			return lvs.OnFailure(i)
		}
	}
	return lvs.FailDefault
}

// sorry reads the server that takes over when the quorum is lost.
func (t *table) sorry(def defaults) (s lvs.Sorry) {
	method := t.method("sorry_server_method", def.method)
	text, ok := get[string](t, "sorry_server", realForm)
	if !ok {
		if t.has("sorry_server_method") && !t.has("sorry_server") {
			t.fail("sorry_server_method", "means nothing without sorry_server; add that or remove this")
		}
		return s
	}
	ap, err := sorryAddress(text, def.key.Port)
	if err != nil {
		t.fail("sorry_server", "%v; give %s", err, realForm)
		return s
	}
	d := lvs.Destination{Addr: ap.Addr(), Port: ap.Port(), Method: method}
	if def.ok {
		t.reachable("sorry_server", &d, def.key)
	}
	return lvs.Sorry{Server: ap, Method: method}
}

// sorryAddress reads an address that may be this host's own: 127.0.0.1 and ::1 are a server beside the director.
func sorryAddress(text string, port uint16) (netip.AddrPort, error) {
	ap, hasPort, err := parseAddress(text)
	if !ap.Addr().IsLoopback() && err != nil {
		return ap, err
	}
	if ap.Addr().IsLoopback() && (ap.Addr().Is4In6() || ap.Addr().Zone() != "") {
		return ap, fmt.Errorf("%.60q is no plain address", text)
	}
	if !hasPort {
		ap = netip.AddrPortFrom(ap.Addr(), port)
	}
	return ap, nil
}
