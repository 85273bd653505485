package director

import (
	"net/netip"
	"testing"

	"ulvs/ha/ipvssync"
)

// BenchmarkBackupTakesMessages is what a kernel's master may send: full messages of 40 sessions that are known already.
// One operation is one session.
func BenchmarkBackupTakesMessages(b *testing.B) {
	bed := newKernelBed(b, service(80, 1, 2, 3))
	var messages [][]byte
	m := ipvssync.NewBuilder(1, 5, 1472)
	flush := func() {
		messages = append(messages, append([]byte(nil), m.Bytes()...))
		m.Reset()
	}
	for i := range 4000 {
		c := conn(1+i%3, func(c *ipvssync.Conn) {
			c.Client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i >> 8)}), uint16(1024+i))
		})
		if !m.Add(&c) {
			flush()
			m.Add(&c)
		}
	}
	flush()
	for _, message := range messages {
		bed.backup.Take(message)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += 4000 {
		for _, message := range messages {
			bed.backup.Take(message)
		}
	}
	if got := bed.backup.Stats().Rejected[0].Load(); got > 0 {
		b.Fatalf("%d messages were malformed", got)
	}
}
