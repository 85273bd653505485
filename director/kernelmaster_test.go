package director

import (
	"slices"
	"sync"
	"testing"
	"time"

	"ulvs/conntrack"
	"ulvs/ha/ipvssync"
	"ulvs/ha/kernelsync"
	"ulvs/internal/testutil"
	"ulvs/packet"
)

// wireTap is the network that a master sends to.
type wireTap struct {
	mu       sync.Mutex
	messages [][]byte
}

// Write implements io.Writer.
func (w *wireTap) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.messages = append(w.messages, slices.Clone(b))
	return len(b), nil
}

// Close implements io.Closer.
func (w *wireTap) Close() error { return nil }

// conns are the connections of all messages so far, which must be well formed.
func (w *wireTap) conns(t *testing.T) (list []ipvssync.Conn) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.messages {
		m, err := ipvssync.Decode(b)
		if err != nil || m.SyncID != 5 {
			t.Fatalf("sent %x: %v, sync id %d", b, err, m.SyncID)
		}
		list = append(list, m.Conns...)
	}
	return list
}

// own makes all sessions the bed's.
func (b *kernelBed) own() {
	b.table.Walk(func(_ conntrack.Ref, e *conntrack.Entry, _ conntrack.Info) bool {
		e.ClearFlags(conntrack.FlagStandby)
		return true
	})
}

func (b *kernelBed) master(o kernelsync.MasterOptions) (*wireTap, *kernelsync.Master) {
	out := &wireTap{}
	o.SyncID, o.MaxLen, o.Table, o.Mu = 5, 1472, b.shared, &b.mu
	return out, kernelsync.StartMaster(o, out)
}

// A master's backup, of whichever version, ends with the same table.
func TestAMastersBackupHasItsSessions(t *testing.T) {
	for version, mark := range []string{"unbound", "linked"} {
		recorded := recordedMessages(t)
		here, there := newKernelBed(t, recordedServices()...), newKernelBed(t, recordedServices()...)
		for _, name := range []string{"plain-v1", "persist-v1", "fwmark-v1", "udp-v1"} {
			here.backup.Take(recorded[name][0])
		}
		here.pass(60)
		here.worker.Sweep(here.now) // the template lives on, for its session's sake
		here.own()
		out, master := here.master(kernelsync.MasterOptions{Version: uint8(version)})
		testutil.Await(t, "all sessions to be told", func() bool { return len(out.conns(t)) == 6 })
		if err := master.Close(); err != nil {
			t.Fatal(err)
		}
		for _, m := range out.messages {
			there.backup.Take(m)
		}
		left := map[bool]string{true: "900s", false: "840s"}[version == 0] // version 0 tells no time
		udp := map[bool]string{true: "300s", false: "240s"}[version == 0]
		there.want("told by a master",
			"0 172.16.1.3:0 0.0.0.7:0 10.1.0.4:0 ASSURED 400s",
			"6 172.16.1.3:5003 10.7.7.7:25 10.1.0.4:25 ESTABLISHED "+left+" "+mark,
			"6 172.16.1.1:5001 10.0.0.1:80 10.1.0.1:80 ESTABLISHED "+left,
			"17 172.16.1.4:5004 10.0.0.1:53 10.1.0.5:53 UDP "+udp,
			"6 172.16.1.2:0 10.0.0.1:443 10.1.0.3:443 ASSURED 20s",
			"6 172.16.1.2:5002 10.0.0.1:443 10.1.0.3:443 ESTABLISHED "+left+" linked")
	}
}

// What workers write down goes out as a kernel would have said it.
func TestAMasterTellsWhatAKernelWould(t *testing.T) {
	web := service(80, 1)
	web.Persistence = time.Minute
	b := newKernelBed(t, web)
	out, master := b.master(kernelsync.MasterOptions{Version: 1})
	for _, flags := range []uint8{packet.TCPSyn, packet.TCPAck, packet.TCPAck, packet.TCPFin | packet.TCPAck} {
		b.pass(1)
		b.packet(1024, flags)
		for _, l := range b.logs {
			records := l.Read(64)
			master.Take(records)
			l.Release(len(records))
		}
	}
	if err := master.Close(); err != nil {
		t.Fatal(err)
	}
	type told struct {
		port  uint16
		state uint16
		flags uint32
	}
	want := map[told]uint32{ // as of a kernel 6.1: persist-v1 in ha/ipvssync/testdata, and no SYN_RECV; seconds
		{0, 0, 0x1183}: 60, {0, 1, 0x1183}: 60, {1024, 1, 0x83}: 900, {1024, 4, 0x183}: 120,
	}
	seen := map[told]bool{}
	for _, c := range out.conns(t) {
		one := told{c.Client.Port(), c.State, c.Flags}
		seen[one] = true
		// The first walk over the table may see a session as well, and up to four seconds later.
		if seconds := want[one]; c.Timeout > seconds || c.Timeout+4 < seconds {
			t.Errorf("told of %+v with %d s, want %d", one, c.Timeout, seconds)
		}
		if c.Dest.Addr() != realAddr(1) || c.Dest.Port() != 80 || c.VIP.Addr() != vip || c.VIP.Port() != 80 {
			t.Errorf("told of %+v", c)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("told of %v, want %v", seen, want)
	}
}

func TestAMasterSendsEachMessageAgainAsOftenAsItIsTold(t *testing.T) {
	b := newKernelBed(t, recordedServices()...)
	b.backup.Take(recordedMessages(t)["plain-v1"][0])
	b.own()
	out, master := b.master(kernelsync.MasterOptions{Version: 1, Retries: 2})
	testutil.Await(t, "the message three times", func() bool { return len(out.conns(t)) == 3 })
	if err := master.Close(); err != nil {
		t.Fatal(err)
	}
	if n := master.Stats().Messages.Load(); n != 3 || master.Stats().Conns.Load() != 1 {
		t.Errorf("%d messages of %d sessions, want one sent three times", n, master.Stats().Conns.Load())
	}
}

func TestAMasterWithPersistModeTellsTemplatesOnly(t *testing.T) {
	b := newKernelBed(t, recordedServices()...)
	for _, name := range []string{"plain-v1", "persist-v1"} {
		b.backup.Take(recordedMessages(t)[name][0])
	}
	b.own()
	out, master := b.master(kernelsync.MasterOptions{Version: 1, TemplatesOnly: true})
	testutil.Await(t, "the template and the other session", func() bool { return len(out.conns(t)) == 2 })
	if err := master.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range out.conns(t) {
		if c.VIP.Port() == 443 && c.Flags&ipvssync.FlagTemplate == 0 {
			t.Errorf("told of %+v, a session of a persistent service", c)
		}
	}
}
