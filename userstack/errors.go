package userstack

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// known are the stack's errors that a kernel's socket has a name for. Callers compare with those.
var known = []struct {
	stack tcpip.Error
	plain error
}{
	{&tcpip.ErrConnectionRefused{}, syscall.ECONNREFUSED},
	{&tcpip.ErrConnectionReset{}, syscall.ECONNRESET},
	{&tcpip.ErrConnectionAborted{}, syscall.ECONNABORTED},
	{&tcpip.ErrHostUnreachable{}, syscall.EHOSTUNREACH},
	{&tcpip.ErrNetworkUnreachable{}, syscall.ENETUNREACH},
	{&tcpip.ErrTimeout{}, syscall.ETIMEDOUT},
	{&tcpip.ErrMessageTooLong{}, syscall.EMSGSIZE},
	// What the stack makes of other ICMP errors, as icmp_err_convert of the kernel has them.
	{&tcpip.ErrUnknownProtocolOption{}, syscall.ENOPROTOOPT}, // no such protocol there: no decapsulation
	{&tcpip.ErrHostDown{}, syscall.EHOSTDOWN},
	{&tcpip.ErrNoNet{}, syscall.ENETUNREACH},
	{&tcpip.ErrNotSupported{}, syscall.EHOSTUNREACH}, // source route failed
}

// wrap turns an error of the stack into one of Go's; nil stays nil.
func wrap(err tcpip.Error) error {
	if err == nil {
		return nil
	}
	return plain(errors.New(err.String()))
}

// plain turns the text that gonet makes of the stack's errors into the errors of a kernel's socket.
func plain(err error) error {
	switch {
	case err == nil, isEnd(err), errors.Is(err, context.DeadlineExceeded):
		return err
	case isTimeout(err):
		return os.ErrDeadlineExceeded
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	for _, k := range known {
		if err.Error() == k.stack.String() {
			return k.plain
		}
	}
	return err
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) }
