package lab

import (
	"os"

	"ulvs/decap"
)

// Status says what stands of a lab.
type Status struct {
	Prefix     string            `json:"prefix"`
	Up         bool              `json:"up"` // complete
	Options    Options           `json:"options"`
	Addresses  Addresses         `json:"addresses"`
	Namespaces []NamespaceStatus `json:"namespaces"`
}

// NamespaceStatus is one namespace of a lab.
type NamespaceStatus struct {
	Name      string    `json:"name"`  // as in "ip netns"
	State     string    `json:"state"` // up, absent, stale (a name without a namespace), foreign
	Role      string    `json:"role"`
	Addresses []Dual    `json:"addresses,omitempty"`
	Processes []Process `json:"processes"`
	// Unpacked counts a real server's tunnel packets; nil for the others.
	Unpacked *decap.Counts `json:"unpacked_packets,omitempty"`
}

// Inspect looks at the lab of the prefix and changes nothing.
func Inspect(prefix string) (Status, error) {
	o := Options{Prefix: prefix}.withDefaults()
	if err := o.validate(); err != nil {
		return Status{}, err
	}
	if os.Geteuid() != 0 {
		return Status{}, errNotRoot
	}
	if s, err := readState(o.Prefix); err == nil {
		o = s.Options
	}
	l := &Lab{o, plan(o)}
	st := Status{Prefix: o.Prefix, Up: l.stands(), Options: o, Addresses: l.addrs}
	for _, name := range l.hosts() {
		st.Namespaces = append(st.Namespaces, l.inspect(name))
	}
	return st, nil
}

// Status looks at this lab.
func (l *Lab) Status() (Status, error) { return Inspect(l.opts.Prefix) }

func (l *Lab) inspect(name string) NamespaceStatus {
	ns := l.namespace(name)
	role, addrs := l.role(name)
	s := NamespaceStatus{Name: ns.name, Role: role, Addresses: addrs, Processes: []Process{}}
	who, err := ns.owned()
	switch {
	case err != nil || who == foreign:
		s.State = "foreign"
	case who == absent:
		s.State = "absent"
	case !ns.mounted():
		s.State = "stale"
	default:
		s.State = "up"
		for _, procs := range processes([]namespace{ns}) {
			s.Processes = procs
		}
		if role == "real server" {
			s.Unpacked = l.unpacked(name)
		}
	}
	return s
}

// unpacked returns nil when the program cannot be read.
func (l *Lab) unpacked(name string) (n *decap.Counts) {
	_ = l.Do(name, func() error {
		c, err := decap.Read(realLink)
		if err == nil {
			n = &c
		}
		return err
	})
	return n
}

// role describes a namespace for people.
func (l *Lab) role(name string) (string, []Dual) {
	switch name {
	case "c1":
		return "client", l.addrs.Clients[:1]
	case "sw0":
		return "client-side bridge", nil
	case "sw1":
		return "server-side bridge", nil
	case "rt":
		return "gateway", []Dual{l.addrs.GatewayClient, l.addrs.GatewayServer}
	}
	for _, d := range l.addrs.Directors {
		if d.Name == name {
			return "director", []Dual{d.Client, d.Server}
		}
	}
	for _, r := range l.addrs.Reals {
		if r.Name == name {
			return "real server", []Dual{r.Addr, r.Direct}
		}
	}
	return "", nil
}
