package health

import (
	"errors"
	"net"
	"net/smtp"
	"net/textproto"
)

// maxMailBytes bounds all that a mail server may say.
const maxMailBytes = 64 << 10

// mail greets a mail server and takes leave of it.
func mail(conn net.Conn, c *Check) Result {
	b := &bounded{Conn: conn, left: maxMailBytes}
	client, err := smtp.NewClient(b, c.HeloName)
	if err != nil {
		return mailFailure(b, "banner", err)
	}
	if err := client.Hello(c.HeloName); err != nil {
		return mailFailure(b, "EHLO", err)
	}
	if err := client.Quit(); err != nil {
		return mailFailure(b, "QUIT", err)
	}
	return good()
}

// mailFailure names what went wrong at a step.
func mailFailure(b *bounded, step string, err error) Result {
	var refusal *textproto.Error
	switch {
	case b.left <= 0:
		return failed(ReasonTooLong, "%s: more than %d bytes", step, maxMailBytes)
	case errors.As(err, &refusal):
		return failed(ReasonRefusal, "%s: %v", step, refusal)
	}
	if why := b.reason(err); why != ReasonGarbage {
		return failed(why, "at %s", step)
	}
	return failed(ReasonGarbage, "%s: %v", step, err)
}
