package tuning

import "slices"

// Machine is what was read of a machine. Lists are ascending.
type Machine struct {
	Kernel string `json:"kernel"` // uname -r
	BootID string `json:"boot_id"`
	CPUs   []CPU  `json:"cpus"` // those online
	NICs   []NIC  `json:"nics"`
	// HugePages are the 2 MiB pages of each node; none if the kernel has no such size.
	HugePages   []HugePages       `json:"huge_pages"`
	THP         string            `json:"transparent_huge_pages"` // always, madvise, never; empty: none
	Sysctls     map[string]string `json:"sysctls"`                // by name with dots
	Balancer    Balancer          `json:"irqbalance"`
	Memlock     string            `json:"memlock"`     // of this process: bytes or unlimited
	ClockSource string            `json:"clocksource"` // what the kernel reads the time from
	// Systemd says that units can be stopped and started.
	Systemd bool `json:"systemd"`
	// Unread is what could not be read. There is no plan if it is about what the plan needs.
	Unread []Unread `json:"unread"`
}

// Unread is something that could not be read.
type Unread struct {
	NIC  string `json:"nic,omitempty"` // whose; empty: the machine's
	What string `json:"what"`          // a path, or words, and the reason
}

// CPU is a logical processor.
type CPU struct {
	ID       int    `json:"cpu"`
	Node     int    `json:"node"`     // of NUMA; 0 if the machine has none
	Siblings []int  `json:"siblings"` // threads of its core, itself included
	Isolated bool   `json:"isolated"` // isolcpus
	Governor string `json:"governor"` // of its frequency; empty: it has none
	// What its deepest sleep state takes to come out of, in microseconds (0: it has none), and how much of that is
	// allowed now: pm_qos_resume_latency_us, where 0 is any and "n/a" none; empty: the kernel has no such limit.
	WakeUS    int    `json:"wake_us"`
	WakeLimit string `json:"wake_limit"`
}

// HugePages are the 2 MiB pages of a NUMA node.
type HugePages struct {
	Node  int    `json:"node"`
	Total int    `json:"total"`
	Free  int    `json:"free"`
	Path  string `json:"-"` // of nr_hugepages, below the root
}

// Balancer is irqbalance.
type Balancer struct {
	Running bool   `json:"running"`
	PID     int    `json:"pid"`
	Command string `json:"command"` // its command line
}

// NIC is a network interface.
type NIC struct {
	Name   string `json:"name"`
	Driver string `json:"driver"` // empty: virtual
	Bus    string `json:"bus"`    // the device's address: 0000:3b:00.0
	Node   int    `json:"node"`   // NUMA; -1: unknown
	MTU    int    `json:"mtu_bytes"`
	MAC    string `json:"mac"`
	Up     bool   `json:"up"`
	// Members are the ports of a bond, Mode is its mode; Master is the bond of a port.
	Members []string `json:"members"`
	Mode    string   `json:"bond_mode,omitempty"`
	Master  string   `json:"master,omitempty"`
	// Parent is the interface below a VLAN; VLANs are those on top of this one.
	Parent string   `json:"parent,omitempty"`
	VLANs  []string `json:"vlans"`
	IRQs   []IRQ    `json:"irqs"`
	// Queues are those that there are now, of both directions.
	RX []Queue `json:"rx_queues"`
	TX []Queue `json:"tx_queues"`
	// What ethtool tells; zero if the driver does not say.
	Settings NICSettings       `json:"settings"`
	Drops    map[string]uint64 `json:"drops"`  // counters of the kernel that are not zero
	Frames   uint64            `json:"frames"` // received since the driver was loaded
}

// IRQ is an interrupt of a NIC.
type IRQ struct {
	Number    int    `json:"irq"`
	Name      string `json:"name"`  // as in /proc/interrupts
	Queue     int    `json:"queue"` // -1: of no queue (link state, configuration)
	RX        bool   `json:"rx"`
	TX        bool   `json:"tx"`
	CPUs      []int  `json:"cpus"`      // it may fire on
	Effective []int  `json:"effective"` // it does fire on; empty: the kernel does not say
	Total     uint64 `json:"total"`     // how often it fired
}

// Queue is one of a NIC, by what the stack does with it.
type Queue struct {
	ID    int    `json:"queue"`
	Steer []int  `json:"cpus"` // rx: RPS's CPUs; tx: XPS's
	text  string // as read; empty: it cannot be set
}

// cpu returns a CPU that is online.
func (m *Machine) cpu(id int) *CPU {
	for i := range m.CPUs {
		if m.CPUs[i].ID == id {
			return &m.CPUs[i]
		}
	}
	return nil
}

// NIC returns an interface, nil if there is none of the name.
func (m *Machine) NIC(name string) *NIC {
	for i := range m.NICs {
		if m.NICs[i].Name == name {
			return &m.NICs[i]
		}
	}
	return nil
}

// Ports returns the interfaces that carry the frames of the named ones: the parent of a VLAN, the members of a bond.
// Names that are none are left out.
func (m *Machine) Ports(names []string) (ports []*NIC) {
	for _, name := range names {
		for _, nic := range m.below(name, 0) {
			if !slices.Contains(ports, nic) {
				ports = append(ports, nic)
			}
		}
	}
	return ports
}

// maxStack bounds how deep VLANs and bonds stand on each other.
const maxStack = 8

func (m *Machine) below(name string, depth int) []*NIC {
	nic := m.NIC(name)
	switch {
	case nic == nil || depth > maxStack:
		return nil
	case nic.Parent != "":
		return m.below(nic.Parent, depth+1)
	case nic.Mode == "":
		return []*NIC{nic}
	}
	var ports []*NIC
	for _, member := range nic.Members {
		ports = append(ports, m.below(member, depth+1)...)
	}
	return ports
}

// QueueCount returns how many receive queues the interface has, at least 1.
func (n *NIC) QueueCount() int {
	if c := n.Settings.Channels; c != nil {
		return max(c.Combined+c.RX, 1)
	}
	return max(len(n.RX), 1)
}

// QueueIRQs returns the interrupts of a queue.
func (n *NIC) QueueIRQs(queue int) (list []IRQ) {
	for _, irq := range n.IRQs {
		if irq.Queue == queue {
			list = append(list, irq)
		}
	}
	return list
}

// NodeOf returns the NUMA node of a CPU that is online.
func (m *Machine) NodeOf(cpu int) (node int, known bool) {
	c := m.cpu(cpu)
	if c == nil {
		return 0, false
	}
	return c.Node, true
}

// Siblings returns the threads of a CPU's core, itself included.
func (m *Machine) Siblings(cpu int) []int {
	if c := m.cpu(cpu); c != nil {
		return c.Siblings
	}
	return []int{cpu}
}

// Where returns the CPUs that an interrupt fires on, as far as the kernel says, as a list.
func (i *IRQ) Where() string {
	if len(i.Effective) > 0 {
		return formatCPUList(i.Effective)
	}
	return formatCPUList(i.CPUs)
}
