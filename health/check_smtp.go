package health

import (
	"errors"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
)

// maxMailBytes bounds all that a mail server may say.
const maxMailBytes = 64 << 10

// bounded is a connection that is read up to a limit.
type bounded struct {
	net.Conn
	reader io.LimitedReader
}

func (b *bounded) Read(p []byte) (int, error) { return b.reader.Read(p) }

// mail greets a mail server and takes leave of it.
func mail(conn net.Conn, c *Check) Result {
	b := &bounded{Conn: conn, reader: io.LimitedReader{R: conn, N: maxMailBytes}}
	client, err := smtp.NewClient(b, c.HeloName)
	if err != nil {
		return b.failure("banner", err)
	}
	if err := client.Hello(c.HeloName); err != nil {
		return b.failure("EHLO", err)
	}
	if err := client.Quit(); err != nil {
		return b.failure("QUIT", err)
	}
	return good()
}

func (b *bounded) failure(step string, err error) Result {
	var refusal *textproto.Error
	var garbage textproto.ProtocolError
	switch {
	case b.reader.N <= 0:
		return failed(ReasonTooLong, "%s: more than %d bytes", step, maxMailBytes)
	case errors.As(err, &refusal):
		return failed(ReasonRefusal, "%s: %v", step, refusal)
	case errors.As(err, &garbage):
		return failed(ReasonGarbage, "%s: %v", step, garbage)
	case reasonOf(err) == ReasonLocal:
		return failed(ReasonGarbage, "%s: %v", step, err)
	}
	return failed(reasonOf(err), "at %s", step)
}
