package director

import (
	"errors"
	"fmt"
	"slices"

	"ulvs/config"
	"ulvs/dataplane/afxdp"
	"ulvs/route"
)

// A bond is one port: its frames come in on any of its members, which have the sockets and the programs, and leave on
// the one that the bond would take. XDP on the bond itself would need native mode on each member and a kernel that
// redirects to sockets by the member's queue; sockets exist on members only.

// kindBond is rtnetlink's word.
const kindBond = "bond"

// Modes of bonds that have one active member.
const (
	modeActiveBackup = 1
	modeTLB          = 5
	modeALB          = 6
)

// linkTable is what is asked of a route.State here.
type linkTable interface {
	Link(index int) (route.Link, bool)
	Links() []route.Link
}

// bondBelow returns the bond that a link is, or is a VLAN of.
func bondBelow(l route.Link, state linkTable) (bond route.Link, ok bool) {
	if l.Kind == "vlan" && l.VLAN != 0 {
		if l, ok = state.Link(l.Parent); !ok {
			return l, false
		}
	}
	return l, l.Kind == kindBond
}

// newPort looks at what a configured interface is.
func newPort(name string, l route.Link, state linkTable) port {
	bond, ok := bondBelow(l, state)
	if !ok {
		return port{name: name, index: l.Index, link: l}
	}
	p := port{name: name, index: bond.Index, link: l, bond: true}
	if bond.Bond.Mode == modeActiveBackup || bond.Bond.Mode == modeTLB || bond.Bond.Mode == modeALB {
		p.policy = afxdp.HashLayer2 // there is one to choose
	} else {
		p.policy = afxdp.HashPolicy(bond.Bond.HashPolicy)
	}
	for _, m := range state.Links() {
		if m.Master == bond.Index {
			p.members = append(p.members, afxdp.Member{
				Interface: afxdp.Interface{Name: m.Name, Index: m.Index}, Sends: sends(m, bond),
			})
		}
	}
	return p
}

// sends reports whether a bond sends on a member. TLB and ALB give each member a MAC address of its own: only the
// active one's is the bond's, and ours.
func sends(m, bond route.Link) bool {
	if bond.Bond.Mode == modeTLB || bond.Bond.Mode == modeALB {
		return m.Up && m.Index == bond.Bond.Active
	}
	return m.Up && !m.Standby
}

// below returns the interfaces that sockets are on: a bond's members, or the port itself.
func (p *port) below() []afxdp.Member {
	if p.bond {
		return p.members
	}
	return []afxdp.Member{{Interface: afxdp.Interface{Name: p.name, Index: p.index}, Sends: true}}
}

// allBelow is that of all ports, in their order.
func allBelow(ports []port) (list []afxdp.Interface) {
	for i := range ports {
		for _, m := range ports[i].below() {
			list = append(list, m.Interface)
		}
	}
	return list
}

func hasBond(ports []port) bool {
	return slices.ContainsFunc(ports, func(p port) bool { return p.bond })
}

// oneEach refuses what would be on two ports.
func oneEach(ports []port) error {
	seen := map[int]string{}
	for i := range ports {
		for _, m := range append([]afxdp.Member{{Interface: afxdp.Interface{Index: ports[i].index}}}, ports[i].members...) {
			if other := seen[m.Index]; other != "" && other != ports[i].name {
				return fmt.Errorf("interfaces %s and %s are on one bond: give the bond alone, its VLANs go with it", other,
					ports[i].name)
			}
			seen[m.Index] = ports[i].name
		}
	}
	return nil
}

// trunkPorts describes ports as afxdp has them.
func trunkPorts(ports []port) []afxdp.TrunkPort {
	out := make([]afxdp.TrunkPort, len(ports))
	for i := range ports {
		out[i] = afxdp.TrunkPort{Name: ports[i].name, Policy: ports[i].policy, Members: ports[i].below()}
	}
	return out
}

// openSet opens a worker's sockets on what is below the ports.
func openSet(o afxdp.Options, ports []port, io config.IO) (ioSet, error) {
	switch {
	case io == config.IOAsavie && hasBond(ports):
		return nil, errors.New(`io = "asavie" serves no bonds: leave io out`)
	case io == config.IOAsavie:
		return asSet(afxdp.OpenAsavie(o))
	case hasBond(ports):
		return asSet(afxdp.OpenTrunk(o, trunkPorts(ports)))
	}
	return asSet(afxdp.Open(o))
}

// sameMembers reports whether the ports, which are the same, have the same members.
func sameMembers(a, b []port) bool {
	index := func(x, y afxdp.Member) bool { return x.Index == y.Index }
	return slices.EqualFunc(a, b, func(x, y port) bool { return slices.EqualFunc(x.members, y.members, index) })
}

// followBonds takes over what became of bonds: members that came or went, and those that send now. The other members'
// sockets stay. On an error the caller starts packet I/O anew.
func (d *director) followBonds(now []port) error {
	if !hasBond(now) {
		return nil
	}
	d.ioMu.Lock()
	defer d.ioMu.Unlock()
	if !sameMembers(now, d.network.ports) {
		if err := d.changeMembers(d.network.ports, now); err != nil {
			return err
		}
	}
	for _, w := range d.workers {
		if t, ok := w.set.(*afxdp.Trunk); ok {
			t.Follow(trunkPorts(now))
		}
	}
	return nil
}

// changeMembers closes the sockets of members that went, and opens those of members that came, while the workers stand.
func (d *director) changeMembers(was, now []port) (err error) {
	before, after := allBelow(was), allBelow(now)
	in := func(list []afxdp.Interface, i afxdp.Interface) bool {
		return slices.ContainsFunc(list, func(x afxdp.Interface) bool { return x.Index == i.Index })
	}
	for _, w := range d.workers {
		w.pause()
	}
	for _, i := range before {
		if !in(after, i) {
			d.log.Info("bond lost a member", "interface", i.Name)
			err = errors.Join(err, d.detach(i.Index))
		}
	}
	for at := range now {
		for _, m := range now[at].below() {
			if !in(before, m.Interface) {
				d.log.Info("bond got a member", "bond", now[at].name, "interface", m.Name)
				err = errors.Join(err, d.joinBond(at, m.Interface))
			}
		}
	}
	if err != nil {
		return err
	}
	for _, w := range d.workers {
		d.startWorker(w)
	}
	return nil
}

// detach leaves a member. What it had in its rings is lost with it.
func (d *director) detach(ifindex int) (err error) {
	d.attach = slices.DeleteFunc(d.attach, func(a *afxdp.Attachment) bool {
		if a.Interface.Index == ifindex {
			err = errors.Join(err, a.Close())
		}
		return a.Interface.Index == ifindex
	})
	for _, w := range d.workers {
		if t, ok := w.set.(*afxdp.Trunk); ok {
			err = errors.Join(err, t.Remove(ifindex))
		}
	}
	return err
}

// joinBond attaches to a new member, and opens its sockets.
func (d *director) joinBond(at int, i afxdp.Interface) error {
	if err := d.attachTo([]afxdp.Interface{i}); err != nil {
		return err
	}
	for _, w := range d.workers {
		t, ok := w.set.(*afxdp.Trunk)
		if !ok {
			return errors.New("a worker has no sockets")
		}
		if err := t.Add(at, i); err != nil {
			return err
		}
		if err := d.steering.Register(i.Index, w.id, t.MemberFD(i.Index)); err != nil {
			return err
		}
	}
	return nil
}
