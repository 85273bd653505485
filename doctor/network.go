package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Network sends frames of its own out of this host's interfaces, and hears what comes in. Its methods may be called
// concurrently.
type Network struct {
	// Data returns frames that a running director takes away from the kernel (answers to ARP for its VIPs) for some
	// seconds. Nil: none runs.
	Data func(ctx context.Context, seconds int, fn func(frame []byte)) error

	mu   sync.Mutex
	taps map[int]*tap // by interface index
}

// Close ends all listening.
func (n *Network) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range n.taps {
		_ = t.conn.Close()
	}
	n.taps = nil
}

// way is how this host reaches an address.
type way struct {
	*tap
	source  netip.Addr
	gateway netip.Addr // invalid: the address is on the segment
}

// local errors.
var (
	errOurs     = errors.New("it is an address of this host")
	errLinkless = errors.New("no Ethernet interface leads there")
)

// way asks the kernel's routes.
func (n *Network) way(to netip.Addr) (*way, error) {
	routes, err := netlink.RouteGet(to.AsSlice())
	if err != nil || len(routes) == 0 {
		return nil, fmt.Errorf("no route to %s: %w", to, err)
	}
	r := &routes[0]
	if r.Type == unix.RTN_LOCAL {
		return nil, fmt.Errorf("%s: %w", to, errOurs)
	}
	t, err := n.tap(r.LinkIndex)
	if err != nil {
		return nil, err
	}
	w := &way{tap: t}
	w.source, _ = netip.AddrFromSlice(r.Src)
	w.gateway, _ = netip.AddrFromSlice(r.Gw)
	w.source, w.gateway = w.source.Unmap(), w.gateway.Unmap()
	return w, nil
}

// hop is the neighbour that frames to an address go to.
func (w *way) hop(to netip.Addr) netip.Addr {
	if w.gateway.IsValid() {
		return w.gateway
	}
	return to
}

// named returns a tap on an interface, with an address of it if it has one of the family.
func (n *Network) named(name string) (*way, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", name, err)
	}
	t, err := n.tap(ifi.Index)
	if err != nil {
		return nil, err
	}
	w := &way{tap: t, source: netip.IPv4Unspecified()}
	addrs, _ := ifi.Addrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			w.source = p.Addr()
			break
		}
	}
	return w, nil
}

func (n *Network) tap(index int) (*tap, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if t := n.taps[index]; t != nil {
		return t, nil
	}
	ifi, err := net.InterfaceByIndex(index)
	if err != nil {
		return nil, fmt.Errorf("find interface %d: %w", index, err)
	}
	if len(ifi.HardwareAddr) != 6 {
		return nil, fmt.Errorf("%s: %w", ifi.Name, errLinkless)
	}
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, nil)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", ifi.Name, err)
	}
	t := &tap{ifi: ifi, conn: conn, hear: map[int]func([]byte){}}
	if n.taps == nil {
		n.taps = map[int]*tap{}
	}
	n.taps[index] = t
	go t.run()
	return t, nil
}

// tap is a packet socket on an interface.
type tap struct {
	ifi  *net.Interface
	conn *packet.Conn
	mu   sync.Mutex
	next int
	hear map[int]func(frame []byte)
}

// maxFrame is the longest frame that is looked at: what is behind its headers does not matter.
const maxFrame = 2048

func (t *tap) run() {
	buffer := make([]byte, maxFrame)
	for {
		size, _, err := t.conn.ReadFrom(buffer)
		if err != nil {
			return // closed
		}
		t.deliver(append([]byte(nil), buffer[:size]...))
	}
}

// deliver hands a frame to all who listen.
func (t *tap) deliver(frame []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, fn := range t.hear {
		fn(frame)
	}
}

// listen has fn called for each frame until the result is called. fn must not block.
func (t *tap) listen(fn func(frame []byte)) (stop func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := t.next
	t.next++
	t.hear[id] = fn
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.hear, id)
	}
}

func (t *tap) send(frame []byte) error {
	if _, err := t.conn.WriteTo(frame, &packet.Addr{HardwareAddr: net.HardwareAddr(frame[:6])}); err != nil {
		return fmt.Errorf("send on %s: %w", t.ifi.Name, err)
	}
	return nil
}

// Times of exchanges: a question is asked again until it is answered or nobody will.
const (
	askAgain = 300 * time.Millisecond
	patience = 2500 * time.Millisecond
)

// ask sends frames until one comes that match takes, and returns that; nil after patience.
func (t *tap) ask(ctx context.Context, match func(frame []byte) bool, frames ...[]byte) ([]byte, error) {
	ctx, answered := context.WithCancel(ctx)
	defer answered()
	answer := make(chan []byte, 1)
	err := t.gather(ctx, patience, func(frame []byte) {
		if match(frame) {
			select {
			case answer <- frame:
				answered()
			default:
			}
		}
	}, frames...)
	select {
	case frame := <-answer:
		return frame, nil
	default:
		return nil, err
	}
}

// gather sends frames some times over a period and calls fn for all that comes meanwhile.
func (t *tap) gather(ctx context.Context, period time.Duration, fn func(frame []byte), frames ...[]byte) error {
	defer t.listen(fn)()
	ctx, cancel := context.WithTimeout(ctx, period)
	defer cancel()
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		for _, frame := range frames {
			if err := t.send(frame); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
	}
}
