package keep

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// DefaultStay is how long a keeper stays that was never told.
const DefaultStay = 5 * time.Minute

// Serve keeps files for the clients of a listener until the last of them is gone and its time is over, or ctx ends.
// It closes the listener, and the files.
func Serve(ctx context.Context, l *net.UnixListener) error {
	l.SetUnlinkOnClose(true) // before it is closed, so that it is not another one's by then
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{stay: DefaultStay, cancel: cancel, conns: map[*net.UnixConn]bool{}}
	s.alone = time.AfterFunc(s.stay, cancel)
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer s.close()
	for {
		c, err := l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("keep files: %w", err)
		}
		if !s.enter(c) {
			c.Close()
			continue
		}
		s.readers.Go(func() { s.talk(c) })
	}
}

// maxClients bounds connections: a director, its successor, and somebody who looks.
const maxClients = 8

type server struct {
	mu      sync.Mutex
	files   []keptFile
	stay    time.Duration
	alone   *time.Timer // ends the keeper when it runs off
	cancel  func()
	conns   map[*net.UnixConn]bool
	ended   bool
	readers sync.WaitGroup
}

type keptFile struct {
	name string
	file *os.File
}

// enter admits a client.
func (s *server) enter(c *net.UnixConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || len(s.conns) == maxClients || !ours(c) {
		return false
	}
	s.conns[c] = true
	s.alone.Stop()
	return true
}

// ours reports whether the other end is a process of our own user, or root's.
func ours(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	uid := ^uint32(0)
	err = raw.Control(func(fd uintptr) {
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			uid = cred.Uid
		}
	})
	return err == nil && (uid == uint32(os.Geteuid()) || uid == 0)
}

// talk serves one client until it is gone, or sends what is no message.
func (s *server) talk(c *net.UnixConn) {
	defer s.leave(c)
	for {
		b, files, err := receive(c, maxFiles)
		if err != nil {
			return
		}
		if s.answer(c, b, files) != nil {
			return
		}
	}
}

// leave has the keeper stay for a while after its last client.
func (s *server) leave(c *net.UnixConn) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	switch {
	case s.ended || len(s.conns) > 0:
	case s.stay <= 0:
		s.cancel()
	default:
		s.alone.Reset(s.stay)
	}
}

// answer does what a request wants. The files are ours or closed afterwards.
func (s *server) answer(c *net.UnixConn, b []byte, files []*os.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := parse(b)
	if err == nil && (r.Do == "store") != (len(files) == 1) || len(files) > 1 {
		err = fmt.Errorf("%s came with %d files", r.Do, len(files))
	}
	if err == nil {
		err = s.do(r, files)
	}
	if err != nil {
		closeAll(files)
		return send(c, reply{Error: err.Error()}, nil)
	}
	if r.Do != "list" {
		return send(c, reply{}, nil)
	}
	var out reply
	var list []*os.File
	for _, k := range s.files {
		out.Names, list = append(out.Names, k.name), append(list, k.file)
	}
	return send(c, out, list)
}

func (s *server) do(r request, files []*os.File) error {
	at := slices.IndexFunc(s.files, func(k keptFile) bool { return k.name == r.Name })
	switch {
	case r.Do == "stay" || r.Do == "leave":
		s.stay = time.Duration(r.Seconds) * time.Second
	case r.Do == "store" && at >= 0:
		s.files[at].file.Close()
		s.files[at].file = files[0]
	case r.Do == "store" && len(s.files) == maxFiles:
		return fmt.Errorf("%d files are kept already: forget one", maxFiles)
	case r.Do == "store":
		s.files = append(s.files, keptFile{r.Name, files[0]})
	case r.Do == "forget" && at >= 0:
		s.files[at].file.Close()
		s.files = slices.Delete(s.files, at, at+1)
	}
	return nil
}

// close ends all connections and lets the files go.
func (s *server) close() {
	s.mu.Lock()
	s.ended = true
	s.alone.Stop()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.readers.Wait()
	for _, k := range s.files {
		k.file.Close()
	}
}
