package keep

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// maxPassed is what one message of a Channel carries (SCM_MAX_FD is 253).
const maxPassed = 250

// Channel carries messages with descriptors between two processes of ulvs, one of which started the other.
type Channel struct{ conn *net.UnixConn }

// message is a Channel's: what it says, and why not.
type message struct {
	Says  string `json:"says"`
	Error string `json:"error,omitempty"`
	Size  int    `json:"size,omitempty"` // bytes of the first file, which has the details as JSON; 0: there are none
}

// NewChannel makes both ends: one for this process, and one for a child's ExtraFiles.
func NewChannel() (ours *Channel, theirs *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a channel: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "channel")
	if ours, err = OpenChannel(os.NewFile(uintptr(fds[0]), "channel")); err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

// OpenChannel takes the end of a channel over that this process inherited, and closes f.
func OpenChannel(f *os.File) (*Channel, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("open a channel: %w", err)
	}
	if u, ok := c.(*net.UnixConn); ok {
		return &Channel{u}, nil
	}
	return nil, errors.Join(errors.New("open a channel: not a unix socket"), c.Close())
}

// Close ends the channel.
func (c *Channel) Close() error { return c.conn.Close() }

// Say sends a message with details, which may be nil, and descriptors, any number of them.
func (c *Channel) Say(says string, details any, files ...*os.File) error {
	m := message{Says: says}
	if details != nil {
		f, size, err := fileOf(details)
		if err != nil {
			return fmt.Errorf("say %s: %w", says, err)
		}
		defer f.Close()
		m.Size, files = size, append([]*os.File{f}, files...)
	}
	for len(files) > maxPassed {
		if err := send(c.conn, message{Says: more}, files[:maxPassed]); err != nil {
			return fmt.Errorf("say %s: %w", says, err)
		}
		files = files[maxPassed:]
	}
	if err := send(c.conn, m, files); err != nil {
		return fmt.Errorf("say %s: %w", says, err)
	}
	return nil
}

// more says that the message has more descriptors than fit into one.
const more = "more"

// Refuse tells the other end why this one does not go on.
func (c *Channel) Refuse(why error) error {
	text := why.Error()
	return send(c.conn, message{Says: "refused", Error: text[:min(len(text), maxMessage/2)]}, nil)
}

// Hear waits until the other end says something. Its details are read into details if that is not nil. The error is
// ErrRefused, with the other end's words, when it says why it does not go on.
func (c *Channel) Hear(says string, limit time.Duration, details any) ([]*os.File, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	var files []*os.File
	for {
		m, got, err := c.next()
		files = append(files, got...)
		switch {
		case err != nil:
		case m.Error != "":
			err = fmt.Errorf("%w: %s", ErrRefused, m.Error)
		case m.Says == more:
			continue
		case m.Says != says:
			err = fmt.Errorf("%q was said", m.Says)
		case m.Size != 0:
			files, err = readDetails(files, m.Size, details)
		}
		if err != nil {
			closeAll(files)
			return nil, fmt.Errorf("wait for %q: %w", says, err)
		}
		return files, nil
	}
}

func (c *Channel) next() (m message, files []*os.File, err error) {
	b, files, err := receive(c.conn, maxPassed)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	return m, files, err
}

// readDetails reads and closes the first of the files.
func readDetails(files []*os.File, size int, details any) ([]*os.File, error) {
	if len(files) == 0 || size < 0 || size > maxDetails {
		return files, errors.New("its details are missing, or too long")
	}
	defer files[0].Close()
	b := make([]byte, size)
	if _, err := files[0].ReadAt(b, 0); err != nil {
		return files[1:], err
	}
	if details == nil {
		return files[1:], nil
	}
	return files[1:], json.Unmarshal(b, details)
}

// maxDetails is more than the largest UMEMs' owners take.
const maxDetails = 1 << 30

// fileOf puts details into a file without a name.
func fileOf(details any) (*os.File, int, error) {
	b, err := json.Marshal(details)
	if err != nil {
		return nil, 0, err
	}
	f, err := os.CreateTemp("", "ulvs-handover")
	if err != nil {
		return nil, 0, err
	}
	if _, err := f.Write(b); err != nil {
		return nil, 0, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, len(b), os.Remove(f.Name())
}
