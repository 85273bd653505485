package keep

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	// maxFiles bounds what one keeper holds: a table, the one it is being replaced by, and room for more.
	maxFiles = 16
	maxName  = 64
	// maxMessage is far more than sixteen names take.
	maxMessage = 4096
	// maxStay bounds how long a keeper stays alone: what it keeps would be expired by then.
	maxStay = 31 * 24 * time.Hour
	// patience bounds how long an end waits for the other one.
	patience = 10 * time.Second
)

// ErrRefused is wrapped by errors that say what the other end did not accept.
var ErrRefused = errors.New("refused")

type request struct {
	Do      string `json:"do"`
	Name    string `json:"name,omitempty"`
	Seconds int64  `json:"seconds,omitempty"`
}

type reply struct {
	Error string   `json:"error,omitempty"`
	Names []string `json:"names,omitempty"`
}

// parse reads a request and judges it, but for its files.
func parse(b []byte) (r request, err error) {
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("not a message: %w", err)
	}
	switch r.Do {
	case "list":
	case "store", "forget":
		if !validName(r.Name) {
			return r, fmt.Errorf("%.80q is no name: 1 to %d letters, digits, dots and dashes", r.Name, maxName)
		}
	case "stay", "leave":
		if r.Seconds < 0 || r.Seconds > int64(maxStay/time.Second) {
			return r, fmt.Errorf("%d seconds are not in 0..%d", r.Seconds, int64(maxStay/time.Second))
		}
	default:
		return r, fmt.Errorf("%.40q is not known: list, store, forget, stay or leave", r.Do)
	}
	return r, nil
}

func validName(name string) bool {
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.')
	}
	return name != "" && len(name) <= maxName && !strings.ContainsFunc(name, bad)
}

// send writes one message with descriptors.
func send(c *net.UnixConn, message any, files []*os.File) error {
	b, err := json.Marshal(message)
	if err != nil {
		return err
	}
	var oob []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		oob = syscall.UnixRights(fds...)
	}
	if err := c.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, _, err = c.WriteMsgUnix(b, oob, nil)
	return err
}

// receive reads one message with at most so many descriptors, which are the caller's. An end of the connection is
// net.ErrClosed.
func receive(c *net.UnixConn, most int) ([]byte, []*os.File, error) {
	b, oob := make([]byte, maxMessage), make([]byte, syscall.CmsgSpace(4*most))
	n, oobn, flags, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return nil, nil, err
	}
	files, err := filesIn(oob[:oobn])
	switch {
	case err != nil:
	case n == 0 && oobn == 0:
		err = net.ErrClosed
	case flags&(syscall.MSG_TRUNC|syscall.MSG_CTRUNC) != 0:
		err = fmt.Errorf("a message of more than %d bytes or %d files", maxMessage, most)
	}
	if err != nil {
		closeAll(files)
		return nil, nil, err
	}
	return b[:n], files, nil
}

func filesIn(oob []byte) (files []*os.File, err error) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("descriptors of a message: %w", err)
	}
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			continue // credentials, or what else nobody asked for
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "kept"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
