package director

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"ulvs/config"
	"ulvs/lvs"
)

// reload takes the peers of a configuration; the other keys of [sync] are read at the start only.
func (r *replication) reload(file *config.Sync) (words []string) {
	if r == nil || r.node == nil || !file.On() {
		return nil
	}
	had, has := *r.peers.Load(), file.PeerAddrs()
	if slices.Equal(had, has) {
		return nil
	}
	r.peers.Store(&has)
	r.node.SetPeers(has)
	return []string{fmt.Sprintf("sync.peers: %v -> %v", had, has)}
}

// syncRefused names what of [sync] differs and is read at the start only.
func (d *director) syncRefused(file *config.Sync) []string {
	runs := config.Sync{}
	if d.replication != nil {
		runs = *d.replication.conf
	}
	switch {
	case runs.On() && !file.On():
		return []string{"sync: removed from the file, and runs on"}
	case !runs.On() && file.On():
		return []string{"sync: added to the file, and does not run yet"}
	}
	runs.Peers = file.Peers
	return keyChanges("sync", runs, *file)
}

// roles are the daemons that a configuration starts.
func ipvsRoles(c *config.IPVSSync) []config.IPVSRole {
	if !c.On() {
		return nil
	}
	return map[config.IPVSRole][]config.IPVSRole{
		config.IPVSMaster: {config.IPVSMaster}, config.IPVSBackup: {config.IPVSBackup},
		config.IPVSBoth: {config.IPVSMaster, config.IPVSBackup}, config.IPVSFollow: {config.IPVSBackup},
	}[c.Role]
}

// reload stops the daemons of the last configuration and starts those of this one. A daemon that does not start is
// among the words.
func (k *kernelSync) reload(file *config.IPVSSync) (words []string) {
	if k == nil {
		return nil
	}
	k.role.Lock()
	defer k.role.Unlock()
	runs := k.conf.Load()
	if words = keyChanges("ipvs_sync", *runs, *file); len(words) == 0 {
		return nil
	}
	stop := ipvsRoles(runs)
	if runs.Role == config.IPVSFollow && runs.On() {
		stop = []config.IPVSRole{config.IPVSMaster, config.IPVSBackup}
	}
	for _, role := range stop {
		err := k.d.Edit(&lvs.Edit{Op: lvs.EditStopSync, Sync: runs.Daemon(role)})
		if err != nil && !errors.Is(err, syscall.ESRCH) { // which ipvsadm stopped
			words = append(words, fmt.Sprintf("ipvs_sync: the %s does not stop: %v", role, err))
		}
	}
	k.conf.Store(file)
	if err := k.startRoles(); err != nil {
		words = append(words, err.Error())
	}
	return words
}

// startRoles starts the daemons of the configuration; of a role that follows an instance, that of its state.
func (k *kernelSync) startRoles() error {
	conf := k.conf.Load()
	roles := ipvsRoles(conf)
	if len(roles) > 0 && conf.Role == config.IPVSFollow && k.leading.Load() {
		roles = []config.IPVSRole{config.IPVSMaster}
	}
	for _, role := range roles {
		if err := k.d.Edit(&lvs.Edit{Op: lvs.EditStartSync, Sync: conf.Daemon(role)}); err != nil {
			return fmt.Errorf("ipvs_sync: the %s on %s does not start: %w", role, conf.Interface, err)
		}
	}
	return nil
}
