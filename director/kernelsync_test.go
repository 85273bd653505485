package director

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ulvs/conntrack"
	"ulvs/dataplane"
	"ulvs/ha/ipvssync"
	"ulvs/ha/kernelsync"
	"ulvs/lvs"
	"ulvs/packet"
)

// kernelBed is a bed that a kernel's sync daemon speaks to.
type kernelBed struct {
	*bed
	table  *conntrack.Table
	backup *kernelsync.Backup
	mu     sync.Mutex
	shared replicaTable
	logs   []*conntrack.Log
}

func newKernelBed(t testing.TB, services ...lvs.Service) *kernelBed {
	t.Helper()
	table, err := conntrack.New(conntrack.Options{Bits: 8, Heap: true, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = table.Close() })
	b := &kernelBed{table: table, bed: &bed{
		tb: t, net: &staticNetwork{map[netip.Addr]bool{}, map[netip.Addr]bool{}}, now: 8000, port: 1023,
	}}
	if b.Node, err = NewNode(NodeOptions{Table: table, Network: b.net}); err != nil {
		t.Fatal(err)
	}
	b.worker = dataplane.NewWorker(dataplane.Options{
		Queue: &b.wire, Table: table, Snapshots: b.Snapshots(), Seed: 1,
	})
	b.opt.Daemons = b
	b.daemons = []lvs.SyncDaemon{{Role: roleBackup}}
	b.Serve(b.worker)
	b.logs = []*conntrack.Log{conntrack.NewLog(conntrack.LogOptions{})}
	b.publishLogs()
	b.replace(services...)
	replica := dataplane.NewReplica(dataplane.ReplicaOptions{
		Table: table, Handle: 1, Snapshots: b.Snapshots(), Term: new(atomic.Uint32),
	})
	b.shared = replicaTable{replica, func() time.Duration { return b.now.Duration() }}
	b.backup = kernelsync.NewBackup(kernelsync.BackupOptions{SyncID: 5, MaxLen: 1472, Table: b.shared, Mu: &b.mu})
	return b
}

// MTU implements Daemons.
func (b *kernelBed) MTU(string) (int, bool) { return 1500, true }

// Start implements Daemons.
func (b *kernelBed) Start(lvs.SyncDaemon) error { return nil }

// Stop implements Daemons.
func (b *kernelBed) Stop(string) {}

// Logs implements Daemons.
func (b *kernelBed) Logs() []*conntrack.Log { return b.logs }

// pass lets seconds go by. The clock is read by whoever uses the table, with mu.
func (b *kernelBed) pass(seconds conntrack.Tick) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now += seconds * conntrack.TicksPerSecond
}

// listed is the table, a line per session: with its real server's and template's numbers only as far as there are any.
func (b *kernelBed) listed() []string {
	lines := []string{}
	b.table.Walk(func(_ conntrack.Ref, _ *conntrack.Entry, i conntrack.Info) bool {
		line := fmt.Sprintf("%d %s %s %s %s %ds", i.Proto, i.Client, i.VIP, i.Dest, i.State,
			i.Expires(b.now)/conntrack.TicksPerSecond)
		for word, is := range map[string]bool{" unbound": i.DestID == 0, " linked": i.Control != 0} {
			if is {
				line += word
			}
		}
		if i.Flags&conntrack.FlagStandby == 0 {
			line += " ours"
		}
		lines = append(lines, line)
		return true
	})
	slices.Sort(lines)
	return lines
}

func (b *kernelBed) want(what string, lines ...string) {
	b.tb.Helper()
	slices.Sort(lines)
	if got := b.listed(); !slices.Equal(got, lines) {
		b.tb.Errorf("%s: the table has\n\t%s\nwant\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(lines, "\n\t"))
	}
}

// take gives the backup connections as a kernel would send them.
func (b *kernelBed) take(conns ...ipvssync.Conn) {
	b.tb.Helper()
	m := ipvssync.NewBuilder(1, 5, 1472)
	for i := range conns {
		if !m.Add(&conns[i]) {
			b.tb.Fatal("too many connections for a message")
		}
	}
	b.backup.Take(m.Bytes())
}

// recordedMessages are datagrams of a kernel 6.1.176, by their names: what was sent of one scenario.
func recordedMessages(t *testing.T) map[string][][]byte {
	t.Helper()
	text, err := os.ReadFile("../ha/ipvssync/testdata/sync_wire.json")
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Messages []struct{ Name, Payload string }
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	out := map[string][][]byte{}
	for _, m := range r.Messages {
		b, err := hex.DecodeString(m.Payload)
		if err != nil {
			t.Fatal(err)
		}
		out[m.Name] = append(out[m.Name], b)
	}
	return out
}

func serviceAt(key lvs.ServiceKey, persist time.Duration, m lvs.Method, reals ...string) lvs.Service {
	s := lvs.Service{Key: key, Scheduler: "rr", Persistence: persist}
	for _, r := range reals {
		a := netip.MustParseAddrPort(r)
		s.Destinations = append(s.Destinations, lvs.Destination{Addr: a.Addr(), Port: a.Port(), Weight: 1, Method: m})
	}
	return s
}

func keyAt(proto uint8, at string) lvs.ServiceKey {
	a := netip.MustParseAddrPort(at)
	return lvs.ServiceKey{Addr: a.Addr(), Port: a.Port(), Proto: proto}
}

// recordedServices are those that the kernel had when it sent the recorded messages.
func recordedServices() []lvs.Service {
	mark := lvs.ServiceKey{Addr: netip.IPv4Unspecified(), Mark: 7}
	return []lvs.Service{
		serviceAt(keyAt(lvs.ProtoTCP, "10.0.0.1:80"), 0, lvs.MethodDR, "10.1.0.1:80"),
		serviceAt(keyAt(lvs.ProtoTCP, "10.0.0.1:443"), 20*time.Second, lvs.MethodDR, "10.1.0.2:443", "10.1.0.3:443"),
		serviceAt(mark, 400*time.Second, lvs.MethodDR, "10.1.0.4:0"),
		serviceAt(keyAt(lvs.ProtoUDP, "10.0.0.1:53"), 0, lvs.MethodDR, "10.1.0.5:53"),
	}
}

func TestWhatAKernelTellsIsInTheTable(t *testing.T) {
	recorded := recordedMessages(t)
	for _, v := range []struct{ version, net, persistent string }{
		{"v1", "172.16.1.", "10.1.0.3:443"}, {"v0", "172.16.0.", "10.1.0.2:443"},
	} {
		t.Run(v.version, func(t *testing.T) {
			b := newKernelBed(t, recordedServices()...)
			for name, list := range recorded {
				if strings.HasSuffix(name, v.version) {
					b.backup.Take(list[0])
				}
			}
			marked := "6 " + v.net + "3:5003 10.7.7.7:25 10.1.0.4:25 ESTABLISHED 900s"
			if v.version == "v1" {
				marked += " linked"
			} else {
				marked += " unbound" // version 0 tells no mark
			}
			lines := []string{
				"0 " + v.net + "3:0 0.0.0.7:0 10.1.0.4:0 ASSURED 400s", marked,
				"6 " + v.net + "1:5001 10.0.0.1:80 10.1.0.1:80 ESTABLISHED 900s",
				"17 " + v.net + "4:5004 10.0.0.1:53 10.1.0.5:53 UDP 300s",
				"6 " + v.net + "2:0 10.0.0.1:443 " + v.persistent + " ASSURED 20s",
				"6 " + v.net + "2:5002 10.0.0.1:443 " + v.persistent + " ESTABLISHED 900s linked",
			}
			if v.version == "v0" { // the first message of that name is the end of version 1's template
				lines[2] = "6 172.16.1.2:0 10.0.0.1:443 10.1.0.3:443 ASSURED 20s"
			}
			b.want(v.version, lines...)
			for r := range b.backup.Stats().Rejected {
				if n := b.backup.Stats().Rejected[r].Load(); n > 0 {
					t.Errorf("%d connections were refused as %s", n, kernelsync.Reject(r))
				}
			}
		})
	}
}

// conn is a connection of the first client to port 80 as the kernel tells it.
func conn(real int, change func(*ipvssync.Conn)) ipvssync.Conn {
	c := ipvssync.Conn{
		Proto: lvs.ProtoTCP, Flags: ipvssync.MethodDR | ipvssync.FlagNoOutput, State: uint16(conntrack.TCPEstablished),
		Client: netip.AddrPortFrom(client, 1024), VIP: netip.AddrPortFrom(vip, 80),
		Dest: netip.AddrPortFrom(realAddr(real), 80), Timeout: 900,
	}
	if change != nil {
		change(&c)
	}
	return c
}

func TestASessionOfAKernelGoesOnHere(t *testing.T) {
	b := newKernelBed(t, service(80, 1, 2, 3))
	line := func(real int, rest string) string {
		return fmt.Sprintf("6 %s:1024 %s:80 %s:80 %s", client, vip, realAddr(real), rest)
	}
	for real := range 3 {
		b.take(conn(real+1, nil))
		b.want("told", line(real+1, "ESTABLISHED 900s"))
	}
	b.take(conn(1, func(c *ipvssync.Conn) { c.Flags |= ipvssync.FlagInactive; c.State = uint16(conntrack.TCPClose) }))
	b.want("the last word on a session that was replaced", line(3, "ESTABLISHED 900s"))
	b.pass(8)
	if to := b.packet(1024, packet.TCPAck); to != realAddr(3) {
		t.Fatalf("the client's next segment went to %v, want %v", to, realAddr(3))
	}
	b.want("its first segment came here", line(3, "ESTABLISHED 900s ours"))
	b.pass(1)
	b.take(conn(3, func(c *ipvssync.Conn) { c.State = uint16(conntrack.TCPFinWait) }))
	b.want("the kernel's buffer came late", line(3, "ESTABLISHED 899s ours"))
	b.pass(60)
	b.take(conn(3, func(c *ipvssync.Conn) { c.State, c.Timeout = uint16(conntrack.TCPFinWait), 120 }))
	b.want("the kernel has it again", line(3, "FIN_WAIT 120s"))
}

func TestASessionWaitsForItsService(t *testing.T) {
	b := newKernelBed(t)
	line := fmt.Sprintf("6 %s:1024 %s:80 %s:80 ESTABLISHED 900s", client, vip, realAddr(2))
	b.take(conn(2, nil))
	b.want("without a service", line+" unbound")
	b.replace(service(80, 1, 2))
	b.take(conn(2, nil))
	b.want("told again after the service came", line)
	nat := service(80, 1, 2)
	for i := range nat.Destinations {
		nat.Destinations[i].Method = lvs.MethodNAT
	}
	other := newKernelBed(t, nat)
	other.take(conn(2, nil))
	other.table.Walk(func(_ conntrack.Ref, _ *conntrack.Entry, i conntrack.Info) bool {
		if i.Flags&conntrack.FlagNAT == 0 {
			t.Errorf("flags %x: the real server's method here is not the session's", i.Flags)
		}
		return true
	})
}

func TestASessionOfAKernelsPersistentServiceHoldsItsTemplate(t *testing.T) {
	web := service(80, 1, 2)
	web.Persistence = time.Minute
	b := newKernelBed(t, web)
	b.take(conn(2, nil)) // and no template: its message was lost
	template := fmt.Sprintf("6 %s:0 %s:80 %s:80 ASSURED", client, vip, realAddr(2))
	b.want("told", template+" 60s", fmt.Sprintf("6 %s:1024 %s:80 %s:80 ESTABLISHED 900s linked", client, vip, realAddr(2)))
	for range 600 {
		b.pass(1)
		b.worker.Sweep(b.now)
	}
	if list := b.listed(); len(list) != 2 || !strings.HasPrefix(list[0], template) {
		t.Errorf("ten minutes later, with a session on it, the table has %q", list)
	}
	if to := b.packet(1025, packet.TCPSyn); to != realAddr(2) {
		t.Errorf("the client's next connection went to %v, want %v", to, realAddr(2))
	}
}

func TestWhatAKernelMayNotTellChangesNothing(t *testing.T) {
	type c = *ipvssync.Conn
	for _, bad := range []struct {
		why    kernelsync.Reject
		change func(c)
	}{
		{kernelsync.RejectProtocol, func(c c) { c.Proto = 51 }},
		{kernelsync.RejectState, func(c c) { c.State = 11 }},
		{kernelsync.RejectState, func(c c) { c.Proto, c.State = lvs.ProtoUDP, 1 }},
		{kernelsync.RejectState, func(c c) { c.Proto, c.State = lvs.ProtoSCTP, 14 }},
		{kernelsync.RejectState, func(c c) { c.Flags |= ipvssync.FlagTemplate; c.State = 2 }},
		{kernelsync.RejectMethod, func(c c) { c.Flags |= ipvssync.MethodBypass }},
		{kernelsync.RejectNoPort, func(c c) { c.Flags |= ipvssync.FlagNoCPort }},
		{kernelsync.RejectNoPort, func(c c) { c.Client = netip.AddrPortFrom(client, 0) }},
		{kernelsync.RejectEngine, func(c c) { c.PEName, c.PEData = []byte("sip"), []byte("call") }},
	} {
		b := newKernelBed(t, service(80, 1))
		b.take(conn(1, bad.change))
		b.wantRejected(bad.why, 1)
		if got := b.listed(); len(got) > 0 {
			t.Errorf("%s: the table has %q", bad.why, got)
		}
	}
}

func (b *kernelBed) wantRejected(why kernelsync.Reject, n uint64) {
	b.tb.Helper()
	for r := range b.backup.Stats().Rejected {
		want := uint64(0)
		if kernelsync.Reject(r) == why {
			want = n
		}
		if got := b.backup.Stats().Rejected[r].Load(); got != want {
			b.tb.Errorf("after something wrong by its %s: %s counts %d, want %d", why, kernelsync.Reject(r), got, want)
		}
	}
}

func TestMessagesThatAreNoneOfOursChangeNothing(t *testing.T) {
	good := ipvssync.NewBuilder(1, 5, 1472)
	one := conn(1, nil)
	good.Add(&one)
	with := func(at int, v byte) []byte { b := slices.Clone(good.Bytes()); b[at] = v; return b }
	long := make([]byte, 1473)
	copy(long, with(2, 1473>>8))
	long[3] = 1473 & 0xff
	for _, bad := range []struct {
		name    string
		why     kernelsync.Reject
		message []byte
	}{
		{"nothing", kernelsync.RejectMalformed, nil},
		{"cut", kernelsync.RejectMalformed, good.Bytes()[:20]},
		{"another version", kernelsync.RejectVersion, with(5, 2)},
		{"a connection of another version", kernelsync.RejectVersion, with(10, 0x10)},
		{"another sync id", kernelsync.RejectSyncID, with(1, 6)},
		{"too long", kernelsync.RejectOversized, long},
		{"a count that lies", kernelsync.RejectMalformed, with(4, 9)},
	} {
		b := newKernelBed(t, service(80, 1))
		b.backup.Take(bad.message)
		b.wantRejected(bad.why, 1)
		if got := b.listed(); len(got) > 0 {
			t.Errorf("%s: the table has %q", bad.name, got)
		}
	}
}
