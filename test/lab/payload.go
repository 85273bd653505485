package lab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// payloadStep is the odd constant of splitmix64 (Steele, Lea, Flood 2014), by which
// the payload's words differ.
const payloadStep = 0x9e3779b97f4a7c15

// Payload is the byte stream that both ends of a transfer can compute: no two
// 8-byte words of it are alike, so a byte lost, doubled or moved is noticed. The zero
// value reads from the start, without end.
type Payload struct {
	off uint64 // bytes read so far
}

// Read fills b.
func (p *Payload) Read(b []byte) (int, error) {
	fillPayload(b, p.off)
	p.off += uint64(len(b))
	return len(b), nil
}

// NewPayload returns the first n bytes.
func NewPayload(n int64) io.Reader { return io.LimitReader(&Payload{}, n) }

// fillPayload writes the stream from byte off on into b.
func fillPayload(b []byte, off uint64) {
	var word [8]byte
	for len(b) > 0 {
		binary.LittleEndian.PutUint64(word[:], payloadWord(off/8))
		n := copy(b, word[off%8:])
		b, off = b[n:], off+uint64(n)
	}
}

func payloadWord(n uint64) uint64 {
	x := (n + 1) * payloadStep
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// check is a writer that compares what it gets with the payload and refuses the
// first byte that differs.
type check struct {
	off  uint64
	want [4096]byte
}

// Write compares b with the stream.
func (c *check) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		got := b[done:min(len(b), done+len(c.want))]
		want := c.want[:len(got)]
		fillPayload(want, c.off)
		if !bytes.Equal(got, want) {
			i := firstDifference(got, want)
			return done + i, fmt.Errorf("payload differs at byte %d: got %#02x, want %#02x",
				c.off+uint64(i), got[i], want[i])
		}
		done, c.off = done+len(got), c.off+uint64(len(got))
	}
	return done, nil
}

func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}

// CheckPayload reads r to its end and returns an error unless it is the payload's
// first n bytes.
func CheckPayload(r io.Reader, n int64) error {
	got, err := io.Copy(&check{}, r)
	if err != nil {
		return err
	}
	if got != n {
		return fmt.Errorf("payload has %d bytes, want %d", got, n)
	}
	return nil
}
