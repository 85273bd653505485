package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// ServeOptions says what a real server of the lab offers; an empty address is not
// listened on. ":80" listens on IPv4 and IPv6.
type ServeOptions struct {
	Name string // what every answer begins with
	HTTP string // GET / the name, GET /bytes?n= a payload, POST /upload checks one
	TCP  string // the name and a newline, then an echo
	UDP  string // the name, a newline, and the datagram back
}

// nameHeader carries the name in every HTTP answer.
const nameHeader = "X-Real-Server"

// Limits of the servers.
const (
	maxTransfer = 1 << 30         // bytes of one payload
	idleLimit   = 2 * time.Minute // between two things that a client says
	maxDatagram = 65535
)

// Serve answers until ctx is done. ready is called once, when everything listens.
func Serve(ctx context.Context, o ServeOptions, ready func()) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, start := range []func(context.Context, *errgroup.Group, ServeOptions) error{serveHTTP, serveTCP, serveUDP} {
		if err := start(ctx, group, o); err != nil {
			return err
		}
	}
	ready()
	<-ctx.Done()
	return group.Wait()
}

func serveHTTP(ctx context.Context, group *errgroup.Group, o ServeOptions) error {
	if o.HTTP == "" {
		return nil
	}
	ln, err := net.Listen("tcp", o.HTTP)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: httpHandler(o.Name), ReadHeaderTimeout: idleLimit}
	group.Go(func() error {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	return nil
}

// httpHandler is what a real server says by HTTP.
func httpHandler(name string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(nameHeader, name)
		_, _ = fmt.Fprintln(w, name)
	})
	mux.HandleFunc("GET /bytes", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64)
		if err != nil || n < 0 || n > maxTransfer {
			http.Error(w, fmt.Sprintf("n: want 0 to %d bytes", maxTransfer), http.StatusBadRequest)
			return
		}
		w.Header().Set(nameHeader, name)
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		_, _ = io.Copy(w, NewPayload(n))
	})
	mux.HandleFunc("POST /upload", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(nameHeader, name)
		if err := CheckPayload(http.MaxBytesReader(w, r.Body, maxTransfer), r.ContentLength); err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		_, _ = fmt.Fprintln(w, name)
	})
	return mux
}

func serveTCP(ctx context.Context, group *errgroup.Group, o ServeOptions) error {
	if o.TCP == "" {
		return nil
	}
	ln, err := net.Listen("tcp", o.TCP)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = ln.Close() })
	group.Go(func() error {
		for {
			conn, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return nil
			} else if err != nil {
				return err
			}
			go echoTCP(ctx, conn, o.Name)
		}
	})
	return nil
}

// echoTCP sends the name and then everything back, and half-closes after the peer.
func echoTCP(ctx context.Context, conn net.Conn, name string) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintln(conn, name); err == nil {
		_, _ = io.Copy(conn, patient{conn})
	}
}

// patient reads from a connection, and gives up when nothing came for idleLimit. What lasts longer than that as a
// whole is the clients' business: sessions that outlive many takeovers do.
type patient struct{ net.Conn }

// Read implements io.Reader.
func (p patient) Read(b []byte) (int, error) {
	if err := p.SetDeadline(time.Now().Add(idleLimit)); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

// serveUDP listens with one socket for each family: each then has one kind of
// control message that says which address a datagram was sent to.
func serveUDP(ctx context.Context, group *errgroup.Group, o ServeOptions) error {
	if o.UDP == "" {
		return nil
	}
	for _, network := range []string{"udp4", "udp6"} {
		pc, err := net.ListenPacket(network, o.UDP)
		if err != nil {
			return err
		}
		conn := pc.(*net.UDPConn) // what ListenPacket returns for udp
		if err := wantDestination(conn, network == "udp6"); err != nil {
			return errors.Join(err, conn.Close())
		}
		context.AfterFunc(ctx, func() { _ = conn.Close() })
		group.Go(func() error { return echoUDP(conn, o.Name) })
	}
	return nil
}

// wantDestination makes the socket tell the address that a datagram was sent to.
func wantDestination(conn *net.UDPConn, v6 bool) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		if v6 {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
			return
		}
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	})
	return errors.Join(err, set)
}

// echoUDP answers every datagram from the address that it was sent to: the VIP for
// DR and TUN. A wildcard socket left alone would answer from the interface's.
func echoUDP(conn *net.UDPConn, name string) error {
	prefix := []byte(name + "\n")
	buf := make([]byte, len(prefix)+maxDatagram)
	copy(buf, prefix)
	oob := make([]byte, 256)
	for {
		n, oobn, _, from, err := conn.ReadMsgUDPAddrPort(buf[len(prefix):], oob)
		if errors.Is(err, net.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		answer := buf[:len(prefix)+n]
		_, _, _ = conn.WriteMsgUDPAddrPort(answer, replySource(oob[:oobn]), from)
	}
}

// replySource turns a received control message into one that sends from the same
// address, on whatever link the routes say. nil leaves the choice to the kernel.
func replySource(oob []byte) []byte {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range msgs {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO &&
			len(m.Data) >= unix.SizeofInet4Pktinfo:
			info := unix.Inet4Pktinfo{Spec_dst: [4]byte(m.Data[8:12])} // the destination address field
			return unix.PktInfo4(&info)
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO &&
			len(m.Data) >= unix.SizeofInet6Pktinfo:
			info := unix.Inet6Pktinfo{Addr: [16]byte(m.Data[:16])}
			return unix.PktInfo6(&info)
		}
	}
	return nil
}
