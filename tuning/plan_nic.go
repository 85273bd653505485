package tuning

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ringWanted is the length of rings, in frames, that rides out a worker's longest pause: 2048 frames are 1.4 ms of 64
// byte frames at 1 Gbit/s, and still fit into a core's share of the cache.
const ringWanted = 2048

// Sizes of what AF_XDP needs.
const (
	framesDefault = 8192
	frameBytes    = 2048
	hugePageBytes = 2 << 20
)

// nic plans a port: queues first, because the rest is about those that there are then.
func (p *Plan) nic(nic *NIC, w Wish) {
	n := len(p.Workers)
	p.channels(nic, n)
	p.rings(nic)
	p.features(nic)
	p.table(nic, n)
	for _, worker := range p.Workers {
		if !w.KeepIRQs {
			p.irqs(nic, worker)
		}
		p.steering(nic, worker)
	}
}

func (p *Plan) channels(nic *NIC, n int) {
	c := nic.Settings.Channels
	if c == nil {
		if have := nic.QueueCount(); have != n {
			p.add(Item{Subject: nic.Name, What: "queues", Now: strconv.Itoa(have), Wanted: strconv.Itoa(n),
				Why: "one for each worker; the driver does not let the number be changed", State: StateManual})
		}
		return
	}
	want := *c
	if c.MaxCombined > 0 {
		want.Combined, want.RX, want.TX = n, 0, 0
	} else {
		want.RX, want.TX = n, n
	}
	now := c.Combined + c.RX
	p.add(Item{
		Setting: Setting{Kind: KindChannels, NIC: nic.Name}, Subject: nic.Name, What: "queues",
		Now: strconv.Itoa(now), Wanted: strconv.Itoa(n), Value: want.String(), first: true,
		Why: "one worker per queue, and as many as cores on the NIC's node can serve",
	})
	if now != n {
		p.keepQueues(nic)
	}
	p.shrinkTable(nic, now, n)
}

// keepQueues has undo put back what a change of the number of queues takes away.
func (p *Plan) keepQueues(nic *NIC) {
	for _, irq := range nic.IRQs {
		if irq.Queue >= 0 {
			p.keep = append(p.keep, irqSetting(nic, &irq))
		}
	}
	for _, q := range nic.RX {
		p.keep = append(p.keep, steerSetting(nic, "rx", q.ID))
	}
	for _, q := range nic.TX {
		if q.text != "" {
			p.keep = append(p.keep, steerSetting(nic, "tx", q.ID))
		}
	}
	if nic.Settings.Table != nil {
		p.keep = append(p.keep, Setting{Kind: KindTable, NIC: nic.Name})
	}
}

// shrinkTable spreads frames over the queues that stay before the others go: the kernel refuses fewer queues than
// the table uses.
func (p *Plan) shrinkTable(nic *NIC, now, n int) {
	if table := nic.Settings.Table; n < now && uses(table) > n {
		p.tableItem(nic, n, true)
		last := len(p.Items) - 1
		p.Items[last-1], p.Items[last] = p.Items[last], p.Items[last-1] // before the queues
	}
}

// uses returns how many queues a table needs.
func uses(table []uint32) int {
	if len(table) == 0 {
		return 0
	}
	return int(slices.Max(table)) + 1
}

func (p *Plan) table(nic *NIC, n int) {
	if nic.Settings.Table == nil || slices.ContainsFunc(p.Items, func(it Item) bool {
		return it.Kind == KindTable && it.NIC == nic.Name
	}) {
		return
	}
	p.tableItem(nic, n, false)
}

func (p *Plan) tableItem(nic *NIC, n int, first bool) {
	want := make([]uint32, len(nic.Settings.Table))
	for i := range want {
		want[i] = uint32(i % n)
	}
	p.add(Item{
		Setting: Setting{Kind: KindTable, NIC: nic.Name}, Subject: nic.Name, What: "RSS",
		Now: spread(nic.Settings.Table), Wanted: spread(want), Value: tableText(want), first: first,
		Why: "each queue gets an equal share of the flows",
	})
}

// spread words a table: over which queues, and how evenly.
func spread(table []uint32) string {
	share := map[uint32]int{}
	for _, queue := range table {
		share[queue]++
	}
	low, high := len(table), 0
	for _, n := range share {
		low, high = min(low, n), max(high, n)
	}
	if high-low > 1 {
		return fmt.Sprintf("over %d queues, uneven", len(share))
	}
	return fmt.Sprintf("over %d queues", len(share))
}

func (p *Plan) rings(nic *NIC) {
	r := nic.Settings.Rings
	if r == nil {
		return
	}
	want := *r
	want.RX, want.TX = max(r.RX, min(r.MaxRX, ringWanted)), max(r.TX, min(r.MaxTX, ringWanted))
	p.add(Item{
		Setting: Setting{Kind: KindRings, NIC: nic.Name}, Subject: nic.Name, What: "rings",
		Now: r.String(), Wanted: want.String(), Value: want.String(),
		Why: "bursts, and a worker's pauses, fit in",
	})
}

func (p *Plan) features(nic *NIC) {
	p.feature(nic, featLRO, false, "XDP and forwarding cannot have merged frames")
	if nic.Driver != "virtio_net" { // it does that by itself as long as a program is attached, and refuses to be told so
		p.feature(nic, featGROHW, false, "XDP and forwarding cannot have merged frames")
	}
	p.feature(nic, featRXCsum, true, "the kernel's own traffic on the port needs it not computed again")
	if len(nic.VLANs) > 0 {
		p.feature(nic, featRXVLAN, false, "the data plane has to see the tags of "+strings.Join(nic.VLANs, ", "))
	}
}

func (p *Plan) feature(nic *NIC, name string, on bool, why string) {
	f, has := nic.Settings.Features[name]
	if !has {
		return
	}
	it := Item{
		Setting: Setting{Kind: KindFeature, NIC: nic.Name, Name: name}, Subject: nic.Name, What: name,
		Now: onWord(f.On), Wanted: onWord(on), Value: onWord(on), Why: why,
	}
	if f.Fixed {
		it.State, it.Why = StateManual, why+"; the driver does not let it be changed"
		if name == featGROHW {
			return // drivers turn it off when a program attaches
		}
	}
	p.add(it)
}

func irqSetting(nic *NIC, irq *IRQ) Setting {
	return Setting{Kind: KindIRQ, NIC: nic.Name, Name: fmt.Sprintf("%d %s", irq.Number, irq.Name)}
}

// irqs puts the interrupts of a worker's queue on its core.
func (p *Plan) irqs(nic *NIC, w Worker) {
	for _, irq := range nic.QueueIRQs(w.Queue) {
		want := strconv.Itoa(w.IRQCPU)
		why := "frames arrive in the cache of worker " + strconv.Itoa(w.ID)
		if w.IRQCPU != w.CPU {
			why += "'s core, on its other thread"
		}
		p.add(Item{
			Setting: irqSetting(nic, &irq), Subject: nic.Name, What: "interrupts",
			Now: "CPU " + formatCPUList(irq.CPUs), Wanted: "CPU " + want, Value: want, Why: why,
		})
	}
}

func steerSetting(nic *NIC, direction string, queue int) Setting {
	attribute := map[string]string{"rx": "rps_cpus", "tx": "xps_cpus"}[direction]
	return Setting{Kind: KindFile, NIC: nic.Name,
		Name: fmt.Sprintf("%s%s/queues/%s-%d/%s", netClass, nic.Name, direction, queue, attribute)}
}

// steering turns RPS off and has the CPUs of a worker send on its queue.
func (p *Plan) steering(nic *NIC, w Worker) {
	for _, q := range nic.RX {
		if q.ID == w.Queue && q.text != "" {
			p.steer(nic, "rx", q, Item{What: "RPS", Why: "it would take frames to other cores"})
		}
	}
	for _, q := range nic.TX {
		if q.ID == w.Queue && q.text != "" {
			cpus := []int{w.CPU, w.IRQCPU}
			slices.Sort(cpus)
			p.steer(nic, "tx", q, Item{What: "XPS", Why: "a core sends on its own queue"}, slices.Compact(cpus)...)
		}
	}
}

func (p *Plan) steer(nic *NIC, direction string, q Queue, it Item, cpus ...int) {
	it.Setting, it.Subject = steerSetting(nic, direction, q.ID), nic.Name
	it.Now, it.Wanted, it.Value = steerWord(q.Steer), steerWord(cpus), formatCPUMask(cpus, q.text)
	p.add(it)
}

func steerWord(cpus []int) string {
	if len(cpus) == 0 {
		return "off"
	}
	return "CPU " + formatCPUList(cpus)
}
