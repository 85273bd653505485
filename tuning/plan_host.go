package tuning

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// backlogWanted is the source document's value: frames that wait for the kernel's stack, per core.
const backlogWanted = "30000"

const balancerUnit = "irqbalance.service"

// balancer stops irqbalance, or has it leave the ports' interrupts alone.
func (p *Plan) balancer(m *Machine, ports []*NIC, w Wish) {
	it := Item{Subject: "host", What: "irqbalance", Now: "not running", Wanted: "not running",
		Why: "it moves interrupts away from their workers; its power-saving mode puts all on one core"}
	if m.Balancer.Running {
		it.Now = "running"
	}
	if w.KeepIRQs || !w.KeepBalancer || !m.Balancer.Running {
		it.Setting, it.Value = Setting{Kind: KindUnit, Name: balancerUnit}, activeWord(false)
		if m.Balancer.Running && !m.Systemd {
			it.State, it.Why = StateManual, it.Why+"; no systemd here: stop process "+strconv.Itoa(m.Balancer.PID)
		}
		p.add(it)
		return
	}
	command := spareCommand(m.Balancer.Command, ports)
	it.Wanted = "leaves our interrupts alone"
	if command == m.Balancer.Command {
		it.Now = it.Wanted
	}
	it.Setting = Setting{Kind: KindDropIn, Name: "/run/systemd/system/" + balancerUnit + ".d/ulvs.conf"}
	it.Value = "[Service]\nExecStart=\nExecStart=" + command + "\n"
	if !m.Systemd {
		it.State, it.Why = StateManual, it.Why+"; no systemd here: start it as: "+command
	}
	p.add(it)
}

// spareCommand is irqbalance's command line with every interrupt of the ports in it.
func spareCommand(command string, ports []*NIC) string {
	fields := strings.Fields(command)
	for _, nic := range ports {
		for _, irq := range nic.IRQs {
			flag := fmt.Sprintf("--banirq=%d", irq.Number)
			if irq.Queue >= 0 && !slices.Contains(fields, flag) {
				fields = append(fields, flag)
			}
		}
	}
	return strings.Join(fields, " ")
}

// host plans what is the machine's.
func (p *Plan) host(m *Machine, w Wish) {
	p.sysctl(m, sysctlBacklog, backlogWanted, "what passes to the kernel's stack in bursts is not dropped")
	for _, name := range w.Interfaces {
		if m.Sysctls[rpFilter(name)] == "1" {
			p.sysctl(m, rpFilter(name), "2", "answers of real servers may come in by another way than back")
		}
	}
	p.hugePages(m, w)
	p.transparent(m)
	p.memlock(m)
	for _, id := range p.busyCPUs() {
		p.governor(m.cpu(id))
		p.sleep(m.cpu(id))
	}
}

func (p *Plan) sysctl(m *Machine, name, want, why string) {
	now, has := m.Sysctls[name]
	if !has {
		return
	}
	it := Item{Setting: Setting{Kind: KindFile, Name: sysctlPath(name)}, Subject: "host", What: name, Now: now,
		Wanted: want, Value: want, Why: why}
	if n, err := strconv.Atoi(now); name == sysctlBacklog && err == nil && strconv.Itoa(n) == now {
		if least, _ := strconv.Atoi(want); n > least {
			it.Wanted = now
		}
	}
	p.add(it)
}

// hugePages reserves what the workers' frames take, on their node.
func (p *Plan) hugePages(m *Machine, w Wish) {
	frames := w.Frames
	if frames == 0 {
		frames = framesDefault
	}
	need := map[int]int{}
	for _, worker := range p.Workers {
		need[m.cpu(worker.CPU).Node] += (frames*frameBytes + hugePageBytes - 1) / hugePageBytes
	}
	for _, h := range m.HugePages {
		if need[h.Node] == 0 {
			continue
		}
		want := h.Total
		if used := h.Total - h.Free; h.Free < need[h.Node] && used < need[h.Node] { // a running ulvs uses them
			want += need[h.Node] - h.Free
		}
		p.add(Item{Setting: Setting{Kind: KindFile, Name: h.Path}, Subject: fmt.Sprintf("node %d", h.Node),
			What: "2 MiB pages", Now: strconv.Itoa(h.Total), Wanted: strconv.Itoa(want), Value: strconv.Itoa(want),
			Why: "frames of the workers without misses of the address cache"})
	}
}

// transparent lets the connection table ask for huge pages.
func (p *Plan) transparent(m *Machine) {
	if m.THP == "" {
		return
	}
	want := m.THP
	if want == "never" {
		want = "madvise"
	}
	p.add(Item{Setting: Setting{Kind: KindChoice, Name: "/sys/kernel/mm/transparent_hugepage/enabled"}, Subject: "host",
		What: "transparent huge pages", Now: m.THP, Wanted: want, Value: want,
		Why: "look-ups in a large connection table are a fifth faster"})
}

func (p *Plan) memlock(m *Machine) {
	if m.Memlock != "" {
		p.add(Item{Subject: "ulvs", What: "memlock", Now: m.Memlock, Wanted: "unlimited", State: StateRun,
			Why: "frames are locked memory"})
	}
}

// busyCPUs returns where workers and their interrupts run, ascending.
func (p *Plan) busyCPUs() (cpus []int) {
	for _, w := range p.Workers {
		cpus = append(cpus, w.CPU, w.IRQCPU)
	}
	slices.Sort(cpus)
	return slices.Compact(cpus)
}

func (p *Plan) governor(c *CPU) {
	if c.Governor == "" {
		return
	}
	p.add(Item{Setting: Setting{Kind: KindFile,
		Name: fmt.Sprintf("/sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor", c.ID)},
		Subject: fmt.Sprintf("CPU %d", c.ID), What: "governor", Now: c.Governor, Wanted: "performance",
		Value: "performance", Why: "no frequency to be raised first when a burst comes"})
}

// wakeMostUS leaves C1 and C1E (2 and 10 us), and no deeper sleep: coming out of C6 takes 100 us and more.
const wakeMostUS = 20

func cpuWakeLimit(id int) string {
	return fmt.Sprintf("/sys/devices/system/cpu/cpu%d/power/pm_qos_resume_latency_us", id)
}

// sleep keeps a core from sleep states that it comes out of slowly; what allows less is left alone.
func (p *Plan) sleep(c *CPU) {
	if c.WakeLimit == "" || c.WakeUS <= wakeMostUS {
		return
	}
	want := strconv.Itoa(wakeMostUS)
	if n, err := strconv.Atoi(c.WakeLimit); err != nil || n > 0 && n < wakeMostUS {
		want = c.WakeLimit // n/a: it does not sleep at all
	}
	p.add(Item{Setting: Setting{Kind: KindFile, Name: cpuWakeLimit(c.ID)}, Subject: fmt.Sprintf("CPU %d", c.ID),
		What: "wake-up, us", Now: c.WakeLimit, Wanted: want, Value: want,
		Why: fmt.Sprintf("the first frame after a pause does not wait %d us for the core to wake up", c.WakeUS)})
}
