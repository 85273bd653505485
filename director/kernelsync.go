package director

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"ulvs/config"
	"ulvs/conntrack"
	"ulvs/control"
	"ulvs/dataplane"
	"ulvs/ha/kernelsync"
	"ulvs/lvs"
)

// kernelSync shares sessions with kernels that run IPVS: [ipvs_sync], and ipvsadm --start-daemon.
type kernelSync struct {
	d       *director
	conf    atomic.Pointer[config.IPVSSync]
	workers int
	wake    chan struct{}

	table   sync.Mutex // guards replica
	replica *dataplane.Replica

	// The daemons that run; nil: none. They change with the Node locked only.
	master atomic.Pointer[kernelMaster]
	backup atomic.Pointer[kernelBackup]
	// reader reads what workers write while a daemon runs: also without a master, since it is by writing that a
	// worker makes a kernel's session ours. Nil with [sync], which reads it. Guarded by the Node.
	reader *kernelsync.Reader

	role    sync.Mutex // one change of a role that follows an instance at a time
	leading atomic.Bool
	closing atomic.Bool
}

type kernelMaster struct {
	*kernelsync.Master
	daemon lvs.SyncDaemon
	since  time.Time
}

type kernelBackup struct {
	*kernelsync.Backup
	daemon lvs.SyncDaemon
	since  time.Time
	socket *os.File
	done   chan struct{}
}

var _ Daemons = (*kernelSync)(nil)

func newKernelSync(d *director, workers int) *kernelSync {
	k := &kernelSync{d: d, workers: workers, wake: make(chan struct{}, 1)}
	k.conf.Store(&d.opt.Config.IPVSSync)
	return k
}

// open makes the replica, the table's last but for peers'.
func (k *kernelSync) open() {
	k.replica = dataplane.NewReplica(dataplane.ReplicaOptions{
		Table: k.d.table, Handle: k.workers + 1, Snapshots: k.d.Snapshots(), Term: new(atomic.Uint32),
		Digest: conntrack.DigestKey{rand.Uint64(), rand.Uint64(), rand.Uint64(), rand.Uint64()},
	})
}

// start starts the daemons of the configuration.
func (k *kernelSync) start() error {
	k.role.Lock()
	defer k.role.Unlock()
	return k.startRoles()
}

// close ends the daemons.
func (k *kernelSync) close() error {
	if k == nil {
		return nil
	}
	k.closing.Store(true)
	k.role.Lock()
	defer k.role.Unlock()
	k.Stop(roleMaster)
	k.Stop(roleBackup)
	return nil
}

// MTU implements Daemons.
func (k *kernelSync) MTU(name string) (int, bool) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return 0, false
	}
	return link.MTU, true
}

// Start implements Daemons.
func (k *kernelSync) Start(d lvs.SyncDaemon) error {
	group, err := netip.ParseAddr(d.Group)
	if err != nil || !kernelsync.ValidGroup(group) {
		return fmt.Errorf("%.60q is no multicast group: %w", d.Group, syscall.EINVAL)
	}
	link := kernelsync.Link{Interface: d.Interface, Group: group, Port: uint16(d.Port), TTL: uint8(d.TTL)}
	begin := k.startBackup
	if d.Role == roleMaster {
		begin = k.startMaster
	}
	if err := begin(d, link); err != nil {
		return err
	}
	if k.d.replication == nil && k.reader == nil {
		k.reader = kernelsync.StartReader(k.makeLogs(), k.wake, k.told)
	}
	return nil
}

func (k *kernelSync) startMaster(d lvs.SyncDaemon, link kernelsync.Link) error {
	socket, err := link.Dial()
	if err != nil {
		return err
	}
	conf, version := k.conf.Load(), 1
	if conf.On() {
		version = conf.Version
	}
	k.master.Store(&kernelMaster{daemon: d, since: time.Now(), Master: kernelsync.StartMaster(kernelsync.MasterOptions{
		SyncID: uint8(d.SyncID), Version: uint8(version), MaxLen: d.MaxLen, Retries: conf.Retries,
		TemplatesOnly: conf.Persist, Table: replicaTable{k.replica, k.d.clock}, Mu: &k.table,
	}, socket)})
	return nil
}

// makeLogs makes what workers write to.
func (k *kernelSync) makeLogs() []*conntrack.Log {
	epoch := time.Now().UnixNano() - int64(k.d.clock())
	logs := make([]*conntrack.Log, k.workers)
	for i := range logs {
		logs[i] = conntrack.NewLog(conntrack.LogOptions{Epoch: epoch, Wake: k.wake})
	}
	return logs
}

func (k *kernelSync) startBackup(d lvs.SyncDaemon, link kernelsync.Link) error {
	socket, err := link.Listen()
	if err != nil {
		return err
	}
	b := &kernelBackup{daemon: d, since: time.Now(), socket: socket, done: make(chan struct{}),
		Backup: kernelsync.NewBackup(kernelsync.BackupOptions{
			SyncID: uint8(d.SyncID), MaxLen: d.MaxLen, Table: replicaTable{k.replica, k.d.clock}, Mu: &k.table,
		})}
	k.backup.Store(b)
	go func() {
		defer close(b.done)
		if err := b.Run(socket); err != nil {
			k.d.log.Error("nothing is taken from a kernel's sync daemon any more; stop and start the backup daemon", "err", err)
		}
	}()
	return nil
}

// Stop implements Daemons.
func (k *kernelSync) Stop(role string) {
	switch role {
	case roleMaster:
		if m := k.master.Swap(nil); m != nil {
			_ = m.Close() // of datagrams that are sent
		}
	case roleBackup:
		if b := k.backup.Swap(nil); b != nil {
			_ = b.socket.Close() // nothing is lost by it
			<-b.done
		}
	}
	if k.reader != nil && k.master.Load() == nil && k.backup.Load() == nil {
		k.reader.Close()
		k.reader = nil
	}
}

// Logs implements Daemons.
func (k *kernelSync) Logs() []*conntrack.Log {
	if k.reader == nil {
		return nil
	}
	return k.reader.Logs()
}

// told shows the master what workers wrote, where [sync] reads it.
func (k *kernelSync) told(records []conntrack.Record) {
	if m := k.master.Load(); m != nil {
		m.Take(records)
	}
}

// follow has the role follow an instance, as keepalived's lvs_sync_daemon does. It does not wait.
func (k *kernelSync) follow(instance string, master bool) {
	if k == nil {
		return
	}
	if conf := k.conf.Load(); conf.Role != config.IPVSFollow || conf.VRRP != instance {
		return
	}
	k.leading.Store(master)
	go k.settle()
}

// settle stops the daemon of the other role and starts that of the one wanted last.
func (k *kernelSync) settle() {
	k.role.Lock()
	defer k.role.Unlock()
	conf := k.conf.Load()
	if k.closing.Load() || conf.Role != config.IPVSFollow {
		return
	}
	to, from := config.IPVSBackup, config.IPVSMaster
	if k.leading.Load() {
		to, from = from, to
	}
	stop := k.d.Edit(&lvs.Edit{Op: lvs.EditStopSync, Sync: conf.Daemon(from)})
	start := k.d.Edit(&lvs.Edit{Op: lvs.EditStartSync, Sync: conf.Daemon(to)})
	if start != nil && !errors.Is(start, syscall.EEXIST) {
		k.d.log.Error("the sync daemon of the new role does not start", "role", to, "err", start, "stopped", stop)
	}
}

// view is the daemons as operators see them, the master first.
func (k *kernelSync) view() (list []control.IPVSDaemon) {
	if k == nil {
		return nil
	}
	if m := k.master.Load(); m != nil {
		list = append(list, daemonView(m.daemon, m.since, m.Stats()))
	}
	if b := k.backup.Load(); b != nil {
		list = append(list, daemonView(b.daemon, b.since, b.Stats()))
	}
	return list
}

func daemonView(d lvs.SyncDaemon, since time.Time, s *kernelsync.Stats) control.IPVSDaemon {
	v := control.IPVSDaemon{
		Role: d.Role, Interface: d.Interface, SyncID: d.SyncID, Group: d.Group, Port: d.Port,
		Seconds: time.Since(since).Seconds(), Messages: s.Messages.Load(), Conns: s.Conns.Load(), Bytes: s.Bytes.Load(),
		Failed: s.Failed.Load(), Unrepeated: s.Unrepeated.Load(), Records: map[string]uint64{}, Rejected: map[string]uint64{},
	}
	for a := range s.Applied {
		if n := s.Applied[a].Load(); n > 0 {
			v.Records[conntrack.Applied(a).String()] = n
		}
	}
	for r := range s.Rejected {
		if n := s.Rejected[r].Load(); n > 0 {
			v.Rejected[kernelsync.Reject(r).String()] = n
		}
	}
	return v
}
