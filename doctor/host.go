package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ulvs/control"
	"ulvs/tuning"
)

// oldestKernel has everything that ulvs needs.
const oldestKernel = "5.10"

func kernel(p *Patient) []Finding {
	if k := p.Machine.Kernel; k != "" && !tuning.AtLeast(k, oldestKernel) {
		return []Finding{find(codeKernel, "host", "Linux %s; %s is the oldest that works", k, oldestKernel)}
	}
	return nil
}

// ports returns the interfaces that carry VIP traffic.
func (p *Patient) ports() []*tuning.NIC {
	if p.Config == nil {
		return nil
	}
	return p.Machine.Ports(p.Config.Node.Interfaces)
}

// workers returns the workers: those that run, else those that would.
func (p *Patient) workers() (list []tuning.Worker) {
	if st := p.Facts.Status; st != nil {
		for _, w := range st.Workers {
			list = append(list, tuning.Worker{ID: w.ID, CPU: w.CPU, IRQCPU: w.CPU, Queue: w.Queue})
		}
		return list
	}
	ports := p.ports()
	if len(ports) == 0 {
		return nil
	}
	cpus, n := p.Config.Node.CPUs, ports[0].QueueCount()
	if len(cpus) == 0 {
		cpus = tuning.WorkerCPUs(p.Machine, ports, n)
	}
	for id, cpu := range cpus[:min(n, len(cpus))] {
		list = append(list, tuning.Worker{ID: id, CPU: cpu, IRQCPU: cpu, Queue: id})
	}
	return list
}

// queues looks for what makes workers share cores, or leaves queues without a worker.
func queues(p *Patient) (found []Finding) {
	ports, workers := p.ports(), p.workers()
	for _, nic := range ports {
		n := nic.QueueCount()
		switch {
		case n != ports[0].QueueCount():
			found = append(found, find(codeQueues, nic.Name, "it has %d queues and %s has %d: each worker serves one of every "+
				"interface", n, ports[0].Name, ports[0].QueueCount()))
		case p.Facts.Status != nil && n != len(workers):
			found = append(found, find(codeQueues, nic.Name, "it has %d queues and %d workers serve them", n, len(workers)))
		case n > len(p.Machine.CPUs):
			found = append(found, find(codeQueues, nic.Name, "it has %d queues for %d CPUs", n, len(p.Machine.CPUs)))
		}
	}
	taken := map[int]int{}
	for _, w := range workers {
		other, shared := taken[w.CPU]
		switch {
		case w.CPU < 0:
			found = append(found, find(codeQueues, fmt.Sprintf("worker %d", w.ID), "it is not pinned to a core"))
		case shared:
			found = append(found, find(codeQueues, fmt.Sprintf("worker %d", w.ID), "it shares CPU %d with worker %d", w.CPU,
				other))
		}
		taken[w.CPU] = w.ID
	}
	return append(found, p.foreignNodes(ports, workers)...)
}

// foreignNodes finds ports on another NUMA node than their workers.
func (p *Patient) foreignNodes(ports []*tuning.NIC, workers []tuning.Worker) (found []Finding) {
	for _, nic := range ports {
		for _, w := range workers {
			node, known := p.Machine.NodeOf(w.CPU)
			if known && nic.Node >= 0 && node != nic.Node {
				found = append(found, find(codeQueues, nic.Name, "it is on NUMA node %d, and worker %d runs on node %d", nic.Node,
					w.ID, node))
				break
			}
		}
	}
	return found
}

// interrupts finds those that are, or may be moved, away from their workers.
func interrupts(p *Patient) (found []Finding) {
	ports := p.ports()
	for _, nic := range ports {
		var away []string
		for _, w := range p.workers() {
			for _, irq := range nic.QueueIRQs(w.Queue) {
				if irq.RX && w.CPU >= 0 && !p.near(irq, w.CPU) {
					away = append(away, fmt.Sprintf("queue %d on CPU %s, its worker on CPU %d", w.Queue, irq.Where(), w.CPU))
				}
			}
		}
		if len(away) > 0 {
			found = append(found, find(codeInterrupts, nic.Name, "%s%s", away[0], more(len(away)-1)))
		}
	}
	return append(found, p.balancer(ports)...)
}

func more(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", and %d more", n)
}

// near reports whether an interrupt fires on the core of a CPU only.
func (p *Patient) near(irq tuning.IRQ, cpu int) bool {
	cpus := irq.Effective
	if len(cpus) == 0 {
		cpus = irq.CPUs
	}
	siblings := p.Machine.Siblings(cpu)
	return !slices.ContainsFunc(cpus, func(c int) bool { return !slices.Contains(siblings, c) })
}

func (p *Patient) balancer(ports []*tuning.NIC) []Finding {
	b := p.Machine.Balancer
	if !b.Running {
		return nil
	}
	flags := strings.Fields(b.Command)
	for _, nic := range ports {
		for _, irq := range nic.IRQs {
			if irq.Queue >= 0 && !slices.Contains(flags, fmt.Sprintf("--banirq=%d", irq.Number)) {
				return []Finding{find(codeBalancer, "host", "process %d may move the interrupts of %s", b.PID, nic.Name)}
			}
		}
	}
	return nil
}

// lossShare is the share of frames whose loss is worth a word: one in a million.
const lossShare = 1e-6

// nicDrops are counters of frames that a NIC had no room for, or that came in broken.
var nicDrops = []string{"rx_missed_errors", "rx_fifo_errors", "rx_over_errors", "rx_crc_errors", "tx_fifo_errors"}

func drops(p *Patient) (found []Finding) {
	for _, nic := range p.ports() {
		var parts []string
		lost := uint64(0)
		for _, name := range nicDrops {
			if n := nic.Drops[name]; n > 0 {
				parts, lost = append(parts, fmt.Sprintf("%s %d", name, n)), lost+n
			}
		}
		if float64(lost) > lossShare*float64(nic.Frames) {
			found = append(found, find(codeNICDrops, nic.Name, "%s, of %d frames", strings.Join(parts, ", "), nic.Frames))
		}
	}
	if st := p.Facts.Status; st != nil {
		for i := range st.Ports {
			found = append(found, ringDrops(&st.Ports[i])...)
		}
	}
	return found
}

func ringDrops(port *control.PortStatus) []Finding {
	in, out := port.RXDropped+port.RXRingFull, port.TXFull+port.TXErrors
	if float64(in) <= lossShare*float64(port.RXFrames) && float64(out) <= lossShare*float64(port.TXFrames) {
		return nil
	}
	return []Finding{find(codeRingDrops, port.Name, "%d frames lost before the workers, of %d; %d given up on sending, "+
		"of %d", in, port.RXFrames, out, port.TXFrames)}
}

// copies finds ports that could do without.
func copies(p *Patient) (found []Finding) {
	if p.Facts.Status == nil || p.Config == nil || p.Config.Node.XDPMode != "auto" {
		return nil
	}
	for _, port := range p.Facts.Status.Ports {
		nic := p.Machine.NIC(port.Name)
		if nic == nil || port.CopyMode != "copy" {
			continue
		}
		if d := tuning.DriverOf(nic.Driver); d != nil && d.HasZeroCopy(p.Machine.Kernel) {
			found = append(found, find(codeCopies, port.Name, "driver %s has zero-copy since Linux %s, this is %s%s", d.Name,
				d.ZeroCopy, p.Machine.Kernel, because(port.ZeroCopyFailure)))
		}
	}
	return found
}

func because(failure string) string {
	if failure == "" {
		return ""
	}
	return "; at start " + failure
}

// jumpLimit is what the clock may be slewed by, and uptimes rounded.
const jumpLimit = 3 * time.Second

// jumps compares how long the director has run by both clocks.
func jumps(p *Patient) []Finding {
	st := p.Facts.Status
	if st == nil {
		return nil
	}
	wall := p.Now().Sub(st.StartedAt)
	jump := wall - time.Duration(st.UptimeSeconds)*time.Second
	if jump > -jumpLimit && jump < jumpLimit {
		return nil
	}
	return []Finding{find(codeJump, "host", "ulvs has run for %v, and the clock went %+v since it started",
		time.Duration(st.UptimeSeconds)*time.Second, wall.Round(time.Second))}
}
