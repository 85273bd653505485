package director

import (
	"errors"
	"fmt"
	"slices"

	"ulvs/config"
	"ulvs/conntrack"
	"ulvs/dataplane/afxdp"
	"ulvs/route"
	"ulvs/tuning"
)

// queueCount returns the number of queues, and so of workers. Every interface needs as many:
// a worker sends on the queue that it receives on.
func queueCount(node *config.Node, state *route.State) (int, error) {
	names, err := queueNames(node, state)
	if err != nil {
		return 0, err
	}
	count, first := 0, ""
	for _, name := range names {
		n, err := tuning.Queues(name)
		if err != nil {
			return 0, err
		}
		if count != 0 && n != count {
			return 0, fmt.Errorf("%s has %d queues and %s has %d: make them equal, for example: "+
				"ethtool -L %s combined %d", first, count, name, n, name, min(n, count))
		}
		count, first = n, name
	}
	if node.Workers != 0 && node.Workers != count {
		return 0, fmt.Errorf("workers = %d, but %s has %d queues, and each needs a worker: leave workers out, or: "+
			"ethtool -L %s combined %d", node.Workers, first, count, first, node.Workers)
	}
	return count, nil
}

// queueNames returns the interfaces whose queues workers serve: members in the place of bonds.
func queueNames(node *config.Node, state *route.State) (names []string, err error) {
	ports := present(node.Interfaces, state)
	if err := oneEach(ports); err != nil {
		return nil, err
	}
	names = missingPorts(node.Interfaces, ports) // tuning says what is wrong with them
	for i := range ports {
		if len(ports[i].below()) == 0 {
			return nil, fmt.Errorf("bond %s has no members: ip link set INTERFACE master %s", ports[i].name, ports[i].name)
		}
		for _, m := range ports[i].below() {
			names = append(names, m.Name)
		}
	}
	return names, nil
}

// present returns the configured interfaces that exist, in the configuration's order.
func present(names []string, state *route.State) []port {
	var ports []port
	for _, name := range names {
		if l, ok := state.LinkByName(name); ok {
			ports = append(ports, newPort(name, l, state))
		}
	}
	return ports
}

func missingPorts(names []string, ports []port) (missing []string) {
	for _, name := range names {
		if !slices.ContainsFunc(ports, func(p port) bool { return p.name == name }) {
			missing = append(missing, name)
		}
	}
	return missing
}

// portsMoved reports whether interfaces came, went or were made anew.
func (d *director) portsMoved(now []port) bool {
	same := func(a, b port) bool { return a.name == b.name && a.index == b.index }
	return !slices.EqualFunc(now, d.network.ports, same)
}

// startIO attaches to the interfaces that exist, opens the workers' queues and starts
// them. On error nothing of it stays.
func (d *director) startIO() (err error) {
	d.ioMu.Lock()
	defer d.ioMu.Unlock()
	defer func() {
		if err != nil {
			err = errors.Join(err, d.dropIO())
		}
	}()
	state := d.routes.State()
	ports := present(d.opt.Config.Node.Interfaces, state)
	d.network = newKernelNetwork(ports, state)
	d.SetNetwork(d.network, true, true)
	if len(allBelow(ports)) == 0 {
		return nil
	}
	if err := d.attachTo(allBelow(ports)); err != nil {
		return err
	}
	for _, w := range d.workers {
		if err := d.openQueue(w, ports); err != nil {
			return err
		}
	}
	for _, w := range d.workers {
		d.startWorker(w)
	}
	d.forwarding = conntrack.BootTime()
	d.askHops()
	return nil
}

// attachTo puts the program on the interfaces that do not have it yet.
func (d *director) attachTo(list []afxdp.Interface) error {
	for _, i := range list {
		if slices.ContainsFunc(d.attach, func(a *afxdp.Attachment) bool { return a.Interface.Index == i.Index }) {
			continue
		}
		setTable := tuning.KeepTable(i.Name)
		a, err := d.attachOne(i, d.opt.Config.Node.XDPMode)
		if err != nil {
			return err
		}
		if err := setTable(); err != nil {
			d.log.Warn("the NIC may spread frames otherwise than before", "interface", i.Name, "err", err)
		}
		d.attach = append(d.attach, a)
	}
	return nil
}

// attachOne attaches to an interface such that it sends on every queue that it receives on: in the driver, or else
// where the skb is made. virtio_net's spare pairs take AF_XDP's frames and never send them (xsk_generic_xmit).
func (d *director) attachOne(i afxdp.Interface, mode config.XDPMode) (*afxdp.Attachment, error) {
	a, err := d.steering.Attach(i, attachMode(mode))
	if err != nil {
		return nil, err
	}
	cause := moreReceiving(i.Name)
	if cause == nil {
		return a, nil
	}
	if a.Mode == afxdp.AttachNative && mode != config.XDPZeroCopy {
		if err := a.Close(); err != nil {
			return nil, fmt.Errorf("leave %s: %w", i.Name, err)
		}
		d.log.Warn("XDP in the driver is not used: generic XDP is slower", "err", cause)
		if a, err = d.steering.Attach(i, afxdp.AttachGeneric); err != nil {
			return nil, err
		}
		if cause = moreReceiving(i.Name); cause == nil {
			return a, nil
		}
	}
	return nil, errors.Join(cause, a.Close())
}

// moreReceiving returns an error if the interface receives on more queues than it sends on.
func moreReceiving(name string) error {
	in, err := tuning.Queues(name)
	if err != nil {
		return err
	}
	if out := tuning.SendQueues(name); out != 0 && out < in {
		return fmt.Errorf("%s receives on %d queues and sends on %d, and a worker needs both: ethtool -L %s combined %d",
			name, in, out, name, in)
	}
	return nil
}

// attachFirst attaches before queues are counted: a program changes their number. virtio_net opens its spare pairs for
// XDP's sake and receives on them too: 8 queues on 4 cores were 4 before, and frames of the new ones passed us by.
func (d *director) attachFirst() error {
	d.ioMu.Lock()
	defer d.ioMu.Unlock()
	return d.attachTo(allBelow(present(d.opt.Config.Node.Interfaces, d.routes.State())))
}

func attachMode(m config.XDPMode) afxdp.AttachMode {
	if m == config.XDPGeneric {
		return afxdp.AttachGeneric
	}
	return afxdp.AttachAuto
}

// stopIO stops the workers and leaves the interfaces.
func (d *director) stopIO() error {
	d.ioMu.Lock()
	defer d.ioMu.Unlock()
	return d.dropIO()
}

func (d *director) dropIO() error {
	var errs []error
	for _, a := range d.attach {
		errs = append(errs, a.Close())
	}
	d.attach = nil
	for _, w := range d.workers {
		errs = append(errs, w.stop())
	}
	return errors.Join(errs...)
}

// restartIO follows interfaces that vanished or came back. Sessions stay.
func (d *director) restartIO() {
	if err := d.stopIO(); err != nil {
		d.log.Warn("cannot leave an interface cleanly", "err", err)
	}
	for len(d.failures) > 0 {
		<-d.failures // of workers that this restart replaces
	}
	d.forgetFailures()
	if err := d.startIO(); err != nil {
		d.log.Error("cannot restart packet I/O, trying again", "err", err)
		return
	}
	missing := missingPorts(d.opt.Config.Node.Interfaces, d.network.ports)
	journalInterfaces(d.journal, d.missing, missing)
	d.missing = missing
}

// forgetFailures drops what the workers reported before they were stopped: the restart at hand
// serves that too, and another would interrupt the interfaces that are there once more.
func (d *director) forgetFailures() {
	for {
		select {
		case err := <-d.failures:
			d.log.Warn("worker failed", "err", err)
		default:
			return
		}
	}
}

// retry repairs what an earlier attempt could not.
func (d *director) retry() {
	now := present(d.opt.Config.Node.Interfaces, d.routes.State())
	if len(d.attach) != len(allBelow(d.network.ports)) || d.portsMoved(now) || !sameMembers(now, d.network.ports) {
		d.restartIO()
		return
	}
	d.askHops()
}
