package kernelsync

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"

	"ulvs/ha/ipvssync"
	"ulvs/lvs"
)

// BackupOptions are what a Backup is made of.
type BackupOptions struct {
	SyncID uint8 // 0: whoever's
	// MaxLen bounds a message in bytes, as a kernel's buffer does.
	MaxLen int
	Table  Table
	Mu     *sync.Mutex // guards Table
}

// Backup takes what a kernel's master tells. It is the reader's, but for Stats.
type Backup struct {
	opt        BackupOptions
	identities map[lvs.ServiceKey]uint64
	stats      Stats
}

// NewBackup makes a backup that has heard nothing.
func NewBackup(o BackupOptions) *Backup {
	return &Backup{opt: o, identities: map[lvs.ServiceKey]uint64{}}
}

// Stats returns the counters.
func (b *Backup) Stats() *Stats { return &b.stats }

// failuresMax bounds how often in a row a socket may fail: an interface that goes down is one failure.
const failuresMax = 100

// Run takes what arrives on a socket until it is closed; then its error is nil.
func (b *Backup) Run(socket io.Reader) error {
	buf := make([]byte, ipvssync.MaxMessage+1)
	for failures := 0; failures < failuresMax; {
		n, err := socket.Read(buf)
		switch {
		case closed(err):
			return nil
		case err != nil && !errors.Is(err, io.EOF): // which is a datagram without a byte
			b.stats.Failed.Add(1)
			failures++
			continue
		}
		failures = 0
		b.Take(buf[:n])
	}
	return fmt.Errorf("IPVS sync: the socket failed %d times in a row", failuresMax)
}

// Take brings a message into the table, or counts why not; of a message that is refused nothing is brought in.
func (b *Backup) Take(msg []byte) {
	b.stats.Messages.Add(1)
	b.stats.Bytes.Add(uint64(len(msg)))
	if len(msg) > b.opt.MaxLen {
		b.stats.reject(RejectOversized)
		return
	}
	m, err := ipvssync.Decode(msg)
	switch {
	case errors.Is(err, ipvssync.ErrVersion):
		b.stats.reject(RejectVersion)
		return
	case err != nil:
		b.stats.reject(RejectMalformed)
		return
	case b.opt.SyncID != 0 && m.SyncID != b.opt.SyncID:
		b.stats.reject(RejectSyncID)
		return
	}
	b.opt.Mu.Lock()
	defer b.opt.Mu.Unlock()
	b.opt.Table.Begin()
	defer b.opt.Table.End()
	for i := range m.Conns {
		k, why, ok := b.heard(&m.Conns[i])
		if !ok {
			b.stats.reject(why)
			continue
		}
		b.stats.Conns.Add(1)
		b.stats.Applied[b.opt.Table.ApplyKernel(&k)].Add(1)
	}
}

// ValidGroup reports whether messages can go to that address.
func ValidGroup(a netip.Addr) bool { return a.IsMulticast() && a.Zone() == "" && !a.Is4In6() }
