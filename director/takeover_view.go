package director

import (
	"fmt"
	"strings"

	"ulvs/control"
	"ulvs/ha"
)

// VRRP implements control.Takeover.
func (d *director) VRRP() (v control.VRRP) {
	t := d.takeover.Load()
	if t == nil {
		return v
	}
	v.Rejected = map[string]uint64{}
	t.inspect(func(m *ha.Machine) {
		for i := range t.instances {
			v.Instances = append(v.Instances, t.view(m, i))
		}
		for r, n := range m.Rejects() {
			if n > 0 {
				v.Rejected[ha.Reject(r).String()] = n
			}
		}
	})
	for i := range v.Instances {
		if t.instances[i].unit == 0 && i == 0 {
			v.Instances[i].VIPs = nil
			for _, vip := range d.VIPsOf(0) {
				v.Instances[i].VIPs = append(v.Instances[i].VIPs, vip.String())
			}
		}
	}
	return v
}

// ownerAlarms says of which units no director, or more than one, holds the VIPs.
func (d *director) ownerAlarms() (out []string) {
	t := d.takeover.Load()
	if t == nil {
		return nil
	}
	t.inspect(func(*ha.Machine) {
		for u := range t.units {
			if what := t.owners.alarm(u); what != "" {
				out = append(out, t.units[u].Name+": "+what)
			}
		}
	})
	return out
}

func (t *takeover) view(m *ha.Machine, i int) control.VRRPInstance {
	in, u, at := t.instances[i], m.View(t.instances[i].unit), m.ViewInstance(i)
	out := control.VRRPInstance{
		Name: in.Name, Interface: in.Interface, VRID: int(in.VRID), Version: int(in.Version), State: u.State.String(),
		StateSeconds: (t.now() - u.Since).Seconds(), Priority: int(in.Priority), EffectivePriority: int(at.Priority),
		AdvertMillis: in.AdvertInt.Seconds() * 1e3, MasterMillis: at.Interval.Seconds() * 1e3, Source: in.Source.String(),
		Term: u.Claim.Term, Owner: u.Claim.Owner, Released: u.Released, Preempts: at.Preempt,
	}
	if in.UseVMAC {
		out.VirtualMAC = in.mac().String()
	}
	out.Mode, out.Members, out.Directors = "available", u.Members, t.d.directors()
	out.Masters, out.Alarm = m.Masters(in.unit, t.now()), t.owners.alarm(in.unit)
	if u.Quorum {
		out.Mode = "quorum"
	}
	if t.gatewayOf(in.unit) != nil {
		out.Gateway = map[bool]string{true: "answers", false: "silent"}[u.Gateway]
	}
	if u.Name != in.Name || len(t.units[in.unit].Instances) > 1 {
		out.Group = u.Name
	}
	switch {
	case at.PreemptAt == ha.Never:
		out.PreemptSeconds = in.PreemptDelay.Seconds()
	case at.PreemptAt > t.now():
		out.PreemptSeconds = (at.PreemptAt - t.now()).Seconds()
	}
	for _, p := range in.Prefixes {
		out.VIPs = append(out.VIPs, p.Addr().String())
	}
	return out
}

// Release implements control.Takeover.
func (d *director) Release(name string, resume bool) error {
	t := d.takeover.Load()
	if t == nil {
		return fmt.Errorf("this director runs without [[vrrp]]: it holds all VIPs")
	}
	kind := ha.EventRelease
	if resume {
		kind = ha.EventResume
	}
	var names []string
	for u := range t.units {
		names = append(names, t.units[u].Name)
		if t.units[u].Name == name || t.hasMember(u, name) {
			t.inspect(func(m *ha.Machine) { t.step(m, ha.Event{Kind: kind, Unit: u}) })
			return nil
		}
	}
	return fmt.Errorf("there is no [[vrrp]] or [[vrrp_sync_group]] %.60q; there is %s", name, strings.Join(names, ", "))
}

func (t *takeover) hasMember(unit int, name string) bool {
	for i := range t.units[unit].Instances {
		if t.units[unit].Instances[i].Name == name {
			return true
		}
	}
	return false
}

var _ control.Takeover = (*director)(nil)
