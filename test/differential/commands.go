package differential

import (
	"fmt"
	"net/netip"
	"slices"
)

// planOf is a service that exists, or mostly so.
func (w *world) planOf(exists bool) plan {
	var list []plan
	for _, p := range plans {
		if (w.model.service(p.key) != nil) == exists {
			list = append(list, p)
		}
	}
	if len(list) == 0 || w.one(16) {
		return pick(w.rng, plans...)
	}
	return pick(w.rng, list...)
}

func (w *world) serviceCommand() {
	have := len(w.model.services)
	verb := pick(w.rng, "-A", "-A", "-A", "-E", "-E", "-D")
	if have < 4 {
		verb = pick(w.rng, "-A", "-A", "-A", "-A", "-E")
	}
	p := w.planOf(verb != "-A")
	if verb == "-D" {
		w.ipvsadm("-D", p.option, p.address)
		return
	}
	args := []string{verb, p.option, p.address, "-s", pick(w.rng, schedulers...)}
	if w.one(30) {
		args[4] = "nosuch"
	}
	if p.key.mark == 0 && p.key.port == 0 && !w.one(20) || w.one(3) {
		args = append(args, "-p", fmt.Sprint(pick(w.rng, 1, 4, 20, 50, 100, 360, 1000)))
		switch {
		case !w.one(3):
		case p.key.v6():
			args = append(args, "-M", pick(w.rng, "48", "64", "120", "128"))
		default:
			args = append(args, "-M", pick(w.rng, "255.255.255.0", "255.255.255.192", "255.0.0.0", "255.255.255.255"))
		}
	}
	if p.key.proto == protoUDP && w.one(4) || w.one(60) {
		args = append(args, "-o")
	}
	if s := args[4]; (s == "sh" || s == "mh") && w.one(2) {
		args = append(args, "-b", pick(w.rng, s+"-port", s+"-fallback", s+"-fallback,"+s+"-port"))
	}
	w.ipvsadm(args...)
	if verb == "-A" {
		for range 1 + w.rng.IntN(4) {
			w.addServer(p)
		}
	}
}

func (w *world) serverCommand() {
	p := w.planOf(true)
	s := w.model.service(p.key)
	verb := pick(w.rng, "-a", "-e", "-e", "-d", "-d")
	if s == nil || len(s.list) == 0 || verb == "-a" && len(s.list) < 6 {
		w.addServer(p)
		return
	}
	d := pick(w.rng, s.list...)
	if verb == "-d" {
		w.ipvsadm("-d", p.option, p.address, "-r", d.addrPort().String())
		w.removed = append(w.removed, removal{p, d.addrPort(), d.method})
		return
	}
	args := []string{verb, p.option, p.address, "-r", d.addrPort().String()}
	method := []string{d.method}
	if d.method != "-m" && w.one(6) {
		method = w.method(p) // to NAT would change the port
	}
	w.ipvsadm(append(append(args, method...), w.limits()...)...)
}

func (w *world) method(p plan) []string {
	switch w.rng.IntN(8) {
	case 0, 1, 2:
		return []string{"-m"}
	case 3, 4, 5:
		return []string{"-g"}
	}
	return append([]string{"-i"}, pick(w.rng, nil, []string{"--tun-type", "ipip"}, []string{"--tun-type", "gre"},
		[]string{"--tun-type", "gre", "--tun-csum"}, []string{"--tun-type", "gue", "--tun-port", "6080", "--tun-csum"},
		[]string{"--tun-type", "gue", "--tun-port", "6080", "--tun-nocsum"})...)
}

// limits are a weight and perhaps thresholds.
func (w *world) limits() []string {
	args := []string{"-w", fmt.Sprint(pick(w.rng, 0, 1, 1, 1, 2, 3, 4, 6, 10, 100))}
	if w.one(3) {
		upper := 1 + w.rng.IntN(4)
		args = append(args, "-x", fmt.Sprint(upper))
		if w.one(2) {
			args = append(args, "-y", fmt.Sprint(w.rng.IntN(upper+1)))
		} else if w.one(10) {
			args = append(args, "-y", fmt.Sprint(upper+1))
		}
	}
	return args
}

func (w *world) addServer(p plan) {
	method := w.method(p)
	v6 := p.key.v6()
	if method[0] == "-i" && w.one(6) {
		v6 = !v6
	} else if w.one(60) {
		v6 = !v6
	}
	port := p.key.port
	if method[0] == "-m" {
		port = w.natPort(p)
	}
	to := netip.AddrPortFrom(realAddr(w.rng.IntN(reals), v6), port)
	args := append([]string{"-a", p.option, p.address, "-r", to.String()}, method...)
	w.ipvsadm(append(args, w.limits()...)...)
}

// natPort is a port for NAT, no other service's.
func (w *world) natPort(p plan) uint16 {
	if p.key.port == 0 && !w.one(4) {
		return 0
	}
	n := slices.IndexFunc(plans, func(o plan) bool { return o.key == p.key })
	return uint16(8000 + 10*n + w.rng.IntN(2))
}

// removal is a real server that was removed.
type removal struct {
	plan   plan
	to     netip.AddrPort
	method string
}

// comeBack adds a real server again that was there before.
func (w *world) comeBack() {
	if len(w.removed) == 0 {
		w.serverCommand()
		return
	}
	at := len(w.removed) - 1 - w.rng.IntN(min(4, len(w.removed)))
	r := w.removed[at]
	w.removed = slices.Delete(w.removed, at, at+1)
	if w.model.service(r.plan.key) == nil {
		w.ipvsadm("-A", r.plan.option, r.plan.address, "-s", pick(w.rng, schedulers...), "-p", "60")
	}
	w.ipvsadm(append([]string{"-a", r.plan.option, r.plan.address, "-r", r.to.String(), r.method}, w.limits()...)...)
}

func (w *world) weightCommand() {
	p := w.planOf(true)
	s := w.model.service(p.key)
	if s == nil || len(s.list) == 0 {
		w.addServer(p)
		return
	}
	d := pick(w.rng, s.list...)
	weight := 0
	if d.weight == 0 {
		weight = 1 + w.rng.IntN(5)
	}
	args := []string{"-e", p.option, p.address, "-r", d.addrPort().String(), d.method, "-w", fmt.Sprint(weight)}
	if d.upper > 0 {
		args = append(args, "-x", fmt.Sprint(d.upper))
	}
	w.ipvsadm(args...)
}

func (w *world) otherCommand() {
	switch w.rng.IntN(10) {
	case 0, 1:
		p := w.planOf(true)
		w.ipvsadm("-Z", p.option, p.address)
	case 2:
		w.ipvsadm("-Z")
	case 3, 4:
		w.ipvsadm("--set", fmt.Sprint(w.rng.IntN(3)*100), fmt.Sprint(w.rng.IntN(3)*30), fmt.Sprint(w.rng.IntN(3)*60))
	case 5:
		w.ipvsadm("-C")
	case 6, 7:
		w.saveAndRestore()
	case 8, 9:
		w.setMTU(w.rng.IntN(2), pick(w.rng, 1500, 1500, 1400, 1300, 1280))
	}
}

func (w *world) changeSetting() {
	for _, s := range []struct {
		name   string
		values []int
	}{
		{"expire_nodest_conn", []int{0, 0, 1}}, {"expire_quiescent_template", []int{0, 1}},
		{"conn_reuse_mode", []int{1, 1, 0, 2, 3}}, {"sloppy_tcp", []int{0, 0, 1}}, {"nat_icmp_send", []int{0, 1}},
		{"pmtu_disc", []int{1, 1, 0}}, {"drop_packet", []int{0, 0, 0, 3}}, {"am_droprate", []int{10, 3, 1}},
		{"secure_tcp", []int{0, 0, 0, 3}},
		{"schedule_icmp", []int{0, 1}},
	} {
		if w.one(10) {
			w.set(s.name, pick(w.rng, s.values...))
		}
	}
}
