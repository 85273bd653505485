package director

import (
	"net/netip"
	"slices"
	"testing"
)

func TestADirectorIsNotMissingToItself(t *testing.T) {
	at := func(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
	all := []netip.AddrPort{at("10.9.0.1:8849"), at("10.9.0.2:8849"), at("10.9.0.3:8849")}
	got := missingPeers(all, all[0], map[string]bool{"10.9.0.2:8849": true})
	if want := []string{"10.9.0.3:8849"}; !slices.Equal(got, want) {
		t.Errorf("missing are %v, want %v", got, want)
	}
}
