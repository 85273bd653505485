package main

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// entryBytes is a session's share of the connection table: its entry and its slot in the index.
const entryBytes = 80

// control works as forwarding a packet does, and never changes: in batches of 64 it draws entries, hashes, loads
// a line of each, and copies and sums a frame of 64 bytes.
type control struct {
	memory  []byte
	entries uint64
	random  uint64
	frames  [64 * 2048]byte
	drawn   [64]uint64
	sum     uint64
}

// newControl has the memory of so many sessions, in huge pages where there are any.
func newControl(sessions int) (*control, error) {
	size := (sessions*entryBytes + 1<<21) &^ (1<<21 - 1)
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("control: %d bytes: %w", size, err)
	}
	_ = unix.Madvise(memory, unix.MADV_HUGEPAGE)
	for at := 0; at < len(memory); at += 4096 {
		memory[at] = 1
	}
	return &control{memory: memory, entries: uint64(sessions), random: 88172645463325252}, nil
}

func (c *control) close() error { return unix.Munmap(c.memory) }

// run works n times, rounded up to batches.
func (c *control) run(n int) error {
	for done := 0; done < n; done += len(c.drawn) {
		c.draw()
		c.load()
		c.copy()
	}
	return nil
}

func (c *control) draw() {
	for i := range c.drawn {
		c.random ^= c.random << 13
		c.random ^= c.random >> 7
		c.random ^= c.random << 17
		h := c.random * 0x9e3779b97f4a7c15
		h = (h ^ h>>32) * 0xbf58476d1ce4e5b9
		c.drawn[i] = (h >> 32) * c.entries >> 32 * entryBytes &^ 63
	}
}

func (c *control) load() {
	for i := range c.drawn {
		line := c.memory[c.drawn[i] : c.drawn[i]+64]
		c.drawn[i] = binary.LittleEndian.Uint64(line) + binary.LittleEndian.Uint64(line[56:])
	}
}

func (c *control) copy() {
	sum := c.sum
	for i := range c.drawn {
		frame := c.frames[i*2048 : i*2048+64]
		for at := 0; at < 56; at += 8 {
			v := binary.LittleEndian.Uint64(frame[at:])
			sum += v>>32 + v&0xffffffff
			binary.LittleEndian.PutUint64(frame[at:], v+c.drawn[i])
		}
		sum = sum&0xffff + sum>>16&0xffff + sum>>32
	}
	c.sum = sum
}
