package measure

import (
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Noise is what else the machine did during a run. Figures of a run with much of it say little.
type Noise struct {
	LoadBefore float64 `json:"load_before"` // load average of a minute
	LoadAfter  float64 `json:"load_after"`
	Seconds    float64 `json:"seconds"`
	OwnCores   float64 `json:"own_cores"`   // CPU seconds of this process and its children per second
	OtherCores float64 `json:"other_cores"` // of everything else, the kernel's interrupts included
	Stolen     float64 `json:"stolen"`      // cores that the hypervisor gave to others
}

// userHz is the unit of /proc/stat.
const userHz = 100

// CPU is the machine's CPU time since boot, in seconds.
type CPU struct {
	Busy    float64 // everything but idle, waiting and stolen
	SoftIRQ float64 // of it, in soft interrupts
	Stolen  float64
}

// MachineCPU reads the machine's CPU time.
func MachineCPU() CPU { return parseStat(read("/proc/stat")) }

// parseStat reads the first line of /proc/stat: user nice system idle iowait irq softirq steal ...
func parseStat(text string) (c CPU) {
	line, _, _ := strings.Cut(text, "\n")
	words := strings.Fields(line)
	if len(words) < 9 || words[0] != "cpu" {
		return c
	}
	at := func(i int) float64 {
		n, _ := strconv.ParseFloat(words[i], 64)
		return n / userHz
	}
	return CPU{Busy: at(1) + at(2) + at(3) + at(6) + at(7), SoftIRQ: at(7), Stolen: at(8)}
}

// Sub returns c - o.
func (c CPU) Sub(o CPU) CPU { return CPU{c.Busy - o.Busy, c.SoftIRQ - o.SoftIRQ, c.Stolen - o.Stolen} }

// watch begins to look at the noise; the function that it returns tells what there was.
func watch() func() Noise {
	begin, cpu, own, load := time.Now(), MachineCPU(), ownCPU(), loadAverage()
	return func() Noise {
		took := time.Since(begin).Seconds()
		used, mine := MachineCPU().Sub(cpu), ownCPU()-own
		if took == 0 {
			return Noise{}
		}
		return Noise{
			LoadBefore: load, LoadAfter: loadAverage(), Seconds: took, OwnCores: mine / took,
			OtherCores: max(used.Busy-mine, 0) / took, Stolen: used.Stolen / took,
		}
	}
}

func ownCPU() float64 { return usage(unix.RUSAGE_SELF) + usage(unix.RUSAGE_CHILDREN) }

// usage returns the seconds that this process, or its children that ended, have computed for.
func usage(who int) float64 {
	var u unix.Rusage
	_ = unix.Getrusage(who, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func loadAverage() float64 {
	word, _, _ := strings.Cut(read("/proc/loadavg"), " ")
	load, _ := strconv.ParseFloat(word, 64)
	return load
}
