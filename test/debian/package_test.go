//go:build debian

package debian

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ulvs/lvs"
	"ulvs/test/lab"
	"ulvs/test/lab/labtest"
)

func TestMain(m *testing.M) {
	lab.RunHelper()
	os.Exit(m.Run())
}

// The life of a package, in the order in which an operator has it.
func TestInstallConfigureUpgradePurge(t *testing.T) {
	l := labtest.Up(t, lab.Options{Prefix: "t-pkg"})
	labtest.Serve(t, l)
	m := boot(t, l)
	before, groups := m.files(), m.sh("cut -d: -f1 /etc/group /etc/passwd | sort")

	m.installs()
	m.configures(l)
	m.isConfined()
	serves(t, l)
	m.reloads()
	m.survivesAStandstill(l)
	m.upgrades(l)
	m.upgradesByCommand(l)
	m.keepsARealServer()
	m.purges()

	after := m.files()
	for _, f := range after {
		if !slices.Contains(before, f) {
			t.Errorf("purging leaves %s", f)
		}
	}
	for _, f := range before {
		if !slices.Contains(after, f) {
			t.Errorf("purging takes %s with it", f)
		}
	}
	if now := m.sh("cut -d: -f1 /etc/group /etc/passwd | sort"); now != groups {
		t.Errorf("groups before:\n%s\nafter:\n%s", groups, now)
	}
}

// files lists the machine's files, but for what dpkg, apt and the journal write about themselves.
func (m *machine) files() []string {
	m.t.Helper()
	return strings.Split(m.sh(`find / /run/ulvs /etc -xdev \( -path /var/log -o -path /var/lib/dpkg -o -path /var/cache \
		-o -path /var/lib/apt -o -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /var/tmp \
		-o -path '/var/lib/systemd/*' -o -path '/etc/*-' \) -prune -o -print 2>/dev/null | sort -u; true`), "\n")
}

// installs as somebody does who has read nothing.
func (m *machine) installs() {
	m.t.Helper()
	out := m.sh("apt-get install -y /var/tmp/old.deb 2>&1")
	wants(m.t, "apt install", out, "not configured yet", "ulvs config example")
	wants(m.t, "systemctl", m.sh("systemctl is-enabled ulvs"), "enabled")
	m.sh("systemctl start ulvs") // no error: there is nothing wrong, and nothing to do
	if out, _ := m.try("systemctl is-active ulvs"); strings.TrimSpace(out) != "inactive" {
		m.t.Errorf("unconfigured, it is %s", out)
	}
	wants(m.t, "status", m.sh("systemctl status ulvs --no-pager || true"),
		"not configured: there is no /etc/ulvs/ulvs.toml")
	wants(m.t, "ipvsadm", m.sh("ipvsadm --version"), "ipvsadm")
	wants(m.t, "man", m.sh("man -w ulvs ulvs-run ulvs-realserver-setup"), "man8/ulvs-realserver-setup.8.gz")
	wants(m.t, "groups", m.sh("getent group ulvs ulvs-admin"), "ulvs:", "ulvs-admin:")
	m.sh("test -s /usr/share/bash-completion/completions/ulvs -a -s /usr/share/zsh/vendor-completions/_ulvs")
}

var socketLine = regexp.MustCompile(`(?m)^control_socket = .*\n`)

// configures for the lab, and starts.
func (m *machine) configures(l *lab.Lab) {
	m.t.Helper()
	text := socketLine.ReplaceAllString(l.Config(lab.ConfigOptions{}), "")
	m.write("etc/ulvs/ulvs.toml", strings.Replace(text, lab.KeepsNothing, "", 1))
	m.sh("ulvs check /etc/ulvs/ulvs.toml && systemctl start ulvs")
	wants(m.t, "status", m.sh("systemctl status ulvs --no-pager"), "active (running)", "forwarding")
	m.forwards()
}

// forwards awaits that every next hop is known.
func (m *machine) forwards() {
	m.t.Helper()
	await(m.t, "ulvs to forward", 30*time.Second, func() bool {
		out, err := m.try("ulvs status --json")
		return err == nil && strings.Contains(out, `"unresolved": 0`) && !strings.Contains(out, `"next_hops": 0`)
	})
}

// isConfined wants the privileges that the unit says, and no listening port.
func (m *machine) isConfined() {
	m.t.Helper()
	text := m.sh("cat /proc/$(systemctl show -P MainPID ulvs)/status")
	wants(m.t, "the process", text, "NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t000000c000007400")
	if ports := m.sh("ss -Hlntu"); ports != "" {
		m.t.Errorf("it listens, and nobody asked for that:\n%s", ports)
	}
}

func serves(t *testing.T, l *lab.Lab) {
	t.Helper()
	a := l.Addresses()
	for _, m := range []lvs.Method{lvs.MethodDR, lvs.MethodTUN, lvs.MethodNAT} {
		for _, v6 := range []bool{false, true} {
			labtest.Load(t, l, lab.LoadOptions{
				Kind: lab.KindHTTP, Target: netip.AddrPortFrom(a.VIP(m).Family(v6), lab.PortHTTP), Connections: 9,
			})
		}
	}
}

// reloads, well and badly.
func (m *machine) reloads() {
	m.t.Helper()
	m.sh("systemctl reload ulvs")
	m.sh("cp /etc/ulvs/ulvs.toml /var/tmp/good; echo 'nonsense = 1' >>/etc/ulvs/ulvs.toml")
	if out, err := m.try("systemctl reload ulvs"); err == nil {
		m.t.Errorf("a file with an error was reloaded: %s", out)
	}
	m.sh("mv /var/tmp/good /etc/ulvs/ulvs.toml; systemctl is-active ulvs; systemctl reload ulvs")
}

// session is a client that stays.
type session struct {
	t    *testing.T
	conn net.Conn
}

// stay opens sessions by every method.
func stay(t *testing.T, l *lab.Lab) (list []session) {
	t.Helper()
	a := l.Addresses()
	for i := range 12 {
		vip := a.VIP([]lvs.Method{lvs.MethodDR, lvs.MethodTUN, lvs.MethodNAT}[i%3]).Family(i%2 == 1)
		var conn net.Conn
		err := l.Do("c1", func() (err error) {
			conn, err = net.DialTimeout("tcp", netip.AddrPortFrom(vip, lab.PortEcho).String(), 10*time.Second)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		s := session{t, conn}
		s.echo("before") // the server's first word is its name
		list = append(list, s)
	}
	return list
}

// echo sends a word and wants it back.
func (s session) echo(word string) {
	s.t.Helper()
	_ = s.conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := fmt.Fprintln(s.conn, word); err != nil {
		s.t.Errorf("%v: %v", s.conn.RemoteAddr(), err)
		return
	}
	got := ""
	for b := make([]byte, 256); !strings.Contains(got, word+"\n"); {
		n, err := s.conn.Read(b)
		if err != nil {
			s.t.Errorf("%v %s: %v", s.conn.RemoteAddr(), word, err)
			return
		}
		got += string(b[:n])
	}
}

// goOn wants every session to go on.
func (m *machine) goOn(sessions []session, when string) {
	m.t.Helper()
	wants(m.t, "status", m.sh("ulvs status"), "sessions are kept by systemd", "recovered: ")
	for _, s := range sessions {
		s.echo(when)
	}
}

// survivesAStandstill stops the process without ending it: its workers do not move, so the watchdog bites.
func (m *machine) survivesAStandstill(l *lab.Lab) {
	m.t.Helper()
	sessions := stay(m.t, l)
	pid := m.sh("systemctl show -P MainPID ulvs")
	m.sh("kill -STOP " + pid)
	await(m.t, "the watchdog to restart it", time.Minute, func() bool {
		now, err := m.try("systemctl show -P MainPID ulvs")
		return err == nil && now != pid && strings.TrimSpace(now) != "0"
	})
	m.forwards()
	wants(m.t, "journal", m.sh("journalctl -u ulvs --no-pager"), "Watchdog timeout")
	m.goOn(sessions, "after the watchdog")
}

// upgrades under sessions.
func (m *machine) upgrades(l *lab.Lab) {
	m.t.Helper()
	sessions, before := stay(m.t, l), m.unit()
	old := m.sh("ulvs version; md5sum /etc/ulvs/ulvs.toml")
	wants(m.t, "apt install", m.sh("apt-get install -y /var/tmp/new.deb 2>&1"), "goes on for "+before["MainPID"])
	m.wentOn(before)
	m.forwards()
	if now := m.sh("ulvs version; md5sum /etc/ulvs/ulvs.toml"); now == old {
		m.t.Error("it was not upgraded")
	} else if strings.Fields(now)[len(strings.Fields(now))-2] != strings.Fields(old)[len(strings.Fields(old))-2] {
		m.t.Error("the upgrade changed the configuration")
	}
	m.goOn(sessions, "after the upgrade")
	serves(m.t, l)
}

// unit returns what systemd says of the service.
func (m *machine) unit() map[string]string {
	m.t.Helper()
	out := map[string]string{}
	for _, line := range strings.Fields(m.sh("systemctl show ulvs -p MainPID -p ActiveState -p NRestarts " +
		"-p NFileDescriptorStore -p WatchdogTimestampMonotonic")) {
		name, value, _ := strings.Cut(line, "=")
		out[name] = value
	}
	return out
}

// wentOn wants the service to be another process since before, for systemd too, and not to have been restarted.
func (m *machine) wentOn(before map[string]string) {
	m.t.Helper()
	now := m.unit()
	await(m.t, "systemd to know the new process and to keep its table only", 30*time.Second, func() bool {
		now = m.unit()
		return now["MainPID"] != before["MainPID"] && now["NFileDescriptorStore"] == "1"
	})
	if now["ActiveState"] != "active" || now["NRestarts"] != before["NRestarts"] {
		m.t.Errorf("before the upgrade %v, after it %v", before, now)
	}
	await(m.t, "the process before to be gone", 30*time.Second, func() bool {
		out, _ := m.try("pgrep -x ulvs")
		return strings.TrimSpace(out) == now["MainPID"]
	})
	fed := func() int {
		us, err := strconv.Atoi(m.unit()["WatchdogTimestampMonotonic"])
		if err != nil {
			m.t.Fatal(err)
		}
		return us
	}
	first := fed() // what the manager last heard may be the process before's
	await(m.t, "the new process to feed the watchdog", 30*time.Second, func() bool { return fed() > first })
}

// upgradesByCommand, and then has systemd do to the new process what it did to the one that it started.
func (m *machine) upgradesByCommand(l *lab.Lab) {
	m.t.Helper()
	sessions := stay(m.t, l)
	for range 2 {
		before := m.unit()
		m.sh("ulvs upgrade")
		m.wentOn(before)
		m.goOn(sessions, "after ulvs upgrade")
	}
	before := m.unit()
	m.sh("systemctl reload ulvs; kill -9 " + before["MainPID"])
	await(m.t, "systemd to start it again", 30*time.Second, func() bool {
		now := m.unit()
		return now["MainPID"] != before["MainPID"] && now["MainPID"] != "0" && now["ActiveState"] == "active"
	})
	m.forwards()
	m.goOn(sessions, "after kill -9 of an upgraded one")
	m.sh("ulvs upgrade")
	before = m.unit()
	m.sh("systemctl restart ulvs")
	if now := m.unit(); now["MainPID"] == before["MainPID"] || now["ActiveState"] != "active" {
		m.t.Errorf("before a restart %v, after it %v", before, now)
	}
	m.forwards()
	m.goOn(sessions, "after a restart of an upgraded one")
	m.sh("ulvs upgrade; systemctl stop ulvs")
	// On cgroup v1 in a container systemd 252 gives a process that is not its child no time to end: it kills.
	state := m.unit()["ActiveState"]
	killed := state == "failed" && !m.unified() && strings.Contains(m.sh("systemctl show -P Result ulvs"), "signal")
	if now := m.unit(); state != "inactive" && !killed || now["NFileDescriptorStore"] != "0" {
		m.t.Errorf("stopped, it is %v:\n%s", now, m.sh("journalctl -u ulvs --no-pager -n 60"))
	}
	if out, _ := m.try("pgrep -a ulvs"); out != "" {
		m.t.Errorf("stopped, and this still runs: %s", out)
	}
	if log := m.sh("journalctl -u ulvs --no-pager"); strings.Contains(log, "only permitted for main PID") {
		m.t.Errorf("systemd heeded some of it not:\n%s", log)
	}
	m.sh("systemctl start ulvs")
	m.forwards()
}

// unified reports whether the machine has cgroup v2.
func (m *machine) unified() bool {
	out, err := m.try("stat -fc %T /sys/fs/cgroup")
	return err == nil && strings.Contains(out, "cgroup2")
}

// keepsARealServer has the unit put back what a restart of the network takes, with the little that the unit may do.
func (m *machine) keepsARealServer() {
	m.t.Helper()
	m.sh("ulvs realserver setup --method dr --vip 192.0.2.77 --vip 2001:db8:77::77 --persist")
	m.sh("systemctl is-enabled ulvs-realserver && systemctl is-active ulvs-realserver")
	m.sh("ip addr flush dev lo; ip link set lo down; ip link set lo up; sysctl -qw net.ipv4.conf.all.arp_ignore=0")
	await(m.t, "the VIPs to be back", 30*time.Second, func() bool {
		_, err := m.try("ulvs realserver check")
		return err == nil
	})
	m.sh("systemctl is-active ulvs-realserver")
	wants(m.t, "journal", m.sh("journalctl -u ulvs-realserver --no-pager"), "put in place", "192.0.2.77/32 on lo")
}

// purges while it runs.
func (m *machine) purges() {
	m.t.Helper()
	m.sh("apt-get purge -y ulvs 2>&1")
	if out, _ := m.try("pgrep -a ulvs"); out != "" {
		m.t.Errorf("still running: %s", out)
	}
	if out := m.sh("ip -d link; ip addr"); strings.Contains(out, "xdp") || strings.Contains(out, "192.0.2.77") {
		m.t.Errorf("purging leaves something in the kernel:\n%s", out)
	}
	if out, _ := m.try("systemctl list-unit-files 'ulvs*' --no-legend"); out != "" {
		m.t.Errorf("purging leaves units: %s", out)
	}
}
