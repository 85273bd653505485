package lab

import (
	"bytes"
	"sync"
)

// logLimit is what a Log keeps, in bytes: more than a process says unless something is wrong.
const logLimit = 16 << 20

// Log collects what a process says; it may be read meanwhile. The zero value is ready.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer; what is past the limit is dropped.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p[:min(len(p), logLimit-l.text.Len())])
	return len(p), nil
}

// String returns the log so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
