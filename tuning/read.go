package tuning

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
)

// reader reads below a root folder and remembers what it could not.
type reader struct {
	root   string // "" is this machine
	tool   Tool
	nic    string // that is being read
	unread []Unread
}

// Read reads the machine whose /proc and /sys are below root (empty: this one). It never fails: what
// could not be read is named in the result.
func Read(root string, tool Tool) *Machine {
	r := &reader{root: strings.TrimSuffix(root, "/"), tool: tool}
	m := &Machine{
		Kernel: r.need("/proc/sys/kernel/osrelease"),
		BootID: r.text(bootIDFile),
		CPUs:   r.cpus(), HugePages: r.hugePages(), Sysctls: map[string]string{},
		Balancer: r.balancer(), Memlock: r.memlock(), Systemd: r.has("/run/systemd/system"),
		THP:         chosen(r.text("/sys/kernel/mm/transparent_hugepage/enabled")),
		ClockSource: r.text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
	}
	m.NICs = r.nics()
	for _, name := range []string{sysctlBacklog, "net.ipv4.conf.all.rp_filter"} {
		r.sysctl(m, name)
	}
	for i := range m.NICs {
		r.sysctl(m, rpFilter(m.NICs[i].Name))
	}
	m.Unread = append([]Unread{}, r.unread...)
	return m
}

const bootIDFile = "/proc/sys/kernel/random/boot_id"

// path returns where a file is. It is not cleaned: what follows a symbolic link is the kernel's to resolve.
func (r *reader) path(name string) string { return r.root + name }

func (r *reader) has(name string) bool {
	_, err := os.Stat(r.path(name))
	return err == nil
}

// maxFile bounds what is read of one file: /proc/interrupts of 1000 cores and 10000 interrupts has 100 MB.
const maxFile = 128 << 20

// read returns a file's text, trimmed.
func (r *reader) read(name string) (string, error) {
	info, err := os.Stat(r.path(name))
	if err != nil {
		return "", err
	}
	if info.Size() > maxFile {
		return "", fmt.Errorf("%s has %d bytes", name, info.Size())
	}
	text, err := os.ReadFile(r.path(name))
	return strings.TrimSpace(string(text)), err
}

// text returns the text of a file that need not be there.
func (r *reader) text(name string) string {
	text, err := r.read(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !quiet(err) {
		r.cannot(name, err)
	}
	return text
}

// need returns the text of a file without which there is no plan.
func (r *reader) need(name string) string {
	text, err := r.read(name)
	if err != nil {
		r.cannot(name, err)
	}
	return text
}

// cannot notes what is unread.
func (r *reader) cannot(name string, err error) {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err // names the file again
	}
	note := Unread{r.nic, fmt.Sprintf("%s: %v", name, err)}
	if !slices.Contains(r.unread, note) {
		r.unread = append(r.unread, note)
	}
}

// number returns a file's number, def if it is not there.
func (r *reader) number(name string, def int) int {
	text := r.text(name)
	if text == "" {
		return def
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		r.cannot(name, fmt.Errorf("%.40q is no number", text))
		return def
	}
	return n
}

// list returns the CPUs that a file lists; ok is false if it is not there or no list.
func (r *reader) list(name string) (cpus []int, ok bool) {
	text, err := r.read(name)
	if err != nil {
		return nil, false
	}
	if cpus, err = parseCPUList(text); err != nil {
		r.cannot(name, err)
		return nil, false
	}
	return cpus, true
}

// names returns what is in a folder, in the order of the numbers in their names.
func (r *reader) names(folder string) []string {
	entries, err := os.ReadDir(r.path(folder))
	if err != nil {
		return nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	slices.SortStableFunc(names, byNumber)
	return names
}

// byNumber orders eth2 before eth10.
func byNumber(a, b string) int {
	stemA, numberA := splitNumber(a)
	stemB, numberB := splitNumber(b)
	if c := strings.Compare(stemA, stemB); c != 0 {
		return c
	}
	return numberA - numberB
}

func splitNumber(name string) (string, int) {
	stem := strings.TrimRight(name, "0123456789")
	n, err := strconv.Atoi(name[len(stem):])
	if err != nil {
		return name, 0
	}
	return stem, n
}

func (r *reader) cpus() (cpus []CPU) {
	online, ok := r.list("/sys/devices/system/cpu/online")
	if !ok || len(online) == 0 {
		r.cannot("/sys/devices/system/cpu/online", errors.New("no list of CPUs"))
		return nil
	}
	isolated, _ := r.list("/sys/devices/system/cpu/isolated")
	nodes := r.nodes()
	for _, id := range online {
		folder := fmt.Sprintf("/sys/devices/system/cpu/cpu%d", id)
		siblings, ok := r.list(folder + "/topology/thread_siblings_list")
		if !ok || !slices.Contains(siblings, id) {
			siblings = []int{id}
		}
		cpus = append(cpus, CPU{
			ID: id, Node: nodes[id], Siblings: siblings, Isolated: slices.Contains(isolated, id),
			Governor: r.text(folder + "/cpufreq/scaling_governor"),
			WakeUS:   r.deepest(folder + "/cpuidle"), WakeLimit: r.text(cpuWakeLimit(id)),
		})
	}
	return cpus
}

// deepest returns the longest exit latency of a core's sleep states, in microseconds.
func (r *reader) deepest(folder string) (us int) {
	for _, state := range r.names(folder) {
		us = max(us, r.number(folder+"/"+state+"/latency", 0))
	}
	return us
}

// nodes returns the NUMA node of each CPU; 0 without NUMA.
func (r *reader) nodes() map[int]int {
	of := map[int]int{}
	online, _ := r.list("/sys/devices/system/node/online")
	for _, node := range online {
		cpus, _ := r.list(fmt.Sprintf("/sys/devices/system/node/node%d/cpulist", node))
		for _, cpu := range cpus {
			of[cpu] = node
		}
	}
	return of
}

func (r *reader) hugePages() (pages []HugePages) {
	online, _ := r.list("/sys/devices/system/node/online")
	for _, node := range online {
		folder := fmt.Sprintf("/sys/devices/system/node/node%d/hugepages/hugepages-2048kB", node)
		if r.has(folder + "/nr_hugepages") {
			pages = append(pages, HugePages{
				Node: node, Total: r.number(folder+"/nr_hugepages", 0), Free: r.number(folder+"/free_hugepages", 0),
				Path: folder + "/nr_hugepages",
			})
		}
	}
	return pages
}

// chosen returns the word in brackets: "always [madvise] never".
func chosen(text string) string {
	_, rest, _ := strings.Cut(text, "[")
	word, _, _ := strings.Cut(rest, "]")
	return word
}

func (r *reader) balancer() Balancer {
	for _, name := range r.names("/proc") {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if comm, err := r.read("/proc/" + name + "/comm"); err == nil && comm == "irqbalance" {
			command, _ := r.read("/proc/" + name + "/cmdline") // the process may have ended
			command = strings.ReplaceAll(strings.TrimRight(command, "\x00"), "\x00", " ")
			return Balancer{Running: true, PID: pid, Command: command}
		}
	}
	return Balancer{}
}

// memlock reads how much memory this process may lock: the soft limit.
func (r *reader) memlock() string {
	for line := range strings.Lines(r.text("/proc/self/limits")) {
		if rest, found := strings.CutPrefix(line, "Max locked memory"); found {
			if fields := strings.Fields(rest); len(fields) > 0 {
				return fields[0]
			}
		}
	}
	return ""
}

const sysctlBacklog = "net.core.netdev_max_backlog"

func rpFilter(nic string) string { return "net.ipv4.conf." + nic + ".rp_filter" }

// sysctlPath returns the file of a sysctl. Names of interfaces have dots, so only those around are separators.
func sysctlPath(name string) string {
	if rest, found := strings.CutPrefix(name, "net.ipv4.conf."); found {
		i := strings.LastIndexByte(rest, '.')
		return "/proc/sys/net/ipv4/conf/" + rest[:i] + "/" + rest[i+1:]
	}
	return "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
}

func (r *reader) sysctl(m *Machine, name string) {
	if text, err := r.read(sysctlPath(name)); err == nil {
		m.Sysctls[name] = text
	}
}
