package realserver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// UnitName is the systemd unit that keeps a real server set up.
const UnitName = "ulvs-realserver.service"

// systemctlLimit bounds one call of systemctl.
const systemctlLimit = 30 * time.Second

// Keeper is where what outlives a reboot is kept. The zero value is this machine's.
type Keeper struct {
	Config    string // "": DefaultConfig
	UnitDir   string // where units are written; "": /etc/systemd/system
	Packaged  string // where the Debian package has its unit; "": /usr/lib/systemd/system
	Systemd   string // exists when systemd runs; "": /run/systemd/system
	Systemctl string // "": systemctl
}

func (k Keeper) withDefaults() Keeper {
	for field, def := range map[*string]string{
		&k.Config: DefaultConfig, &k.UnitDir: "/etc/systemd/system", &k.Packaged: "/usr/lib/systemd/system",
		&k.Systemd: "/run/systemd/system", &k.Systemctl: "systemctl",
	} {
		if *field == "" {
			*field = def
		}
	}
	return k
}

// ErrNoSystemd is what Keep returns where systemd does not run: the file is written, and nobody reads it.
var ErrNoSystemd = errors.New("systemd does not run here: have your init run it: ulvs realserver watch")

// Configs returns what was kept.
func (k Keeper) Configs() (list []Config, err error) {
	err = readJSON(k.withDefaults().Config, &list)
	return list, err
}

// Keep adds c to what outlives a reboot, and has systemd start the unit that sees to it. binary is the path
// of ulvs for a unit of our own; a packaged unit is used as it is.
func (k Keeper) Keep(ctx context.Context, c Config, binary string) error {
	k = k.withDefaults()
	list, err := k.Configs()
	if err != nil {
		return err
	}
	if err := writeJSON(k.Config, mergeInto(list, c)); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(k.Packaged, UnitName)); err != nil {
		path := filepath.Join(k.UnitDir, UnitName)
		if err := os.MkdirAll(k.UnitDir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(Unit(binary, k.Config)), 0o644); err != nil {
			return err
		}
	}
	if _, err := os.Stat(k.Systemd); err != nil {
		return ErrNoSystemd
	}
	return k.systemctl(ctx, []string{"daemon-reload"}, []string{"enable", UnitName}, []string{"restart", UnitName})
}

// Forget takes VIPs, a method or everything (as Host.Remove) out of what outlives a reboot. With nothing left
// the unit is stopped, and removed if Keep wrote it. It reports whether there was anything.
func (k Keeper) Forget(ctx context.Context, method string, vips []netip.Addr) (had bool, err error) {
	k = k.withDefaults()
	list, err := k.Configs()
	if err != nil || len(list) == 0 {
		return false, err
	}
	_, noSystemd := os.Stat(k.Systemd)
	if rest := without(list, method, vips); len(rest) > 0 {
		if err := writeJSON(k.Config, rest); err != nil || noSystemd != nil {
			return true, err
		}
		return true, k.systemctl(ctx, []string{"restart", UnitName})
	}
	var errs []error
	if noSystemd == nil {
		errs = append(errs, k.systemctl(ctx, []string{"disable", "--now", UnitName}))
	}
	for _, path := range []string{filepath.Join(k.UnitDir, UnitName), k.Config} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if noSystemd == nil {
		errs = append(errs, k.systemctl(ctx, []string{"daemon-reload"}))
	}
	return true, errors.Join(errs...)
}

func (k Keeper) systemctl(ctx context.Context, calls ...[]string) error {
	ctx, cancel := context.WithTimeout(ctx, systemctlLimit)
	defer cancel()
	for _, args := range calls {
		if out, err := exec.CommandContext(ctx, k.Systemctl, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w: %s", k.Systemctl, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// Unit is the unit's text: a small process that puts back what a restart of the network takes. Stopping it
// takes nothing away; that is ulvs realserver remove. packaging's is the same.
func Unit(binary, config string) string { return fmt.Sprintf(unitText, config, binary, config) }

const unitText = `[Unit]
Description=ulvs real server: keeps VIPs, ARP settings, routes and tunnels in place
Documentation=man:ulvs-realserver(8)
After=network.target
ConditionPathExists=%s

[Service]
ExecStart=%s realserver watch --config %s
Restart=always
RestartSec=2
RuntimeDirectory=ulvs
RuntimeDirectoryPreserve=yes
NoNewPrivileges=yes
CapabilityBoundingSet=CAP_NET_ADMIN CAP_BPF CAP_PERFMON
RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateMounts=yes
PrivateDevices=yes
ProtectKernelModules=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectProc=invisible
SystemCallArchitectures=native
SystemCallFilter=@system-service bpf
SystemCallErrorNumber=EPERM
UMask=0022

[Install]
WantedBy=multi-user.target
`
