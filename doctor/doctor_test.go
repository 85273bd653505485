package doctor_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"ulvs/config"
	"ulvs/control"
	"ulvs/doctor"
	"ulvs/test/machine"
)

// tuned is a recorded machine that is in order, with its director running: two ports of ixgbe, eight queues each,
// interrupts on their workers' cores.
func tuned(t *testing.T) (*machine.Machine, *control.Status) {
	t.Helper()
	m := machine.Open(t, "ixgbe-2")
	m.Remove("proc/812") // irqbalance
	m.Write("sys/class/net/ens2f0/statistics/rx_missed_errors", "0\n")
	st := &control.Status{StartedAt: now.Add(-time.Hour), UptimeSeconds: 3600}
	for i := range 16 {
		cpu := 8 + i%8 + i/8*16
		st.Workers = append(st.Workers, control.WorkerStatus{ID: i, Queue: i, CPU: cpu})
		for _, first := range []int{64, 104} {
			for _, name := range []string{"smp_affinity_list", "effective_affinity_list"} {
				m.Write(fmt.Sprintf("proc/irq/%d/%s", first+i, name), fmt.Sprintln(cpu))
			}
		}
	}
	for _, name := range []string{"ens2f0", "ens2f1"} {
		st.Ports = append(st.Ports, control.PortStatus{Name: name, CopyMode: "zerocopy", RXFrames: 1e9, TXFrames: 1e9})
	}
	return m, st
}

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

const ixgbeConfig = `[node]
interfaces = ["ens2f0", "ens2f1"]
[[service]]
vip = "192.0.2.10:80"
scheduler = "rr"
method = "dr"
  [[service.real_server]]
  address = "192.0.2.16:80"
[[vrrp]]
name = "VI_1"
interface = "ens2f0"
virtual_router_id = 51
vips = ["192.0.2.10"]
[sync]
interface = "ens2f1"
insecure = true
peers = ["10.9.0.2"]
`

func patient(t *testing.T, m *machine.Machine, f doctor.Facts) *doctor.Patient {
	t.Helper()
	c, err := config.Parse("ulvs.toml", []byte(ixgbeConfig), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &doctor.Patient{Machine: m.Read(), Config: c, Facts: f, Now: func() time.Time { return now }}
}

// examined returns code and subject of what is found.
func examined(p *doctor.Patient) (found []string) {
	for _, f := range doctor.Examine(context.Background(), p, nil).Findings {
		found = append(found, f.Code+" "+f.Subject)
	}
	return found
}

// fault spoils a machine, or what its director says.
type fault struct {
	name  string
	plant func(m *machine.Machine, f *doctor.Facts)
	want  []string
}

// faults of the machine and its director.
func faults() []fault {
	return []fault{
		{"nothing", func(*machine.Machine, *doctor.Facts) {}, nil},
		{"an old kernel", func(m *machine.Machine, _ *doctor.Facts) {
			m.Write("proc/sys/kernel/osrelease", "4.19.0-27-amd64\n")
		}, []string{"UD101 host"}},
		{"other numbers of queues", func(m *machine.Machine, _ *doctor.Facts) {
			json := strings.Replace(m.Files()["ethtool/ens2f1.json"], `"combined":16`, `"combined":4`, 1)
			m.Write("ethtool/ens2f1.json", json)
		}, []string{"UD102 ens2f1"}},
		{"two workers on a core", func(_ *machine.Machine, f *doctor.Facts) { f.Status.Workers[3].CPU = 8 },
			[]string{"UD102 worker 3", "UD104 ens2f0", "UD104 ens2f1"}},
		{"a worker that is not pinned", func(_ *machine.Machine, f *doctor.Facts) { f.Status.Workers[3].CPU = -1 },
			[]string{"UD102 worker 3"}},
		{"the NICs on the other socket", func(m *machine.Machine, _ *doctor.Facts) {
			m.Write("sys/devices/pci0000:00/0000:82:00.0/numa_node", "0\n")
		}, []string{"UD102 ens2f0"}},
		{"irqbalance", func(m *machine.Machine, _ *doctor.Facts) {
			m.Write("proc/77/comm", "irqbalance\n")
			m.Write("proc/77/cmdline", "/usr/sbin/irqbalance\x00")
		}, []string{"UD103 host"}},
		{"an interrupt elsewhere", func(m *machine.Machine, _ *doctor.Facts) {
			m.Write("proc/irq/67/effective_affinity_list", "1\n")
		}, []string{"UD104 ens2f0"}},
		{"frames missed by the NIC", func(m *machine.Machine, _ *doctor.Facts) {
			m.Write("sys/class/net/ens2f0/statistics/rx_missed_errors", "48213\n")
			m.Write("sys/class/net/ens2f0/statistics/rx_packets", "99000000\n")
		}, []string{"UD105 ens2f0"}},
		{"hardly any frames missed", func(m *machine.Machine, _ *doctor.Facts) {
			m.Write("sys/class/net/ens2f0/statistics/rx_missed_errors", "3\n")
			m.Write("sys/class/net/ens2f0/statistics/rx_packets", "99000000\n")
		}, nil},
		{"full rings", func(_ *machine.Machine, f *doctor.Facts) { f.Status.Ports[1].RXRingFull = 5000 },
			[]string{"UD106 ens2f1"}},
		{"a clock set back", func(_ *machine.Machine, f *doctor.Facts) { f.Status.StartedAt = now.Add(time.Hour) },
			[]string{"UD108 host"}},
		{"copies", func(_ *machine.Machine, f *doctor.Facts) { f.Status.Ports[0].CopyMode = "copy" },
			[]string{"UD110 ens2f0"}},
		{"sessions behind", func(_ *machine.Machine, f *doctor.Facts) { f.Sync.Peers[0].State = "behind" },
			[]string{"UD305 lvs2"}},
		{"a director missing", func(_ *machine.Machine, f *doctor.Facts) { f.Sync.Missing = []string{"10.9.0.3"} },
			[]string{"UD306 10.9.0.3"}},
		{"what checks found", func(_ *machine.Machine, f *doctor.Facts) { f.Health[0].RealServers = down() },
			[]string{"UD203 192.0.2.16", "UD205 192.0.2.17", "UD206 192.0.2.18", "UD208 192.0.2.19:80"}},
	}
}

func TestFaultsOfTheMachineAreFoundAndNothingElse(t *testing.T) {
	for _, c := range faults() {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			m, st := tuned(t)
			peer := control.SyncPeer{Name: "lvs2", State: "in sync"}
			f := doctor.Facts{Status: st, Sync: &control.Sync{Ready: true, Peers: []control.SyncPeer{peer}},
				Health: []control.ServiceHealth{{Service: "tcp 192.0.2.10:80"}}}
			c.plant(m, &f)
			if got := examined(patient(t, m, f)); !slices.Equal(got, c.want) {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

func TestWithoutADirectorTheMachineIsJudgedByItsPlan(t *testing.T) {
	m := machine.Open(t, "ixgbe-2")
	got := examined(patient(t, m, doctor.Facts{}))
	want := []string{"UD103 host", "UD104 ens2f0", "UD104 ens2f1", "UD105 ens2f0"}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

func TestEveryCodeIsDocumentedAndExplained(t *testing.T) {
	text, err := os.ReadFile("../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	inDocs := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| UD") {
			inDocs++
		}
	}
	if inDocs != len(doctor.Codes) {
		t.Errorf("docs/doctor.md has %d codes, there are %d", inDocs, len(doctor.Codes))
	}
	last := ""
	for _, c := range doctor.Codes {
		if row := fmt.Sprintf("| %s | %s | %s |", c.Code, c.Severity, c.Title); !strings.Contains(string(text), row) {
			t.Errorf("docs/doctor.md lacks %q", row)
		}
		if c.Code <= last || c.Title == "" || c.Remedy == "" {
			t.Errorf("%s after %s, title %q, remedy %q", c.Code, last, c.Title, c.Remedy)
		}
		last = c.Code
	}
}

func TestAPacketFilterIsJudgedByWhatHasToPass(t *testing.T) {
	chain := `{"chain":{"family":"inet","table":"filter","name":"input","hook":"input","policy":"%s"}}`
	rule := `,{"rule":{"family":"inet","table":"filter","chain":"input","expr":[%s]}}`
	match := `{"match":{"op":"==","left":{"payload":{"protocol":"%s","field":"%s"}},"right":%s}}`
	vrrp, sync := fmt.Sprintf(match, "ip", "protocol", "112"), fmt.Sprintf(match, "udp", "dport", "8849")
	lo := `{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"lo"}},{"accept":null}`
	for _, c := range []struct {
		name, policy string
		rules        []string
		want         []string
	}{
		{"open", "accept", nil, nil},
		{"closed", "drop", []string{lo}, []string{"VRRP adverts (protocol 112)", "session sync (port 8849)"}},
		{"one is let in", "drop", []string{vrrp + `,{"accept":null}`}, []string{"session sync (port 8849)"}},
		{"both are let in", "drop", []string{vrrp + `,{"accept":null}`, sync + `,{"accept":null}`}, nil},
		{"one is dropped", "accept", []string{vrrp + `,{"drop":null}`}, []string{"VRRP adverts (protocol 112)"}},
		{"let in before all is dropped", "accept",
			[]string{vrrp + `,{"accept":null}`, sync + `,{"accept":null}`, `{"counter":null},{"drop":null}`}, nil},
		{"others are dropped", "accept", []string{fmt.Sprintf(match, "tcp", "dport", "23") + `,{"drop":null}`}, nil},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			text := `{"nftables":[` + fmt.Sprintf(chain, c.policy)
			for _, r := range c.rules {
				text += fmt.Sprintf(rule, r)
			}
			m, st := tuned(t)
			p := patient(t, m, doctor.Facts{Status: st})
			p.Rules = func(context.Context) ([]byte, error) { return []byte(text + "]}"), nil }
			var want []string
			for _, w := range c.want {
				want = append(want, "UD109 "+w)
			}
			if got := examined(p); !slices.Equal(got, want) {
				t.Errorf("found %q, want %q", got, want)
			}
		})
	}
}
