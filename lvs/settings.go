package lvs

import (
	"fmt"
	"slices"
	"strings"
)

// Settings are the sysctls net.ipv4.vs.* that change behaviour, by their kernel names.
// The zero value is not the default: see DefaultSettings.
type Settings struct {
	AMDropRate              int
	AMemThresh              int
	CacheBypass             int
	ConnReuseMode           int
	DropEntry               int
	DropPacket              int
	ExpireNodestConn        int
	ExpireQuiescentTemplate int
	KernelQuirks            int // ours: what the kernel loses is lost here, too; for comparing
	NATICMPSend             int
	PMTUDisc                int
	ScheduleICMP            int
	SecureTCP               int
	SloppySCTP              int
	SloppyTCP               int
}

// DefaultSettings are a kernel's.
func DefaultSettings() Settings {
	return Settings{AMDropRate: 10, AMemThresh: 1024, ConnReuseMode: 1, PMTUDisc: 1}
}

// fields are the settings by name, sorted.
func (s *Settings) fields() []setting {
	return []setting{
		{"am_droprate", &s.AMDropRate, 1 << 30}, {"amemthresh", &s.AMemThresh, 1 << 30},
		{"cache_bypass", &s.CacheBypass, 1}, {"conn_reuse_mode", &s.ConnReuseMode, 3},
		{"drop_entry", &s.DropEntry, 3}, {"drop_packet", &s.DropPacket, 3},
		{"expire_nodest_conn", &s.ExpireNodestConn, 1},
		{"expire_quiescent_template", &s.ExpireQuiescentTemplate, 1},
		{"kernel_quirks", &s.KernelQuirks, 1},
		{"nat_icmp_send", &s.NATICMPSend, 1}, {"pmtu_disc", &s.PMTUDisc, 1},
		{"schedule_icmp", &s.ScheduleICMP, 1}, {"secure_tcp", &s.SecureTCP, 3},
		{"sloppy_sctp", &s.SloppySCTP, 1}, {"sloppy_tcp", &s.SloppyTCP, 1},
	}
}

type setting struct {
	name string
	at   *int
	max  int
}

// SettingNames returns the names that Set knows, sorted.
func SettingNames() (names []string) {
	for _, f := range new(Settings).fields() {
		names = append(names, f.name)
	}
	return names
}

// Set changes the setting with that name. The error says what would be right.
func (s *Settings) Set(name string, value int) error {
	fields := s.fields()
	i := slices.IndexFunc(fields, func(f setting) bool { return f.name == name })
	if i < 0 {
		return fmt.Errorf("unknown setting %s; known: %s", name, strings.Join(SettingNames(), ", "))
	}
	if value < 0 || value > fields[i].max {
		return fmt.Errorf("%s = %d: want 0 to %d", name, value, fields[i].max)
	}
	*fields[i].at = value
	return nil
}

// Get returns the setting with that name.
func (s *Settings) Get(name string) (value int, ok bool) {
	for _, f := range s.fields() {
		if f.name == name {
			return *f.at, true
		}
	}
	return 0, false
}
