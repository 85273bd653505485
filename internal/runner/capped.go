package runner

// capped keeps the first bytes that are written to it and counts the others.
type capped struct {
	kept    []byte
	left    int
	dropped int64
}

// Write never fails.
func (c *capped) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.kept = append(c.kept, p[:n]...)
	c.left -= n
	c.dropped += int64(len(p) - n)
	return len(p), nil
}
