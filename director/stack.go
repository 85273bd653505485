package director

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"ulvs/control"
	"ulvs/userstack"
)

// stackOverhead is the largest outer header of a tunnel: IPv6, UDP and GUE. What the stack sends fits behind it.
const stackOverhead = 40 + 8 + 4

// openStack starts the stack of our own, for so many workers.
func (d *director) openStack(workers int) (err error) {
	node := &d.opt.Config.Node
	mtu := userstack.MTUMax
	for _, p := range present(node.Interfaces, d.routes.State()) {
		mtu = min(mtu, p.link.MTU)
	}
	d.stack, err = userstack.New(userstack.Options{
		Workers: workers, Wake: func(i int) { d.workers[i].wake() }, Ports: node.ProbePorts, MTU: mtu - stackOverhead,
	})
	if err != nil {
		return fmt.Errorf("start the stack of our own: %w", err)
	}
	if err := checkProbePorts(node.ProbePorts, os.ReadFile); err != nil {
		d.log.Warn("ports of checks down the real path", "err", err)
	}
	return nil
}

func (d *director) stackStatus() (s control.Stack) {
	if d.stack == nil {
		return s
	}
	for i, w := range d.workers {
		l := d.stack.Link(i)
		s.Frames += w.dp.Stats().Own()
		s.Lost += l.FromStack.Lost() + l.ToStack.Lost()
	}
	s.Probes, s.ProbeLimit, s.ProbesRefused = d.stack.Probes().Stats()
	local := d.stack.LocalStats()
	s.Sessions, s.SessionLimit = local.Open, local.Limit
	s.Accepted, s.Refused, s.Unreachable = local.Accepted, local.Refused, local.Unreachable
	return s
}

func (d *director) closeStack() {
	if d.stack != nil {
		d.stack.Close()
	}
}

// checkProbePorts returns an error if the kernel may give the ports to connections of the host's programs, to a VIP of
// ours: their answers would be taken for a check's.
func checkProbePorts(ports [2]uint16, read func(string) ([]byte, error)) error {
	const dir = "/proc/sys/net/ipv4/"
	local, err1 := read(dir + "ip_local_port_range")
	reserved, err2 := read(dir + "ip_local_reserved_ports")
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	var first, last int
	if _, err := fmt.Sscan(string(local), &first, &last); err != nil {
		return fmt.Errorf("read ip_local_port_range: %w", err)
	}
	from, to := max(int(ports[0]), first), min(int(ports[1]), last)
	if from > to || isReserved(string(reserved), from, to) {
		return nil
	}
	return fmt.Errorf("probe_ports %d-%d overlap with net.ipv4.ip_local_port_range %d-%d: "+
		"reserve them with: sysctl net.ipv4.ip_local_reserved_ports=%d-%d, or set node.probe_ports",
		ports[0], ports[1], first, last, ports[0], ports[1])
}

// isReserved reports whether one of the ranges of ip_local_reserved_ports covers all of from to to.
func isReserved(list string, from, to int) bool {
	for _, r := range strings.Split(strings.TrimSpace(list), ",") {
		a, b, ranged := strings.Cut(r, "-")
		if !ranged {
			b = a
		}
		lo, err1 := strconv.Atoi(a)
		hi, err2 := strconv.Atoi(b)
		if err1 == nil && err2 == nil && lo <= from && to <= hi {
			return true
		}
	}
	return false
}
