package runner

import (
	"io"
	"os"
	"syscall"
	"time"
)

const (
	// pipeDelay is how long the output may stay open after the group is gone: only a process that
	// left the group can hold it.
	pipeDelay = 100 * time.Millisecond
	// pipeSize is what a pipe holds.
	pipeSize = 64 << 10
)

// output reads what a command says, so that the writer is not stopped by a full pipe.
type output struct {
	capped
	r    *os.File
	done chan struct{} // nobody reads any more
}

// listen returns the reader of an output of which so many bytes are kept, and the end that is written to; 0:
// DefaultMaxOutput.
func listen(most int) (*output, *os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	if most == 0 {
		most = DefaultMaxOutput
	}
	o := &output{capped{left: most}, r, make(chan struct{})}
	go func() {
		defer close(o.done)
		_, _ = io.Copy(&o.capped, r) // until the last writer is gone, or end has waited for it
	}()
	return o, w, nil
}

// end returns what was said by processes that are gone, and how many bytes more than were to be kept. Others may
// hold the pipe as long as they like.
func (o *output) end() (kept []byte, dropped int64) {
	_ = o.r.SetReadDeadline(time.Now().Add(pipeDelay))
	<-o.done
	o.rest()
	_ = o.r.Close()
	return o.kept, o.dropped
}

// rest takes what is in the pipe without waiting for more: on a busy machine nobody may have come to read it in time.
func (o *output) rest() {
	_ = o.r.SetReadDeadline(time.Time{})
	raw, err := o.r.SyscallConn()
	if err != nil {
		return
	}
	b := make([]byte, pipeSize)
	_ = raw.Read(func(fd uintptr) bool {
		if n, _ := syscall.Read(int(fd), b); n > 0 {
			_, _ = o.Write(b[:n])
		}
		return true
	})
}
