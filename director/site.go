package director

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"
)

// Limits of what is served over the network.
const (
	siteReadTimeout  = 5 * time.Second
	siteWriteTimeout = 30 * time.Second // streams set their own
	siteIdleTimeout  = time.Minute
	siteHeaderBytes  = 16 << 10
	siteBodyBytes    = 4 << 10 // nothing takes a body
)

// site is an HTTP server at one address, off while the address is invalid.
type site struct {
	name    string // a section of the configuration
	log     *slog.Logger
	addr    netip.AddrPort
	server  *http.Server
	handler atomic.Pointer[http.Handler]
}

// move is a site on its way to another address: it listens, and nothing is served yet.
type move struct {
	site     *site
	addr     netip.AddrPort
	listener net.Listener // nil: the address stays, or is none
}

// prepare listens at addr, unless the site does. One of commit and cancel must follow.
func (s *site) prepare(addr netip.AddrPort) (move, error) {
	m := move{site: s, addr: addr}
	if !addr.IsValid() || addr == s.addr {
		return m, nil
	}
	l, err := net.Listen("tcp", addr.String())
	if err != nil {
		return m, fmt.Errorf("[%s]: %w", s.name, err)
	}
	m.listener = l
	return m, nil
}

func (m move) cancel() {
	if m.listener != nil {
		_ = m.listener.Close() // nothing was accepted
	}
}

// commit serves h at the new address and no longer at the old one.
func (m move) commit(h http.Handler) {
	s := m.site
	s.handler.Store(&h)
	if m.addr == s.addr {
		return
	}
	s.close()
	s.addr = m.addr
	if m.listener == nil {
		return
	}
	s.server = &http.Server{
		Handler:     http.MaxBytesHandler(http.HandlerFunc(s.serve), siteBodyBytes),
		ReadTimeout: siteReadTimeout, ReadHeaderTimeout: siteReadTimeout, WriteTimeout: siteWriteTimeout,
		IdleTimeout: siteIdleTimeout, MaxHeaderBytes: siteHeaderBytes,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	go s.runServer(s.server, m.listener)
	s.log.Info("serving", "section", s.name, "listen", s.addr.String())
}

func (s *site) runServer(server *http.Server, l net.Listener) {
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("serving ended", "section", s.name, "err", err)
	}
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) { (*s.handler.Load()).ServeHTTP(w, r) }

// close stops at once; streams end with their connections.
func (s *site) close() {
	if s.server != nil {
		_ = s.server.Close() // listeners and connections are gone either way
		s.server = nil
	}
	s.addr = netip.AddrPort{}
}
