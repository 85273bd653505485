package ipvsadm

import (
	"net/netip"
	"testing"

	"ulvs/lvs"
)

func TestServicesFileIsRead(t *testing.T) {
	n := &systemNames{services: map[string]uint16{}, ports: map[string]string{}}
	for _, line := range []string{"# all", "", "http 80/tcp www # web", "www-alt 80/tcp", "http 81/tcp", "domain 53/udp",
		"bad", "bad 99999/tcp", "bad x/tcp"} {
		n.line(line)
	}
	for name, want := range map[string]uint16{"http": 80, "www": 80, "www-alt": 80, "domain": 0, "bad": 0} {
		if port, ok := n.Port(name, lvs.ProtoTCP); port != want || ok != (want != 0) {
			t.Errorf("%s: got %d, %v, want %d", name, port, ok, want)
		}
	}
	if name, _ := n.Service(80, lvs.ProtoTCP); name != "http" {
		t.Errorf("80/tcp: got %q, want http", name)
	}
	if _, ok := n.Service(80, lvs.ProtoUDP); ok {
		t.Error("80/udp has a name")
	}
}

func TestNoAddressIsAskedForAfterOneThatTimedOut(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.1")
	n := &systemNames{hosts: map[netip.Addr]string{a: "one"}, gaveUp: true}
	if name, ok := n.Host(a); name != "one" || !ok {
		t.Errorf("got %q, %v, want what is known", name, ok)
	}
	if _, ok := n.Host(a.Next()); ok {
		t.Error("got a name")
	}
}
