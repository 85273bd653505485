package userstack

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
)

func TestErrorsAreThoseOfAKernelsSocket(t *testing.T) {
	for _, c := range []struct {
		stack tcpip.Error
		want  error
	}{
		{&tcpip.ErrConnectionRefused{}, syscall.ECONNREFUSED},
		{&tcpip.ErrConnectionReset{}, syscall.ECONNRESET},
		{&tcpip.ErrTimeout{}, syscall.ETIMEDOUT},
		{&tcpip.ErrUnknownProtocolOption{}, syscall.ENOPROTOOPT},
	} {
		if err := wrap(c.stack); err != c.want {
			t.Errorf("%s: %v, want %v", c.stack, err, c.want)
		}
		// as gonet hands it on
		if err := plain(&net.OpError{Op: "read", Err: errors.New(c.stack.String())}); err != c.want {
			t.Errorf("%s by gonet: %v, want %v", c.stack, err, c.want)
		}
	}
	for _, same := range []error{nil, io.EOF, context.DeadlineExceeded, context.Canceled, os.ErrDeadlineExceeded} {
		if err := plain(same); err != same {
			t.Errorf("%v became %v", same, err)
		}
	}
	if wrap(nil) != nil {
		t.Error("no error became one")
	}
}
