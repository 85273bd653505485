package tuning

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Wish is what a plan is for.
type Wish struct {
	Interfaces []string // that carry VIP traffic; VLANs and bonds stand for what is below them
	Workers    int      // 0: as many as queues and cores allow
	CPUs       []int    // of the workers; nil: chosen
	// ReserveCores are left to the rest of the system, where neither Workers nor isolated cores decide.
	ReserveCores int
	Frames       int  // of each worker's UMEM, 2 KiB each; 0: 8192
	KeepIRQs     bool // leave interrupts where they are
	// KeepBalancer leaves irqbalance running, and has it leave our interrupts alone.
	KeepBalancer bool
}

// State says what becomes of an item.
type State string

// The states.
const (
	StateOK     State = "ok"     // as wanted
	StateChange State = "change" // apply changes it
	StateManual State = "manual" // ulvs cannot change it: the operator may
	StateRun    State = "run"    // ulvs run sees to it for itself
)

// Item is one thing that was looked at.
type Item struct {
	Setting
	Subject string `json:"subject"` // eth0, CPU 3, host
	What    string `json:"what"`    // queues, rx ring
	Now     string `json:"now"`
	Wanted  string `json:"wanted"`
	Why     string `json:"why"`
	State   State  `json:"state"`
	// Value is what is written for Wanted.
	Value string `json:"value,omitempty"`
	first bool   // queues change before anything else: what there is to set follows from them
}

// Worker is a worker as planned.
type Worker struct {
	ID     int `json:"worker"`
	CPU    int `json:"cpu"`
	IRQCPU int `json:"irq_cpu"` // the CPU itself, or its sibling
	Queue  int `json:"queue"`
}

// Plan is what should be, against what is.
type Plan struct {
	Workers []Worker `json:"workers"`
	Ports   []Port   `json:"ports"`
	Items   []Item   `json:"items"`
	Notes   []string `json:"notes"` // what no setting can mend
	keep    []Setting
}

// Port is an interface that the data plane attaches to.
type Port struct {
	Name   string `json:"name"`
	Of     string `json:"of,omitempty"` // the bond
	Driver string `json:"driver"`
	Node   int    `json:"node"`
	Queues int    `json:"queues"`
	Expect string `json:"expect"` // zero-copy or copies, by driver and kernel
	Note   string `json:"note,omitempty"`
}

// ErrUnknown is wrapped by the error of a machine that is not understood.
var ErrUnknown = errors.New("this machine is not understood, nothing is changed")

// MakePlan plans for a machine. It changes nothing.
func MakePlan(m *Machine, w Wish) (*Plan, error) {
	ports := m.Ports(w.Interfaces)
	if err := understood(m, ports, w); err != nil {
		return nil, err
	}
	p := &Plan{Notes: []string{}, Items: []Item{}}
	p.chooseWorkers(m, ports, w)
	for _, nic := range ports {
		p.port(m, nic)
	}
	p.balancer(m, ports, w)
	for _, nic := range ports {
		p.nic(nic, w)
	}
	p.host(m, w)
	return p, nil
}

// Changes returns the items that apply changes, in its order.
func (p *Plan) Changes() (items []Item) {
	for _, it := range p.Items {
		if it.State == StateChange {
			items = append(items, it)
		}
	}
	return items
}

// ChangesQueues reports whether the number of queues changes, which a running ulvs would not follow.
func (p *Plan) ChangesQueues() bool { return len(onlyFirst(p.Changes())) > 0 }

// understood names everything that a plan would need and that was not read.
func understood(m *Machine, ports []*NIC, w Wish) error {
	var unread []string
	for _, u := range m.Unread {
		if u.NIC == "" || slices.ContainsFunc(ports, func(n *NIC) bool { return n.Name == u.NIC }) {
			unread = append(unread, u.What)
		}
	}
	if len(unread) > 0 {
		return fmt.Errorf("%w: cannot read %s", ErrUnknown, strings.Join(unread, "; "))
	}
	for _, name := range w.Interfaces {
		if len(m.Ports([]string{name})) == 0 {
			return noPort(m, name)
		}
	}
	if len(ports) == 0 {
		return errors.New("no interfaces to plan for: name the NICs that carry VIP traffic")
	}
	for _, cpu := range w.CPUs {
		if m.cpu(cpu) == nil {
			return fmt.Errorf("no CPU %d is online", cpu)
		}
	}
	return nil
}

func noPort(m *Machine, name string) error {
	if nic := m.NIC(name); nic != nil {
		return fmt.Errorf("the bond %s has no members: add one, for example: ip link set eth0 master %s", name, name)
	}
	names := make([]string, len(m.NICs))
	for i := range m.NICs {
		names[i] = m.NICs[i].Name
	}
	return fmt.Errorf("no interface %q on this machine; it has %s", name, strings.Join(names, ", "))
}

// port notes what the driver of a port can do.
func (p *Plan) port(m *Machine, nic *NIC) {
	driver := nic.Driver
	if driver == "" && len(nic.IRQs) == 0 {
		driver = "virtual"
	}
	port := Port{Name: nic.Name, Of: nic.Master, Driver: driver, Node: nic.Node, Queues: nic.QueueCount()}
	known := DriverOf(nic.Driver)
	port.Expect = known.Expect(m.Kernel)
	if driver == "virtual" {
		port.Expect = "copies"
	}
	if known != nil {
		port.Note = known.Note
	}
	p.Ports = append(p.Ports, port)
}

// add plans one setting: nothing is to be done if it is as wanted.
func (p *Plan) add(it Item) {
	if it.Now == it.Wanted {
		it.State, it.Value = StateOK, ""
	} else if it.State == "" {
		it.State = StateChange
	}
	p.Items = append(p.Items, it)
}

func (p *Plan) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(p.Notes, text) {
		p.Notes = append(p.Notes, text)
	}
}
