package tuning_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ulvs/test/machine"
	"ulvs/tuning"
)

var update = flag.Bool("update", false, "write the golden files anew")

// wishes are what is planned for each recorded machine.
var wishes = map[string]tuning.Wish{
	"virtio-1":  {Interfaces: []string{"eth0"}},
	"virtio-8":  {Interfaces: []string{"eth0.100"}},
	"ixgbe-2":   {Interfaces: []string{"ens2f0", "ens2f1"}},
	"mlx5-48":   {Interfaces: []string{"ens1np0"}},
	"bond-i40e": {Interfaces: []string{"bond0.100", "bond0.200"}, ReserveCores: 1, KeepBalancer: true},
	"aarch64":   {Interfaces: []string{"enp125s0f0"}, Workers: 4},
}

func TestEveryRecordedMachineHasItsPlan(t *testing.T) {
	for _, name := range machine.Names(t) {
		t.Run(name, func(t *testing.T) {
			wish, known := wishes[name]
			if !known {
				t.Fatalf("no wish for the recording %s", name)
			}
			m := machine.Open(t, name)
			before := m.Files()
			plan, err := tuning.MakePlan(m.Read(), wish)
			if err != nil {
				t.Fatal(err)
			}
			sameFiles(t, before, m.Files())
			golden(t, name, plan)
		})
	}
}

// golden compares a plan with testdata/NAME.json: an item a line.
func golden(t *testing.T, name string, plan *tuning.Plan) {
	t.Helper()
	var b strings.Builder
	for _, part := range []any{plan.Workers, plan.Ports, plan.Notes} {
		line(t, &b, part)
	}
	for _, item := range plan.Items {
		if len(item.Value) > 60 {
			item.Value = item.Value[:60] + "..."
		}
		line(t, &b, item)
	}
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, []byte(b.String()), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(b.String(), "\n")
	for i, w := range strings.Split(string(want), "\n") {
		if i >= len(got) || got[i] != w {
			t.Fatalf("%s:%d: got %s, want %s", path, i+1, append(got, "nothing")[min(i, len(got))], w)
		}
	}
}

func line(t *testing.T, b *strings.Builder, v any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	b.Write(append(text, '\n'))
}

func sameFiles(t *testing.T, want, got map[string]string) {
	t.Helper()
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s is %.200q, was %.200q", name, got[name], text)
		}
	}
	for name := range got {
		if _, was := want[name]; !was {
			t.Errorf("%s is new", name)
		}
	}
}

func TestAMachineThatIsNotUnderstoodHasNoPlan(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(m *machine.Machine)
		want  string
	}{
		{"no interrupts", func(m *machine.Machine) { m.Remove("proc/interrupts") }, "/proc/interrupts: no such file"},
		{"no CPUs", func(m *machine.Machine) { m.Remove("sys/devices/system/cpu/online") }, "no list of CPUs"},
		{"CPUs that are no list", func(m *machine.Machine) { m.Write("sys/devices/system/cpu/online", "all\n") },
			`"all" is no CPU number`},
		{"an unknown driver's interrupts", func(m *machine.Machine) {
			m.Write("proc/interrupts", strings.ReplaceAll(m.Files()["proc/interrupts"], "TxRx", "Spiel"))
		}, "driver i40e, 8 queues, 9 interrupts: no name tells a receive queue"},
		{"an affinity that is missing", func(m *machine.Machine) { m.Remove("proc/irq/81/smp_affinity_list") },
			"/proc/irq/81/smp_affinity_list: no list of CPUs"},
		{"a mask that is none", func(m *machine.Machine) {
			m.Write("sys/class/net/eno1/queues/rx-0/rps_cpus", "xyz\n")
		}, `"xyz" is no mask`},
		{"a driver that fails", func(m *machine.Machine) { m.Write("ethtool/eno2.json", "{") }, "ethtool eno2"},
		{"a bond without members", func(m *machine.Machine) {
			m.Write("sys/class/net/bond0/bonding/slaves", "\n")
		}, "no members"},
		{"no such interface", func(m *machine.Machine) { m.Remove("sys/class/net/bond0.100") },
			`no interface "bond0.100" on this machine; it has bond0, bond0.200, eno1, eno2`},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			m := machine.Open(t, "bond-i40e")
			c.spoil(m)
			before := m.Files()
			store := tuning.FileStore{Path: filepath.Join(t.TempDir(), "tuning.json")}
			tuner := tuning.Tuner{Host: m.Host(), Store: store, Read: m.Read}
			plan, err := tuner.Apply(wishes["bond-i40e"])
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v, want an error with %q", plan, err, c.want)
			}
			sameFiles(t, before, m.Files())
		})
	}
}

func TestWhatIsUnreadOfOthersDoesNotMatter(t *testing.T) {
	m := machine.Open(t, "ixgbe-2")
	m.Write("ethtool/ens2f1.json", "{")
	if _, err := tuning.MakePlan(m.Read(), tuning.Wish{Interfaces: []string{"ens2f0"}}); err != nil {
		t.Error(err)
	}
}

func TestWorkersAreWhereTheConfigurationWantsThem(t *testing.T) {
	m := machine.Open(t, "ixgbe-2").Read()
	plan, err := tuning.MakePlan(m, tuning.Wish{Interfaces: []string{"ens2f0"}, CPUs: []int{9, 25, 12}})
	if err != nil {
		t.Fatal(err)
	}
	want := []tuning.Worker{{0, 9, 9, 0}, {1, 25, 25, 1}, {2, 12, 28, 2}} // 9 and 25 are one core
	if !slices.Equal(plan.Workers, want) {
		t.Errorf("got %v, want %v", plan.Workers, want)
	}
	if _, err := tuning.MakePlan(m, tuning.Wish{Interfaces: []string{"ens2f0"}, CPUs: []int{99}}); err == nil {
		t.Error("CPU 99 is not refused")
	}
}

func TestACoreSleepsNoDeeperThanItWakesInTime(t *testing.T) {
	for _, c := range []struct {
		limit  string // pm_qos_resume_latency_us
		us     int    // of the deepest sleep state
		wanted string // empty: no item
	}{
		{"0", 133, "20"}, {"100", 133, "20"}, {"5", 133, "5"}, {"n/a", 133, "n/a"}, {"20", 133, "20"},
		{"0", 10, ""}, {"0", 0, ""}, {"", 133, ""},
	} {
		m := machine.Open(t, "ixgbe-2").Read()
		for i := range m.CPUs {
			m.CPUs[i].WakeLimit, m.CPUs[i].WakeUS = c.limit, c.us
		}
		plan, err := tuning.MakePlan(m, wishes["ixgbe-2"])
		if err != nil {
			t.Fatal(err)
		}
		items := slices.DeleteFunc(plan.Items, func(i tuning.Item) bool { return i.What != "wake-up, us" })
		switch {
		case c.wanted == "" && len(items) > 0:
			t.Errorf("%+v: %+v is planned", c, items[0])
		case c.wanted != "" && (len(items) == 0 || items[0].Wanted != c.wanted ||
			(items[0].State == tuning.StateChange) != (c.limit != c.wanted)):
			t.Errorf("%+v: planned is %+v", c, items)
		}
	}
}
