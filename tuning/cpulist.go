package tuning

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxCPU bounds what a list may name: the kernel's NR_CPUS is at most 8192.
const maxCPU = 8191

// parseCPUList reads the kernel's list format: "0-3,8,10-11". Empty is no CPU.
func parseCPUList(text string) ([]int, error) {
	var cpus []int
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(part, "-")
		first, err := cpuNumber(low)
		if err != nil {
			return nil, err
		}
		last := first
		if isRange {
			if last, err = cpuNumber(high); err != nil {
				return nil, err
			}
		}
		if last < first {
			return nil, fmt.Errorf("%.40q is no range of CPUs", part)
		}
		for cpu := first; cpu <= last; cpu++ {
			cpus = append(cpus, cpu)
		}
	}
	slices.Sort(cpus)
	return slices.Compact(cpus), nil
}

func cpuNumber(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxCPU {
		return 0, fmt.Errorf("%.40q is no CPU number", text)
	}
	return n, nil
}

// formatCPUList writes the kernel's list format, ranges joined.
func formatCPUList(cpus []int) string {
	var parts []string
	for i := 0; i < len(cpus); {
		k := i
		for k+1 < len(cpus) && cpus[k+1] == cpus[k]+1 {
			k++
		}
		if k > i {
			parts = append(parts, fmt.Sprintf("%d-%d", cpus[i], cpus[k]))
		} else {
			parts = append(parts, strconv.Itoa(cpus[i]))
		}
		i = k + 1
	}
	return strings.Join(parts, ",")
}

// parseCPUMask reads the kernel's mask format: words of 32 bits in hexadecimal, the highest first.
func parseCPUMask(text string) ([]int, error) {
	words := strings.Split(strings.TrimSpace(text), ",")
	if len(words) > (maxCPU+1)/32 {
		return nil, fmt.Errorf("a mask of %d words is too long", len(words))
	}
	var cpus []int
	for i, word := range words {
		bits, err := strconv.ParseUint(word, 16, 32)
		if err != nil {
			return nil, fmt.Errorf("%.40q is no mask of CPUs", text)
		}
		base := (len(words) - 1 - i) * 32
		for bit := range 32 {
			if bits&(1<<bit) != 0 {
				cpus = append(cpus, base+bit)
			}
		}
	}
	slices.Sort(cpus)
	return cpus, nil
}

// formatCPUMask writes the kernel's mask format, as wide as like, a mask that the kernel printed.
func formatCPUMask(cpus []int, like string) string {
	words := strings.Split(strings.TrimSpace(like), ",")
	count := len(words)
	for _, cpu := range cpus {
		count = max(count, cpu/32+1)
	}
	bits := make([]uint32, count)
	for _, cpu := range cpus {
		bits[count-1-cpu/32] |= 1 << (cpu % 32)
	}
	out := make([]string, count)
	for i, b := range bits {
		width := 8
		if i == 0 && count == len(words) {
			width = len(words[0])
		}
		out[i] = fmt.Sprintf("%0*x", width, b)
	}
	return strings.Join(out, ",")
}
