package tuning

import "slices"

// spareFrom is from how many cores on the one that the rest of the system uses most is the last that a worker takes.
const spareFrom = 4

// WorkerCPUs returns the cores for n workers of ports, best first, at most as many as there are.
func WorkerCPUs(m *Machine, ports []*NIC, n int) []int {
	node := homeNode(m, ports)
	cores := workerCores(m, node)
	if n >= len(cores) { // all are taken: worker i is on core i
		slices.SortFunc(cores, func(a, b CPU) int { return a.ID - b.ID })
	}
	cpus := make([]int, 0, n)
	for _, cpu := range cores[:min(n, len(cores))] {
		cpus = append(cpus, cpu.ID)
	}
	for _, home := range []bool{true, false} { // other threads of the node's cores, then other nodes
		for i := range m.CPUs {
			c := &m.CPUs[i]
			if len(cpus) < n && (c.Node == node || node < 0) == home && !slices.Contains(cpus, c.ID) {
				cpus = append(cpus, c.ID)
			}
		}
	}
	return cpus
}

// homeNode returns the NUMA node of most ports; -1 if none knows its own.
func homeNode(m *Machine, ports []*NIC) int {
	count, best := map[int]int{}, -1
	for _, nic := range ports {
		if nic.Node >= 0 {
			count[nic.Node]++
		}
	}
	for _, nic := range ports { // the first port decides between equals
		if nic.Node >= 0 && (best < 0 || count[nic.Node] > count[best]) {
			best = nic.Node
		}
	}
	if best >= 0 && !slices.ContainsFunc(m.CPUs, func(c CPU) bool { return c.Node == best }) {
		return -1 // a node of memory only
	}
	return best
}

// workerCores returns the first thread of each core of a node, in the order in which workers take them: those
// that were isolated for it alone, or all; the one of the lowest CPU, which the rest of the system uses most, last.
func workerCores(m *Machine, node int) (cores []CPU) {
	var isolated []CPU
	for _, cpu := range m.CPUs {
		if cpu.ID != cpu.Siblings[0] || node >= 0 && cpu.Node != node {
			continue
		}
		cores = append(cores, cpu)
		if cpu.Isolated {
			isolated = append(isolated, cpu)
		}
	}
	if len(isolated) > 0 {
		return isolated
	}
	if len(cores) >= spareFrom {
		cores = append(cores[1:], cores[0])
	}
	return cores
}

// chooseWorkers decides how many workers there are, and where.
func (p *Plan) chooseWorkers(m *Machine, ports []*NIC, w Wish) {
	node := homeNode(m, ports)
	cores := workerCores(m, node)
	n := w.Workers
	if n == 0 {
		n = usableCores(cores, w.ReserveCores)
		if len(w.CPUs) > 0 {
			n = len(w.CPUs)
		}
	}
	for _, nic := range ports {
		if most := maxQueues(nic); most < n {
			if w.Workers > 0 {
				p.note("%s has %d queues at most, fewer than the %d workers that are configured", nic.Name, most, n)
			}
			n = most
		}
		if nic.Node >= 0 && node >= 0 && nic.Node != node {
			p.note("%s is on NUMA node %d, the workers are on node %d: its frames cross between the sockets", nic.Name,
				nic.Node, node)
		}
	}
	cpus := w.CPUs
	if len(cpus) == 0 {
		cpus = WorkerCPUs(m, ports, n)
	}
	for id := range min(n, len(cpus)) {
		p.Workers = append(p.Workers, Worker{id, cpus[id], irqCPU(m, cpus, cpus[id]), id})
	}
}

// usableCores leaves cores to the rest of the system, unless some were set apart for workers alone. One stays.
func usableCores(cores []CPU, reserve int) int {
	if len(cores) > 0 && cores[0].Isolated {
		return len(cores)
	}
	return max(len(cores)-reserve, min(len(cores), 1))
}

// maxQueues returns how many queues of both directions an interface can have.
func maxQueues(nic *NIC) int {
	c := nic.Settings.Channels
	switch {
	case c == nil:
		return nic.QueueCount()
	case c.MaxCombined > 0:
		return c.MaxCombined
	}
	return max(min(c.MaxRX, c.MaxTX), 1)
}

// irqCPU returns the sibling of a worker's CPU, which shares its caches and does not take time from it; the CPU
// itself without one, or if a worker has that.
func irqCPU(m *Machine, workers []int, cpu int) int {
	c := m.cpu(cpu)
	for _, sibling := range c.Siblings {
		if sibling != cpu && !slices.Contains(workers, sibling) && m.cpu(sibling) != nil {
			return sibling
		}
	}
	return cpu
}
