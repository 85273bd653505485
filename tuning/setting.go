package tuning

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Kind is how a setting is read and written.
type Kind string

// The kinds.
const (
	KindFile     Kind = "file"     // a file below the root: its text
	KindChoice   Kind = "choice"   // a file that lists words, the chosen one in brackets
	KindIRQ      Kind = "irq"      // the CPUs of an interrupt
	KindChannels Kind = "channels" // combined=4 rx=0 tx=0
	KindRings    Kind = "rings"    // rx=512 tx=512
	KindFeature  Kind = "feature"  // on, off
	KindTable    Kind = "rss"      // the queue of each bucket: 0,1,2,3
	KindUnit     Kind = "unit"     // of systemd: active, inactive
	KindDropIn   Kind = "drop-in"  // a file that the unit reads; empty: not there
)

// Setting names one thing that can be changed.
type Setting struct {
	Kind Kind   `json:"kind"`
	NIC  string `json:"nic,omitempty"`
	// Name is a path (file, choice, drop-in), an interrupt ("41 eth0-TxRx-3"), a feature or a unit.
	Name string `json:"name,omitempty"`
}

// String names the setting for people.
func (s Setting) String() string {
	return strings.Join(strings.Fields(fmt.Sprintf("%s %s %s", s.Kind, s.NIC, s.Name)), " ")
}

// Host is the machine as something to change. Values are text, whole and exact: what Get returned, Set restores.
type Host interface {
	// Get returns what is set now. The error is fs.ErrNotExist if there is no such thing (any more).
	Get(s Setting) (string, error)
	Set(s Setting, value string) error
}

// System is a Host: the files below Root (empty: this machine), the drivers through Tool, and systemd.
type System struct {
	Root string
	Tool Tool
	// Run runs a command to its end. Nil: as a process.
	Run func(name string, args ...string) (string, error)
}

// Get reads one setting.
func (h *System) Get(s Setting) (string, error) {
	switch s.Kind {
	case KindFile:
		return h.read(s.Name)
	case KindChoice:
		text, err := h.read(s.Name)
		return chosen(text), err
	case KindDropIn:
		text, err := h.read(s.Name)
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
		return text, err
	case KindIRQ:
		path, err := h.irqPath(s.Name)
		if err != nil {
			return "", err
		}
		return h.read(path)
	case KindUnit:
		out, _ := h.run("systemctl", "is-active", s.Name) // its exit code says the same
		return activeWord(strings.TrimSpace(out) == "active"), nil
	}
	return h.getNIC(s)
}

func activeWord(on bool) string {
	if on {
		return "active"
	}
	return "inactive"
}

func onWord(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func (h *System) getNIC(s Setting) (string, error) {
	if _, err := os.Stat(h.Root + netClass + s.NIC); err != nil {
		return "", fmt.Errorf("interface %s: %w", s.NIC, fs.ErrNotExist)
	}
	all, err := h.Tool.Settings(s.NIC)
	feature, has := all.Features[s.Name]
	switch {
	case err != nil:
		return "", err
	case s.Kind == KindChannels && all.Channels != nil:
		return all.Channels.String(), nil
	case s.Kind == KindRings && all.Rings != nil:
		return all.Rings.String(), nil
	case s.Kind == KindFeature && has:
		return onWord(feature.On), nil
	case s.Kind == KindTable && all.Table != nil:
		return tableText(all.Table), nil
	}
	return "", fmt.Errorf("%s: the driver does not know it: %w", s, errors.ErrUnsupported)
}

// Set changes one setting.
func (h *System) Set(s Setting, value string) (err error) {
	switch s.Kind {
	case KindFile, KindChoice:
		err = h.write(s.Name, value)
	case KindIRQ:
		var path string
		if path, err = h.irqPath(s.Name); err == nil {
			err = h.write(path, value)
		}
	case KindUnit:
		_, err = h.run("systemctl", map[bool]string{true: "start", false: "stop"}[value == "active"], s.Name)
	case KindDropIn:
		err = h.setDropIn(s.Name, value)
	default:
		err = h.setNIC(s, value)
	}
	if err != nil {
		return fmt.Errorf("set %s to %.60q: %w", s, value, err)
	}
	return nil
}

func (h *System) setNIC(s Setting, value string) error {
	switch s.Kind {
	case KindChannels:
		var c Channels
		if _, err := fmt.Sscanf(value, channelsForm, &c.Combined, &c.RX, &c.TX); err != nil {
			return err
		}
		return h.Tool.SetChannels(s.NIC, c)
	case KindRings:
		var r Rings
		if _, err := fmt.Sscanf(value, ringsForm, &r.RX, &r.TX); err != nil {
			return err
		}
		return h.Tool.SetRings(s.NIC, r)
	case KindFeature:
		return h.Tool.SetFeature(s.NIC, s.Name, value == onWord(true))
	case KindTable:
		table, err := parseTable(value)
		if err != nil {
			return err
		}
		return h.Tool.SetTable(s.NIC, table)
	}
	return fmt.Errorf("%w kind of setting", errors.ErrUnsupported)
}

// setDropIn has the unit that the file belongs to, /run/systemd/system/UNIT.d/NAME, run with it.
func (h *System) setDropIn(name, value string) error {
	folder := filepath.Dir(name)
	if value == "" {
		if err := os.Remove(h.Root + name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		_ = os.Remove(h.Root + folder) // fails if others use it, too
	} else {
		if err := os.MkdirAll(h.Root+folder, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(h.Root+name, []byte(value), 0o644); err != nil {
			return err
		}
	}
	if _, err := h.run("systemctl", "daemon-reload"); err != nil {
		return err
	}
	_, err := h.run("systemctl", "try-restart", strings.TrimSuffix(filepath.Base(folder), ".d"))
	return err
}

func (h *System) run(name string, args ...string) (string, error) {
	if h.Run != nil {
		return h.Run(name, args...)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %.200s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), err
}

func (h *System) read(name string) (string, error) {
	text, err := os.ReadFile(h.Root + name)
	return string(text), err
}

// write changes a file that is there, in one write, as /proc and /sys want it.
func (h *System) write(name, value string) error {
	f, err := os.OpenFile(h.Root+name, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// irqPath returns the file of an interrupt. A driver that makes its queues anew gets other numbers for the same names.
func (h *System) irqPath(name string) (string, error) {
	number, queue, _ := strings.Cut(name, " ")
	if _, err := os.Stat(h.Root + "/proc/irq/" + number + "/" + queue); err == nil {
		return "/proc/irq/" + number + affinityFile, nil
	}
	r := reader{root: strings.TrimSuffix(h.Root, "/")}
	other, count := 0, 0
	for _, line := range r.interrupts() {
		switch {
		case line.name != queue:
		case strconv.Itoa(line.number) == number:
			return "/proc/irq/" + number + affinityFile, nil
		default:
			other, count = line.number, count+1
		}
	}
	if count != 1 {
		return "", fmt.Errorf("interrupt %s: %w", name, fs.ErrNotExist)
	}
	return fmt.Sprintf("/proc/irq/%d%s", other, affinityFile), nil
}

const affinityFile = "/smp_affinity_list"

const (
	channelsForm = "combined=%d rx=%d tx=%d"
	ringsForm    = "rx=%d tx=%d"
)

// String returns the counts.
func (c *Channels) String() string { return fmt.Sprintf(channelsForm, c.Combined, c.RX, c.TX) }

// String returns the lengths in frames.
func (r *Rings) String() string { return fmt.Sprintf(ringsForm, r.RX, r.TX) }

func tableText(table []uint32) string {
	parts := make([]string, len(table))
	for i, queue := range table {
		parts[i] = strconv.FormatUint(uint64(queue), 10)
	}
	return strings.Join(parts, ",")
}

func parseTable(text string) (table []uint32, err error) {
	for part := range strings.SplitSeq(text, ",") {
		queue, err := strconv.ParseUint(part, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%.40q is no table of queues", text)
		}
		table = append(table, uint32(queue))
	}
	return table, nil
}
