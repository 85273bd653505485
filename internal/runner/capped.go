package runner

import "sync"

// capped keeps the first bytes that are written to it and counts the others.
type capped struct {
	mu      sync.Mutex
	kept    []byte
	left    int
	dropped int64
}

// Write never fails, so that the writer is not stopped by a full pipe.
func (c *capped) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(len(p), c.left)
	c.kept = append(c.kept, p[:n]...)
	c.left -= n
	c.dropped += int64(len(p) - n)
	return len(p), nil
}

func (c *capped) result() (kept []byte, dropped int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept, c.dropped
}
