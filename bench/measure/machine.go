package measure

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is what figures depend on besides ulvs.
type Machine struct {
	CPU         string `json:"cpu"`
	Cores       int    `json:"cores"` // that this process may use
	Virtual     bool   `json:"virtual"`
	Kernel      string `json:"kernel"`
	Go          string `json:"go"`
	Arch        string `json:"arch"`
	Governor    string `json:"governor"` // "" where the machine does not say
	HugePages   int    `json:"huge_pages"`
	Transparent string `json:"transparent_huge_pages"`
	MemoryMiB   int    `json:"memory_mib"`
}

// ThisMachine looks at the machine. What it cannot learn stays zero.
func ThisMachine() Machine {
	info := read("/proc/cpuinfo")
	return Machine{
		CPU: field(info, "model name"), Cores: runtime.NumCPU(),
		Virtual: strings.Contains(field(info, "flags"), "hypervisor"),
		Kernel:  read("/proc/sys/kernel/osrelease"), Go: runtime.Version(), Arch: runtime.GOARCH,
		Governor:    read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
		HugePages:   number(read("/proc/sys/vm/nr_hugepages")),
		Transparent: chosen(read("/sys/kernel/mm/transparent_hugepage/enabled")),
		MemoryMiB:   number(field(read("/proc/meminfo"), "MemTotal")) / 1024,
	}
}

// String is one line for people.
func (m *Machine) String() string {
	words := []string{m.CPU, fmt.Sprintf("%d cores", m.Cores), "Linux " + m.Kernel, m.Go}
	if m.Virtual {
		words = append(words, "virtual")
	}
	if m.Governor != "" {
		words = append(words, "governor "+m.Governor)
	}
	words = append(words, fmt.Sprintf("huge pages %d, transparent %s", m.HugePages, m.Transparent))
	return strings.Join(words, ", ")
}

// Driver returns the driver of an interface, "" if it says none (a veth).
func Driver(name string) string {
	path, err := filepath.EvalSymlinks("/sys/class/net/" + name + "/device/driver")
	if err != nil {
		return ""
	}
	return filepath.Base(path)
}

func read(path string) string {
	text, _ := os.ReadFile(path)
	return strings.TrimSpace(string(text))
}

// field finds "name : value" in a file of such lines, the first of them.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		key, value, found := strings.Cut(line, ":")
		if found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func number(text string) int {
	word, _, _ := strings.Cut(text, " ")
	n, _ := strconv.Atoi(word)
	return n
}

// chosen returns the word in brackets.
func chosen(text string) string {
	_, rest, _ := strings.Cut(text, "[")
	word, _, _ := strings.Cut(rest, "]")
	return word
}

// cpuClock returns the seconds that the thread, or the process, has computed for. getrusage's are as coarse as the
// scheduler's tick.
func cpuClock(clock int32) float64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(clock, &ts)
	return float64(ts.Nano()) / 1e9
}
