package director

import (
	"slices"
	"strings"
	"testing"

	"ulvs/config"
	"ulvs/dataplane/afxdp"
	"ulvs/route"
)

// recordedLinks are the links of a machine, as rtnetlink told them.
type recordedLinks []route.Link

func (r recordedLinks) Link(index int) (route.Link, bool) {
	at := slices.IndexFunc(r, func(l route.Link) bool { return l.Index == index })
	if at < 0 {
		return route.Link{}, false
	}
	return r[at], true
}

func (r recordedLinks) Links() []route.Link { return r }

// bondMachine has a bond of three ports, the last one's cable pulled, with a VLAN, and a NIC by itself.
func bondMachine(mode uint8) recordedLinks {
	return recordedLinks{
		{Index: 2, Name: "eno1", Up: true, Master: 5},
		{Index: 3, Name: "eno2", Up: true, Master: 5, Standby: mode == modeActiveBackup},
		{Index: 4, Name: "eno3", Up: false, Master: 5, Standby: true},
		{Index: 5, Name: "bond0", Up: true, Kind: kindBond, Bond: route.Bond{Mode: mode, HashPolicy: 1, Active: 2}},
		{Index: 6, Name: "bond0.100", Up: true, Kind: "vlan", VLAN: 100, Parent: 5},
		{Index: 7, Name: "ens1", Up: true},
	}
}

// senders returns the members that send.
func senders(p port) (names []string) {
	for _, m := range p.members {
		if m.Sends {
			names = append(names, m.Name)
		}
	}
	return names
}

func TestABondIsOnePortOnItsMembers(t *testing.T) {
	for _, c := range []struct {
		name   string
		mode   uint8
		policy afxdp.HashPolicy
		want   []string
	}{
		{"802.3ad", 4, afxdp.HashLayer34, []string{"eno1", "eno2"}},
		{"balance-xor", 2, afxdp.HashLayer34, []string{"eno1", "eno2"}},
		{"active-backup", modeActiveBackup, afxdp.HashLayer2, []string{"eno1"}},
		{"balance-tlb", modeTLB, afxdp.HashLayer2, []string{"eno1"}},
		{"balance-alb", modeALB, afxdp.HashLayer2, []string{"eno1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := bondMachine(c.mode)
			for _, at := range []int{3, 4} { // the bond, and its VLAN
				p := newPort(m[at].Name, m[at], m)
				if !p.bond || p.index != 5 || p.link.Name != m[at].Name || len(p.members) != 3 || p.policy != c.policy {
					t.Errorf("%s: %+v", m[at].Name, p)
				}
				if got := senders(p); !slices.Equal(got, c.want) {
					t.Errorf("%s sends on %v, want %v", m[at].Name, got, c.want)
				}
			}
		})
	}
}

func TestAnInterfaceByItselfIsItsOnlyMember(t *testing.T) {
	m := bondMachine(4)
	p := newPort("ens1", m[5], m)
	if below := p.below(); p.bond || len(below) != 1 || below[0].Index != 7 || !below[0].Sends {
		t.Errorf("%+v", p)
	}
}

func TestABondIsNotTwoPorts(t *testing.T) {
	m := bondMachine(4)
	for _, other := range []int{0, 4} { // a member, and the VLAN
		ports := []port{newPort("bond0", m[3], m), newPort(m[other].Name, m[other], m)}
		if err := oneEach(ports); err == nil || !strings.Contains(err.Error(), m[other].Name+" are on one bond") {
			t.Errorf("bond0 and %s: %v, want that they are on one bond", m[other].Name, err)
		}
	}
	if err := oneEach([]port{newPort("bond0", m[3], m), newPort("ens1", m[5], m)}); err != nil {
		t.Error(err)
	}
}

func TestMembersThatCameOrWentAreSeen(t *testing.T) {
	m := bondMachine(4)
	was := []port{newPort("bond0", m[3], m)}
	m[0].Standby = true
	if now := []port{newPort("bond0", m[3], m)}; !sameMembers(was, now) {
		t.Error("one that only sends no more is taken for one that went")
	}
	m[1].Master = 0
	if now := []port{newPort("bond0", m[3], m)}; sameMembers(was, now) {
		t.Error("eno2 left the bond, and that is not seen")
	}
}

func TestTheOtherLibraryServesNoBonds(t *testing.T) {
	m := bondMachine(4)
	_, err := openSet(afxdp.Options{}, []port{newPort("bond0", m[3], m)}, config.IOAsavie)
	if err == nil || !strings.Contains(err.Error(), "serves no bonds") {
		t.Errorf("got %v", err)
	}
}
