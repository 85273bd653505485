package failover

import (
	"net"
	"net/netip"
	"testing"

	"ulvs/internal/testutil"
	"ulvs/test/lab"
)

// startProbe begins to send datagrams from the client to an echo behind the VIP.
func startProbe(t *testing.T, l *lab.Lab) (p *lab.Probe) {
	t.Helper()
	to := netip.AddrPortFrom(l.Addresses().DR.IPv4, lab.PortEcho)
	if err := l.Do("c1", func() error {
		conn, err := net.Dial("udp", to.String())
		if err == nil {
			p = lab.NewProbe(conn)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	awaitAnswers(t, p, 20)
	return p
}

// awaitAnswers returns when n more answers came.
func awaitAnswers(t *testing.T, p *lab.Probe, n int) {
	t.Helper()
	want := p.Count() + n
	testutil.Await(t, "answers to the probe", func() bool { return p.Count() >= want })
}
