package tuning

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const netClass = "/sys/class/net/"

// quiet errors of sysfs mean that an attribute has nothing to say: XPS of a single queue, the speed of a dead link.
func quiet(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOENT)
}

func (r *reader) nics() (nics []NIC) {
	lines := r.interrupts()
	for _, name := range r.names(netClass) {
		if !r.has(netClass+name+"/mtu") || name == "lo" { // bonding_masters is a file
			continue
		}
		r.nic = name
		nics = append(nics, r.readNIC(name, lines))
	}
	r.nic = ""
	for i := range nics {
		for _, other := range nics {
			if other.Parent == nics[i].Name {
				nics[i].VLANs = append(nics[i].VLANs, other.Name)
			}
		}
	}
	return nics
}

func (r *reader) readNIC(name string, lines []interruptLine) NIC {
	folder := netClass + name
	n := NIC{
		Name: name, MTU: r.number(folder+"/mtu", 0), MAC: r.text(folder + "/address"),
		Up: r.text(folder+"/operstate") == "up", Node: -1,
		Master: r.linkName(folder + "/master"), Parent: r.vlanParent(name),
		Frames: uint64(max(r.number(folder+"/statistics/rx_packets", 0), 0)),
		VLANs:  []string{}, Members: []string{}, RX: []Queue{}, TX: []Queue{}, IRQs: []IRQ{}, Drops: r.drops(folder),
	}
	if mode := r.text(folder + "/bonding/mode"); mode != "" {
		n.Mode = strings.Fields(mode)[0]
		n.Members = append(n.Members, strings.Fields(r.text(folder+"/bonding/slaves"))...)
	}
	n.RX, n.TX = r.queues(folder, "rx-", "/rps_cpus"), r.queues(folder, "tx-", "/xps_cpus")
	r.device(&n, folder, lines)
	settings, err := r.tool.Settings(name)
	if err != nil {
		r.cannot("ethtool "+name, err)
	}
	n.Settings = settings
	return n
}

// device reads what only hardware has. The device of a virtio NIC is virtioN, below the one on the bus.
func (r *reader) device(n *NIC, folder string, lines []interruptLine) {
	device := folder + "/device"
	if !r.has(device) {
		return
	}
	n.Driver = uevent(r.text(device+"/uevent"), "DRIVER")
	bus := device
	if !r.has(device+"/msi_irqs") && r.has(device+"/../msi_irqs") {
		bus = device + "/.."
	}
	n.Bus = uevent(r.text(bus+"/uevent"), "PCI_SLOT_NAME")
	n.Node = r.number(bus+"/numa_node", -1)
	var numbers []int
	for _, text := range r.names(bus + "/msi_irqs") {
		if irq, err := strconv.Atoi(text); err == nil {
			numbers = append(numbers, irq)
		}
	}
	for _, line := range lines {
		if slices.Contains(numbers, line.number) || len(numbers) == 0 && namesInterface(line.name, n.Name) {
			n.IRQs = append(n.IRQs, r.irq(line))
		}
	}
	if len(n.RX) > 1 && !slices.ContainsFunc(n.IRQs, func(i IRQ) bool { return i.RX }) {
		r.cannot("interrupts of "+n.Name, fmt.Errorf("driver %s, %d queues, %d interrupts: no name tells a "+
			"receive queue", n.Driver, len(n.RX), len(n.IRQs)))
	}
}

// namesInterface reports whether an interrupt's name has the interface's as a word.
func namesInterface(irq, nic string) bool {
	return slices.Contains(strings.FieldsFunc(irq, func(c rune) bool { return c == '-' || c == '@' }), nic)
}

func uevent(text, key string) string {
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(line, key+"="); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// linkName returns the name of what a symbolic link points to.
func (r *reader) linkName(name string) string {
	target, err := os.Readlink(r.path(name))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// vlanParent finds what a VLAN stands on: a link "lower_NAME" that a bond has, too.
func (r *reader) vlanParent(name string) string {
	if !strings.Contains(r.text(netClass+name+"/uevent"), "DEVTYPE=vlan") {
		return ""
	}
	for _, entry := range r.names(netClass + name) {
		if parent, found := strings.CutPrefix(entry, "lower_"); found {
			return parent
		}
	}
	return ""
}

func (r *reader) queues(folder, prefix, attribute string) []Queue {
	list := []Queue{}
	for _, name := range r.names(folder + "/queues") {
		rest, found := strings.CutPrefix(name, prefix)
		id, err := strconv.Atoi(rest)
		if !found || err != nil {
			continue
		}
		q := Queue{ID: id, text: r.text(folder + "/queues/" + name + attribute)}
		if q.text != "" {
			if q.Steer, err = parseCPUMask(q.text); err != nil {
				r.cannot(folder+"/queues/"+name+attribute, err)
			}
		}
		list = append(list, q)
	}
	return list
}

// dropCounters are those of the kernel that count frames which the NIC, or its ring, had no room for.
var dropCounters = []string{"rx_missed_errors", "rx_fifo_errors", "rx_over_errors", "rx_dropped", "tx_dropped",
	"tx_fifo_errors", "rx_crc_errors"}

func (r *reader) drops(folder string) map[string]uint64 {
	counters := map[string]uint64{}
	for _, name := range dropCounters {
		if n, err := strconv.ParseUint(r.text(folder+"/statistics/"+name), 10, 64); err == nil && n > 0 {
			counters[name] = n
		}
	}
	return counters
}

// interruptLine is a line of /proc/interrupts.
type interruptLine struct {
	number int
	name   string
	total  uint64
}

// interrupts reads /proc/interrupts, but for the lines of the architecture (NMI, LOC).
func (r *reader) interrupts() (lines []interruptLine) {
	f, err := os.Open(r.path("/proc/interrupts"))
	if err != nil {
		r.cannot("/proc/interrupts", err)
		return nil
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, maxFile)
	cpus := 0
	for in.Scan() {
		if cpus == 0 {
			cpus = len(strings.Fields(in.Text()))
			continue
		}
		if line, ok := parseInterrupt(in.Text(), cpus); ok {
			lines = append(lines, line)
		}
	}
	if cpus == 0 {
		r.cannot("/proc/interrupts", errors.New("no line of CPUs"))
	}
	return lines
}

// parseInterrupt reads number, a count for each CPU, chip, hardware number with its trigger, and names.
func parseInterrupt(text string, cpus int) (line interruptLine, ok bool) {
	head, rest, found := strings.Cut(text, ":")
	n, err := strconv.Atoi(strings.TrimSpace(head))
	fields := strings.Fields(rest)
	if !found || err != nil || n < 0 || len(fields) <= cpus {
		return line, false
	}
	line.number = n
	for _, field := range fields[:cpus] {
		count, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return line, false
		}
		line.total += count
	}
	line.name = fields[len(fields)-1]
	return line, true
}

// Names of queue interrupts. The first group is what of the queue, empty for both; the second its number.
var queueNames = []*regexp.Regexp{
	regexp.MustCompile(`^virtio\d+-(input|output)\.(\d+)$`),
	regexp.MustCompile(`^mlx[45]_(comp)(\d+)(?:@.*)?$`),
	// i40e-eth0-TxRx-3, eth0-TxRx-3, eth0-Tx-Rx-3, eth0-rxtx-3, eth0-rx-3, hns3-0000:7d:00.0-TxRx-3, eth0-fp-3
	regexp.MustCompile(`(?i)-(tx-?rx|rx-?tx|rx|tx|fp)-(\d+)$`),
}

// queueOf reads an interrupt's name; queue is -1 if it is of none.
func queueOf(name string) (queue int, rx, tx bool) {
	for _, form := range queueNames {
		m := form.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		n, err := strconv.Atoi(m[2])
		if err != nil {
			return -1, false, false
		}
		switch strings.ToLower(m[1]) {
		case "input", "rx":
			return n, true, false
		case "output", "tx":
			return n, false, true
		}
		return n, true, true
	}
	return -1, false, false
}

func (r *reader) irq(line interruptLine) IRQ {
	folder := fmt.Sprintf("/proc/irq/%d", line.number)
	irq := IRQ{Number: line.number, Name: line.name, Total: line.total}
	irq.Queue, irq.RX, irq.TX = queueOf(line.name)
	cpus, ok := r.list(folder + "/smp_affinity_list")
	if !ok {
		r.cannot(folder+"/smp_affinity_list", errors.New("no list of CPUs"))
	}
	irq.CPUs = cpus
	irq.Effective, _ = r.list(folder + "/effective_affinity_list")
	return irq
}
