package keep

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Client is a director's end of a keeper. Its methods are for any goroutine.
type Client struct {
	mu   sync.Mutex
	conn *net.UnixConn
	path string
}

const busyPause = 5 * time.Millisecond

// Dial finds a keeper that runs. The error is fs.ErrNotExist when there is none.
func Dial(path string) (*Client, error) {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	for end := time.Now().Add(patience); errors.Is(err, syscall.EAGAIN) && time.Now().Before(end); {
		time.Sleep(busyPause) // so many connect that the keeper's queue is full
		conn, err = net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	}
	if errors.Is(err, syscall.ECONNREFUSED) { // a keeper that died left its socket
		return nil, fmt.Errorf("find the keeper at %s: %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("find the keeper: %w", err)
	}
	return &Client{conn: conn, path: path}, nil
}

// Listen makes the socket of a keeper that is about to be started, for its user alone. One that nobody listens on any
// more is replaced.
func Listen(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("make the keeper's socket: %w", err)
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("make the keeper's socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("make the keeper's socket: %w", err), l.Close())
	}
	return l, nil
}

// Files returns what is kept, by name. The files are the caller's copies.
func (c *Client) Files() (map[string]*os.File, error) {
	r, files, err := c.ask(request{Do: "list"}, nil)
	if err != nil {
		return nil, err
	}
	if len(files) != len(r.Names) {
		closeAll(files)
		return nil, fmt.Errorf("the keeper at %s: %d files of %d came", c.path, len(files), len(r.Names))
	}
	kept := make(map[string]*os.File, len(files))
	for i, name := range r.Names {
		kept[name] = files[i]
	}
	return kept, nil
}

// Store has a file kept, instead of one of the same name. The caller's stays the caller's.
func (c *Client) Store(name string, f *os.File) error {
	_, _, err := c.ask(request{Do: "store", Name: name}, []*os.File{f})
	return err
}

// Forget lets a file go. One that is not kept is no error.
func (c *Client) Forget(name string) error {
	_, _, err := c.ask(request{Do: "forget", Name: name}, nil)
	return err
}

// Stay says how long the keeper stays when this process is gone all of a sudden.
func (c *Client) Stay(d time.Duration) error { return c.stay("stay", d) }

// Leave ends the connection in order; the keeper stays for that long.
func (c *Client) Leave(d time.Duration) error {
	return errors.Join(c.stay("leave", d), c.Close())
}

func (c *Client) stay(do string, d time.Duration) error {
	_, _, err := c.ask(request{Do: do, Seconds: int64((min(d, maxStay) + time.Second - 1) / time.Second)}, nil)
	return err
}

// Close ends the connection, for the keeper as if the process had died.
func (c *Client) Close() error { return c.conn.Close() }

func (c *Client) ask(r request, files []*os.File) (out reply, got []*os.File, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() {
		if err != nil {
			closeAll(got)
			got, err = nil, fmt.Errorf("the keeper at %s: %s %s: %w", c.path, r.Do, r.Name, err)
		}
	}()
	if err := send(c.conn, r, files); err != nil {
		return out, nil, err
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return out, nil, err
	}
	b, got, err := receive(c.conn, maxFiles)
	if err != nil {
		return out, got, err
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, got, err
	}
	if out.Error != "" {
		return out, got, fmt.Errorf("%w: %s", ErrRefused, out.Error)
	}
	return out, got, nil
}
