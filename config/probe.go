package config

// DefaultProbePorts is the first and last source port of checks down the real path: what Linux's default
// ip_local_port_range leaves free, 4096 checks at a time.
func DefaultProbePorts() [2]uint16 { return [2]uint16{61440, 65535} }

// minProbePorts keeps checks from waiting for each other's ports.
const minProbePorts = 64

func probePorts(t *table) [2]uint16 {
	const form = `a range of at least 64 like "61440-65535"`
	text := t.text("probe_ports", form)
	if text == "" {
		return DefaultProbePorts()
	}
	ports, err := parsePorts(text)
	switch {
	case err != nil:
		t.fail("probe_ports", "%v; give %s", err, form)
	case ports[1]-ports[0] < minProbePorts-1:
		t.fail("probe_ports", "%q are %d ports; give %s", text, ports[1]-ports[0]+1, form)
	}
	return ports
}
