package gossip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

// Limits of a Transport.
const (
	packetQueue    = 1024 // datagrams of memberlist's that wait for it
	streamQueue    = 64
	handshakesMax  = 64 // at once, of streams that have not proved anything yet
	perAddress     = 8  // of them from one address
	challengeEvery = time.Second
	socketBuffer   = 8 << 20 // bytes; the kernel may grant less
	slabSize       = 2048
)

// TransportOptions are what a Transport is made of.
type TransportOptions struct {
	Addr  netip.AddrPort // of the sync interface: the only address that is listened on
	Keys  Keys
	Node  NodeID
	Epoch Epoch
	// Lane takes a datagram of the session lane; it must not keep the payload. It is called by one goroutine.
	Lane func(from NodeID, addr netip.AddrPort, payload []byte)
	// Challenge tells whether an address may be asked who it is. Nil: any.
	Challenge func(netip.Addr) bool
}

// Transport is memberlist's way to the network and the session lane's: one UDP and one TCP socket on one
// address. What it hands on was sealed by a director of the cluster.
type Transport struct {
	opt      TransportOptions
	identity identity
	seal     *sealer
	open     *opener
	udp      *net.UDPConn
	tcp      *net.TCPListener
	packets  chan *memberlist.Packet
	streams  chan net.Conn
	rejects  Rejects
	slabs    sync.Pool

	mu         sync.Mutex
	shaking    map[netip.Addr]int
	nShaking   int
	challenged map[netip.Addr]time.Time
	down       bool
	running    sync.WaitGroup
}

var _ memberlist.NodeAwareTransport = (*Transport)(nil)

// NewTransport opens the sockets and starts to receive.
func NewTransport(o TransportOptions) (*Transport, error) {
	t := &Transport{
		opt: o, identity: identity{o.Keys, o.Node, o.Epoch}, seal: newSealer(&o.Keys.keys[0], o.Node, o.Epoch),
		open: newOpener(o.Keys, o.Node), packets: make(chan *memberlist.Packet, packetQueue),
		streams: make(chan net.Conn, streamQueue), shaking: map[netip.Addr]int{}, challenged: map[netip.Addr]time.Time{},
	}
	t.slabs.New = func() any { return new([slabSize]byte) }
	if !o.Addr.IsValid() || o.Addr.Addr().IsUnspecified() {
		return nil, fmt.Errorf("sync: %s is not one address of one interface", o.Addr)
	}
	if err := t.listen(); err != nil {
		return nil, fmt.Errorf("sync: %w", err)
	}
	enlarge(t.udp)
	t.running.Go(t.runPackets)
	t.running.Go(t.runStreams)
	return t, nil
}

// portTries is how often a free port of TCP's is asked for that may be taken for UDP.
const portTries = 16

// listen opens both sockets on one port: the given one, or for port 0 one that is free for both.
func (t *Transport) listen() (err error) {
	host, given := t.opt.Addr.Addr(), t.opt.Addr.Port()
	for try := 1; ; try++ {
		if t.tcp, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(host, given))); err != nil {
			return err
		}
		t.opt.Addr = netip.AddrPortFrom(host, uint16(t.tcp.Addr().(*net.TCPAddr).Port))
		if t.udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(t.opt.Addr)); err == nil {
			return nil
		}
		_ = t.tcp.Close()
		if given != 0 || try == portTries {
			return err
		}
	}
}

// enlarge makes the socket's buffers as large as the system allows: past its limits for root. The default holds 12 ms
// of half a million sessions a second.
func enlarge(c *net.UDPConn) {
	_ = c.SetReadBuffer(socketBuffer)
	_ = c.SetWriteBuffer(socketBuffer)
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, socketBuffer)
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUFFORCE, socketBuffer)
		})
	}
}

// Addr returns the address that is listened on.
func (t *Transport) Addr() netip.AddrPort { return t.opt.Addr }

// Rejects returns the counters of what was refused.
func (t *Transport) Rejects() *Rejects { return &t.rejects }

func (t *Transport) reject(r Reject) { t.rejects[r].Add(1) }

// FinalAdvertiseAddr implements memberlist.Transport.
func (t *Transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.opt.Addr.Addr().AsSlice(), int(t.opt.Addr.Port()), nil
}

// WriteTo implements memberlist.Transport.
func (t *Transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, fmt.Errorf("sync: %w", err)
	}
	return time.Now(), t.send(kindMemberlist, b, to)
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (t *Transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// SendLane sends a datagram of the session lane, of at most maxPayload bytes.
func (t *Transport) SendLane(payload []byte, to netip.AddrPort) error {
	return t.send(kindLane, payload, to)
}

func (t *Transport) send(kind uint8, payload []byte, to netip.AddrPort) error {
	slab := t.slabs.Get().(*[slabSize]byte)
	defer t.slabs.Put(slab)
	b := t.seal.seal(slab[:0], kind, payload)
	if _, err := t.udp.WriteToUDPAddrPort(b, to); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

// PacketCh implements memberlist.Transport.
func (t *Transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements memberlist.Transport.
func (t *Transport) StreamCh() <-chan net.Conn { return t.streams }

// runPackets receives datagrams until Shutdown.
func (t *Transport) runPackets() {
	buf := make([]byte, slabSize)
	for {
		n, from, err := t.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an ICMP error of an earlier send
		}
		t.packet(buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
	}
}

// packet authenticates one datagram and hands it on. b is the caller's.
func (t *Transport) packet(b []byte, from netip.AddrPort) {
	o, err := t.open.open(b)
	if err != nil {
		t.refused(err)
		if errors.Is(err, errReject(RejectEpoch)) {
			t.challenge(from)
		}
		return
	}
	if o.kind == kindLane {
		if t.opt.Lane != nil {
			t.opt.Lane(o.from, from, o.payload)
		}
		return
	}
	p := &memberlist.Packet{ // memberlist keeps it
		Buf: append([]byte(nil), o.payload...), From: net.UDPAddrFromAddrPort(from), Timestamp: time.Now(),
	}
	if len(p.Buf) == 0 {
		t.reject(RejectFormat)
		return
	}
	select {
	case t.packets <- p:
	default:
		t.reject(RejectMemberlistFull)
	}
}

// challenge asks who it is that sends datagrams we cannot open yet: it has to prove its key and its epoch over a
// stream. At most once a second and address, and only where Options.Challenge allows it.
func (t *Transport) challenge(from netip.AddrPort) {
	if t.opt.Challenge != nil && !t.opt.Challenge(from.Addr()) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if last, ok := t.challenged[from.Addr()]; t.down || ok && now.Sub(last) < challengeEvery || len(t.challenged) > 1024 {
		return
	}
	t.challenged[from.Addr()] = now
	t.running.Go(func() {
		if c, err := t.dial(from.String(), handshakeTimeout, purposeChallenge); err == nil {
			_ = c.Close()
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		for a, at := range t.challenged {
			if time.Since(at) > challengeEvery {
				delete(t.challenged, a)
			}
		}
	})
}

// DialTimeout implements memberlist.Transport.
func (t *Transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.dial(addr, timeout, purposeMemberlist)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *Transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

func (t *Transport) dial(addr string, timeout time.Duration, purpose uint8) (net.Conn, error) {
	deadline := time.Now().Add(timeout)
	d := net.Dialer{Deadline: deadline, LocalAddr: &net.TCPAddr{IP: t.opt.Addr.Addr().AsSlice()}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("sync: %w", err)
	}
	_ = c.SetDeadline(deadline)
	s, peer, err := t.identity.shake(c, true, purpose)
	if err != nil {
		t.refused(err)
		_ = c.Close()
		return nil, fmt.Errorf("sync: %s: %w", addr, err)
	}
	_ = c.SetDeadline(time.Time{})
	t.open.learn(peer.node, peer.epoch)
	s.reject = t.reject
	return s, nil
}

func (t *Transport) refused(err error) {
	var why errReject
	if errors.As(err, &why) {
		t.reject(Reject(why))
	}
}

// runStreams accepts streams until Shutdown.
func (t *Transport) runStreams() {
	for {
		c, err := t.tcp.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors, most likely
			continue
		}
		from := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		if !t.admit(from, 1) {
			t.reject(RejectBusy)
			_ = c.Close()
			continue
		}
		t.running.Go(func() { t.accept(c, from) })
	}
}

// admit counts handshakes under way; false if there are too many.
func (t *Transport) admit(from netip.Addr, n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n > 0 && (t.down || t.nShaking >= handshakesMax || t.shaking[from] >= perAddress) {
		return false
	}
	t.nShaking += n
	if t.shaking[from] += n; t.shaking[from] == 0 {
		delete(t.shaking, from)
	}
	return true
}

func (t *Transport) accept(c net.Conn, from netip.Addr) {
	_ = c.SetDeadline(time.Now().Add(handshakeTimeout))
	s, peer, err := t.identity.shake(c, false, purposeMemberlist)
	t.admit(from, -1)
	if err != nil {
		t.refused(err)
		_ = c.Close()
		return
	}
	_ = c.SetDeadline(time.Time{})
	t.open.learn(peer.node, peer.epoch)
	s.reject = t.reject
	if peer.purpose == purposeChallenge {
		_ = s.Close()
		return
	}
	t.mu.Lock()
	down := t.down
	t.mu.Unlock()
	select {
	case t.streams <- s:
		if !down {
			return
		}
	default:
		t.reject(RejectBusy)
		_ = s.Close()
	}
}

// Shutdown implements memberlist.Transport.
func (t *Transport) Shutdown() error {
	t.mu.Lock()
	was := t.down
	t.down = true
	t.mu.Unlock()
	if was {
		return nil
	}
	err := errors.Join(t.tcp.Close(), t.udp.Close())
	t.running.Wait()
	return err
}
