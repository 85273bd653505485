package gossip

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"ulvs/conntrack"
)

// keySize is what a key file holds per line, base64: enough for AES-256.
const keySize = 32

// ErrKey is wrapped by every error about a cluster key.
var ErrKey = errors.New("cluster key")

// clusterKey is what all directors share.
type clusterKey struct {
	id     uint16 // on the wire, to tell two keys apart
	secret [keySize]byte
}

// Keys are the keys of a cluster: the first seals, both open, so that a key can be changed one director
// after the other.
type Keys struct {
	keys     []clusterKey
	insecure bool
}

// Insecure reports that there is no key: anybody on the network can forge.
func (k Keys) Insecure() bool { return k.insecure }

// InsecureKeys are for a cluster without a key. The wire format is the same; the key is public.
func InsecureKeys() Keys { return Keys{keys: []clusterKey{newKey([keySize]byte{})}, insecure: true} }

// LoadKeys reads a key file: one line of 32 bytes in base64, or two while the key is being changed. It must be a
// regular file that only its owner can read, like ssh's.
func LoadKeys(path string) (Keys, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return Keys{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	if !info.Mode().IsRegular() {
		return Keys{}, fmt.Errorf("%w %s: not a regular file", ErrKey, path)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return Keys{}, fmt.Errorf("%w %s: mode is %04o, others can read it; chmod 0600 would be right", ErrKey, path, perm)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Keys{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	keys, err := ParseKeys(string(text))
	if err != nil {
		return Keys{}, fmt.Errorf("%w, in %s", err, path)
	}
	return keys, nil
}

// ParseKeys reads the text of a key file. Empty lines and those that begin with # are skipped.
func ParseKeys(text string) (Keys, error) {
	var out Keys
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(raw) != keySize {
			return Keys{}, fmt.Errorf("%w: a line is not %d bytes in base64; `ulvs sync keygen` makes one", ErrKey, keySize)
		}
		out.keys = append(out.keys, newKey([keySize]byte(raw)))
	}
	switch {
	case len(out.keys) == 0:
		return Keys{}, fmt.Errorf("%w: no key", ErrKey)
	case len(out.keys) > 2:
		return Keys{}, fmt.Errorf("%w: %d keys, at most the new one and the old one make sense", ErrKey, len(out.keys))
	case len(out.keys) == 2 && out.keys[0].id == out.keys[1].id:
		return Keys{}, fmt.Errorf("%w: twice the same key (or two that cannot be told apart)", ErrKey)
	}
	return out, nil
}

// GenerateKey returns a new key as a line of a key file.
func GenerateKey() string {
	var b [keySize]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.StdEncoding.EncodeToString(b[:])
}

func newKey(secret [keySize]byte) clusterKey {
	k := clusterKey{secret: secret}
	k.id = binary.BigEndian.Uint16(k.derive(nil, "ulvs key id", 2))
	return k
}

// derive returns a key for one use (RFC 5869).
func (k *clusterKey) derive(salt []byte, info string, size int) []byte {
	out, err := hkdf.Key(sha256.New, k.secret[:], salt, info, size)
	if err != nil {
		panic("gossip: hkdf: " + err.Error()) // size is a small constant
	}
	return out
}

// DigestKey returns the key of table digests. While keys are changed directors digest by different ones, and
// compare only with those that have the same (digestID).
func (k Keys) DigestKey() (d conntrack.DigestKey) {
	raw := k.keys[0].derive(nil, "ulvs digest", 32)
	for i := range d {
		d[i] = binary.LittleEndian.Uint64(raw[8*i:]) | 1
	}
	return d
}

// DigestID names the key of digests.
func (k Keys) DigestID() uint16 { return k.keys[0].id }

// find returns the key with an id, nil if there is none.
func (k Keys) find(id uint16) *clusterKey {
	for i := range k.keys {
		if k.keys[i].id == id {
			return &k.keys[i]
		}
	}
	return nil
}
