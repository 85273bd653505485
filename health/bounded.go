package health

import (
	"errors"
	"io"
	"net"
)

// bounded is a connection that is read up to a limit, and knows how reading ended: parsers take the
// beginning of a line that never came for a line.
type bounded struct {
	net.Conn
	left int64 // bytes that may be read yet
	err  error // of the last Read, but for the end of the stream
}

// Read returns io.EOF at the limit.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, io.EOF
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// reason names the error of a parser: that of the connection if there was one, else what the
// server said is not understood.
func (b *bounded) reason(err error) Reason {
	if b.err != nil {
		err = b.err
	}
	if why := reasonOf(err); why != ReasonLocal {
		return why
	}
	return ReasonGarbage
}
