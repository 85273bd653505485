package tuning

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestNamesOfInterruptsTellTheirQueue(t *testing.T) {
	for _, c := range []struct {
		name   string
		queue  int
		rx, tx bool
	}{
		{"virtio0-input.3", 3, true, false},
		{"virtio12-output.0", 0, false, true},
		{"virtio0-config", -1, false, false},
		{"virtio0-virtqueues", -1, false, false},
		{"ens2f0-TxRx-11", 11, true, true},
		{"i40e-eno1-TxRx-2", 2, true, true},
		{"ice-ens1f0-TxRx-7", 7, true, true},
		{"eth0-Tx-Rx-5", 5, true, true},
		{"eth0-rxtx-1", 1, true, true},
		{"eth0-rx-0", 0, true, false},
		{"eth0-tx-0", 0, false, true},
		{"eth0-fp-4", 4, true, true},
		{"hns3-0000:7d:00.0-TxRx-9", 9, true, true},
		{"mlx5_comp40@pci:0000:21:00.0", 40, true, true},
		{"mlx5_async0@pci:0000:21:00.0", -1, false, false},
		{"i40e-0000:18:00.0:misc", -1, false, false},
		{"eth0", -1, false, false},
		{"eth0-rx-99999999999999999999", -1, false, false},
	} {
		if queue, rx, tx := queueOf(c.name); queue != c.queue || rx != c.rx || tx != c.tx {
			t.Errorf("%s is queue %d rx %v tx %v, want %d %v %v", c.name, queue, rx, tx, c.queue, c.rx, c.tx)
		}
	}
}

func TestMasksAreWrittenAsTheKernelWritesThem(t *testing.T) {
	for _, c := range []struct {
		cpus []int
		like string
		want string
	}{
		{[]int{0}, "3", "1"},
		{nil, "ff", "00"},
		{[]int{1, 9}, "0000", "0202"},
		{[]int{40}, "ffff,ffffffff", "0100,00000000"},
		{[]int{0, 31, 32}, "000000,00000000", "000001,80000001"},
		{[]int{33}, "0", "00000002,00000000"},
	} {
		if got := formatCPUMask(c.cpus, c.like); got != c.want {
			t.Errorf("%v like %s is %s, want %s", c.cpus, c.like, got, c.want)
		}
	}
}

func TestReleasesAreComparedByNumber(t *testing.T) {
	for _, c := range []struct {
		kernel, want string
		is           bool
	}{
		{"6.1.0-21-amd64", "5.10", true},
		{"5.4.0-42-generic", "5.10", false},
		{"5.10", "5.10", true},
		{"4.19.1", "4.20", false},
		{"6.18.44-fc", "6.9", true},
		{"", "5.10", false},
		{"x", "0.0", true},
	} {
		if got := AtLeast(c.kernel, c.want); got != c.is {
			t.Errorf("%s at least %s: %v", c.kernel, c.want, got)
		}
	}
}

func TestDriversAreSortedAndHaveASource(t *testing.T) {
	sorted := slices.IsSortedFunc(Drivers, func(a, b Driver) int { return strings.Compare(a.Name, b.Name) })
	if !sorted {
		t.Error("Drivers are not sorted by name")
	}
	for _, d := range Drivers {
		if d.Source == "" || d.Checked == "" || d.ZeroCopy != "" && !d.Native {
			t.Errorf("%+v: no source, or zero-copy without native XDP", d)
		}
	}
}

func TestDriversAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/tuning.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range Drivers {
		since, native := cmp.Or(d.ZeroCopy, "-"), map[bool]string{true: "yes", false: "no"}[d.Native]
		row := fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n", d.Name, since, native, d.Note, d.Source, d.Checked)
		if !strings.Contains(string(text), row) {
			t.Errorf("docs/tuning.md lacks %q", row)
		}
	}
}

func FuzzLists(f *testing.F) {
	for _, seed := range []string{"0-3,8", "", "ffff,00000001", "3-1", "0,0", "8191", "8192", "-", ",", "0-8191,0-8191"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if cpus, err := parseCPUList(text); err == nil {
			again, err := parseCPUList(formatCPUList(cpus))
			if err != nil || !slices.Equal(again, cpus) {
				t.Errorf("list %q: %v comes back as %v, %v", text, cpus, again, err)
			}
		}
		if cpus, err := parseCPUMask(text); err == nil {
			again, err := parseCPUMask(formatCPUMask(cpus, text))
			if err != nil || !slices.Equal(again, cpus) {
				t.Errorf("mask %q: %v comes back as %v, %v", text, cpus, again, err)
			}
		}
		if table, err := parseTable(text); err == nil {
			again, err := parseTable(tableText(table))
			if err != nil || !slices.Equal(again, table) {
				t.Errorf("table %q: %v comes back as %v, %v", text, table, again, err)
			}
		}
	})
}

func FuzzInterruptLines(f *testing.F) {
	f.Add(" 38:      0  11218 PCI-MSIX-0000:00:03.0   1-edge      virtio2-input.0", 2)
	f.Add("NMI:          0          0   Non-maskable interrupts", 2)
	f.Add("24: 1", 1)
	f.Add("-1: 1 2 x", 0)
	f.Fuzz(func(t *testing.T, text string, cpus int) {
		if cpus < 0 || cpus > maxCPU {
			return
		}
		line, ok := parseInterrupt(text, cpus)
		if ok && (line.number < 0 || line.name == "") {
			t.Errorf("%q is %+v", text, line)
		}
		if queue, rx, tx := queueOf(line.name); (queue >= 0) != (rx || tx) {
			t.Errorf("%q: queue %d, rx %v, tx %v", line.name, queue, rx, tx)
		}
	})
}

func FuzzJournals(f *testing.F) {
	f.Add([]byte(`{"version":1,"boot_id":"a","complete":true,"entries":[{"kind":"file","name":"/x","before":"1"}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, text []byte) {
		j, err := parseJournal("j", text)
		if (err == nil) != (j != nil) || j != nil && j.Version != journalVersion {
			t.Errorf("%q: %+v, %v", text, j, err)
		}
	})
}
