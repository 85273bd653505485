package afxdp

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"ulvs/packet"
)

// Member is one of the interfaces of a bond.
type Member struct {
	Interface
	// Sends says that the bond sends on it now. Frames are taken from all.
	Sends bool
}

// TrunkPort is a bond with its members, or an interface by itself, its only one.
type TrunkPort struct {
	Name    string
	Policy  HashPolicy // which member takes a frame
	Members []Member
}

// noPort is the port of frames that no member can take.
const noPort = 255

// Trunk is a Set whose sockets are members of bonds: those of a bond are one port. Received frames have the port of
// their bond; a frame to send goes to the member that its flow hashes to.
//
// Follow and Close may be called while the worker runs, Add and Remove only while it stands.
type Trunk struct {
	*Set
	ports  []TrunkPort     // as last followed; the director's goroutine
	socket map[int]int     // by ifindex
	port   [MaxPorts]uint8 // by socket
	plan   atomic.Pointer[[]trunkPlan]
}

// trunkPlan is what Send needs of a port.
type trunkPlan struct {
	policy  HashPolicy
	sockets []uint8 // that send
}

// OpenTrunk opens a Set on all members of ports; Options.Interfaces are theirs.
func OpenTrunk(o Options, ports []TrunkPort) (*Trunk, error) {
	o.Interfaces = nil
	for i := range ports {
		for _, m := range ports[i].Members {
			o.Interfaces = append(o.Interfaces, m.Interface)
		}
	}
	set, err := Open(o)
	if err != nil {
		return nil, err
	}
	return newTrunk(set, ports), nil
}

// AdoptTrunk goes on with the sockets of another process, as Adopt does.
func AdoptTrunk(h Handed, files []*os.File, ports []TrunkPort, log *slog.Logger) (*Trunk, error) {
	set, err := Adopt(h, files, log)
	if err != nil {
		return nil, err
	}
	return newTrunk(set, ports), nil
}

// newTrunk makes ports of the sockets of set. A member without one is added later.
func newTrunk(set *Set, ports []TrunkPort) *Trunk {
	t := &Trunk{Set: set, socket: map[int]int{}}
	for i := range ports {
		for _, m := range ports[i].Members {
			at := slices.IndexFunc(set.opts.Interfaces, func(ifc Interface) bool { return ifc.Index == m.Index })
			if at >= 0 && !set.ports[at].removed() {
				t.socket[m.Index], t.port[at] = at, uint8(i)
			}
		}
	}
	t.Follow(ports)
	return t
}

// Follow takes over which members send. Members without a socket are left out until they are added.
func (t *Trunk) Follow(ports []TrunkPort) {
	plan := make([]trunkPlan, len(ports))
	for i := range ports {
		plan[i].policy = ports[i].Policy
		for _, m := range ports[i].Members {
			if at, ok := t.socket[m.Index]; ok && m.Sends {
				plan[i].sockets = append(plan[i].sockets, uint8(at))
			}
		}
	}
	t.ports = slices.Clone(ports)
	t.plan.Store(&plan)
}

// Add opens a member's socket, which sends from the next Follow on.
func (t *Trunk) Add(port int, m Interface) error {
	at, err := t.Set.Add(m)
	if err != nil {
		return err
	}
	t.socket[m.Index], t.port[at] = at, uint8(port)
	return nil
}

// Remove closes a member's socket. One without is none.
func (t *Trunk) Remove(ifindex int) error {
	at, ok := t.socket[ifindex]
	if !ok {
		return nil
	}
	delete(t.socket, ifindex)
	t.Follow(t.ports)
	if err := t.Set.Remove(at); err != nil {
		return fmt.Errorf("close the socket of member %d: %w", ifindex, err)
	}
	return nil
}

// MemberFD returns a member's socket, for Steering.Register; -1 if there is none.
func (t *Trunk) MemberFD(ifindex int) int {
	if at, ok := t.socket[ifindex]; ok {
		return t.FD(at)
	}
	return -1
}

// Recv lends frames as Set's does.
func (t *Trunk) Recv(frames []packet.Frame) int {
	n := t.Set.Recv(frames)
	for i := range frames[:n] {
		frames[i].Port = t.port[frames[i].Port]
	}
	return n
}

// Send transmits as Set's does, on a member of each frame's port.
func (t *Trunk) Send(frames []packet.Frame) int {
	plan := *t.plan.Load()
	for i := range frames {
		f := &frames[i]
		if int(f.Port) < len(plan) {
			f.Port = plan[f.Port].choose(f)
		} else {
			f.Port = noPort
		}
	}
	return t.Set.Send(frames)
}

// choose returns the socket for a frame.
func (p *trunkPlan) choose(f *packet.Frame) uint8 {
	switch n := len(p.sockets); {
	case n == 0:
		return noPort
	case n == 1 || int(f.Off)+int(f.Len) > len(f.Buf):
		return p.sockets[0]
	default:
		return p.sockets[uint64(flowHash(f.Bytes(), p.policy))*uint64(n)>>32]
	}
}

// Wait waits as Set's does. A member that is gone is no failure: the others go on, and the kernel tells the director.
func (t *Trunk) Wait(timeout time.Duration) error {
	err := t.Set.Wait(timeout)
	if gone := (*PortError)(nil); errors.As(err, &gone) {
		return nil
	}
	return err
}

// Info describes the ports: zero-copy is what all members have.
func (t *Trunk) Info() []PortInfo {
	members := t.Set.Info()
	out := make([]PortInfo, len(t.ports))
	for i := range t.ports {
		out[i] = PortInfo{Name: t.ports[i].Name, ZeroCopy: true}
	}
	t.each(func(port, socket int) {
		m, p := &members[socket], &out[port]
		p.Index, p.Queue, p.NeedWakeup, p.Budget = m.Index, m.Queue, m.NeedWakeup, m.Budget
		p.ZeroCopy, p.Fallback = p.ZeroCopy && m.ZeroCopy, m.Fallback
	})
	return out
}

// Stats sums the counters of each port's members, those of members that were removed left out.
func (t *Trunk) Stats() []PortStats {
	members := t.Set.Stats()
	out := make([]PortStats, len(t.ports))
	t.each(func(port, socket int) { out[port].add(&members[socket]) })
	for i := range out {
		out[i].Name = t.ports[i].Name
	}
	return out
}

// each calls fn for every socket of every port.
func (t *Trunk) each(fn func(port, socket int)) {
	for i := range t.ports {
		for _, m := range t.ports[i].Members {
			if at, ok := t.socket[m.Index]; ok {
				fn(i, at)
			}
		}
	}
}

// add sums counters. A port is down when all members are, which nobody asks of a sum.
func (st *PortStats) add(m *PortStats) {
	st.RX, st.TX, st.TXFull = st.RX+m.RX, st.TX+m.TX, st.TXFull+m.TXFull
	st.TXErrors, st.TXInvalid, st.BadDescs = st.TXErrors+m.TXErrors, st.TXInvalid+m.TXInvalid, st.BadDescs+m.BadDescs
	st.Kicks, st.KickAgain, st.KickError = st.Kicks+m.Kicks, st.KickAgain+m.KickAgain, st.KickError+m.KickError
	st.FillShort, st.InRX, st.InTX = st.FillShort+m.FillShort, st.InRX+m.InRX, st.InTX+m.InTX
	st.Misused = m.Misused
	st.KernelRXDropped += m.KernelRXDropped
	st.KernelRXRingFull += m.KernelRXRingFull
	st.KernelFillRingEmpty += m.KernelFillRingEmpty
	st.KernelRXInvalid += m.KernelRXInvalid
	st.KernelTXInvalid += m.KernelTXInvalid
	st.KernelTXRingEmpty += m.KernelTXRingEmpty
}
