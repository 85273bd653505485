// Package machine lays out recorded machines as folders, with /proc and /sys as far as packages tuning and doctor
// read them, and plays the parts of the kernel that a folder cannot: drivers, systemd, choices in brackets.
//
// It owns the recordings (testdata, one txtar file each; "a -> b" is a symbolic link) and what drivers answer in them
// (ethtool/NAME.json). A driver here refuses what a real one does: more queues than it has, fewer than RSS uses.
package machine

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"ulvs/tuning"
)

//go:embed testdata/*.txtar
var recordings embed.FS

// Machine is a recorded machine, laid out in a folder.
type Machine struct {
	Root string
	tb   testing.TB
}

// Names returns the recordings.
func Names(tb testing.TB) (names []string) {
	tb.Helper()
	entries, err := recordings.ReadDir("testdata")
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".txtar"))
	}
	return names
}

// Open lays out a recording in a folder of the test.
func Open(tb testing.TB, name string) *Machine {
	tb.Helper()
	text, err := recordings.ReadFile("testdata/" + name + ".txtar")
	if err != nil {
		tb.Fatal(err)
	}
	m := &Machine{Root: filepath.Join(folder(tb), name), tb: tb}
	for _, f := range txtar.Parse(text).Files {
		if link, target, found := strings.Cut(f.Name, " -> "); found {
			m.must(os.MkdirAll(filepath.Dir(m.path(link)), 0o755))
			m.must(os.Symlink(target, m.path(link)))
			continue
		}
		m.Write(f.Name, string(f.Data))
	}
	return m
}

// folder returns one that goes with the test, in memory if there is such a place: a machine has a thousand files.
func folder(tb testing.TB) string {
	path, err := os.MkdirTemp("/dev/shm", "ulvs-machine-")
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() { _ = os.RemoveAll(path) })
	return path
}

func (m *Machine) must(err error) {
	m.tb.Helper()
	if err != nil {
		m.tb.Fatal(err)
	}
}

func (m *Machine) path(name string) string { return m.Root + "/" + strings.TrimPrefix(name, "/") }

// Write makes or changes a file of the machine.
func (m *Machine) Write(name, text string) {
	m.tb.Helper()
	m.must(os.MkdirAll(filepath.Dir(m.path(name)), 0o755))
	m.must(os.WriteFile(m.path(name), []byte(text), 0o644))
}

// Remove removes a file, or a folder with all that is in it.
func (m *Machine) Remove(name string) {
	m.tb.Helper()
	m.must(os.RemoveAll(m.path(name)))
}

// Read reads the machine as package tuning does.
func (m *Machine) Read() *tuning.Machine { return tuning.Read(m.Root, m.Tool()) }

// Tool returns the machine's drivers.
func (m *Machine) Tool() tuning.Tool { return drivers{m.Root} }

// Host returns the machine as something to change.
func (m *Machine) Host() tuning.Host {
	return choices{&tuning.System{Root: m.Root, Tool: m.Tool(), Run: m.systemctl}}
}

// Files returns every file's text and every link's target.
func (m *Machine) Files() map[string]string {
	m.tb.Helper()
	files := map[string]string{}
	m.must(filepath.WalkDir(m.Root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(m.Root, path)
		switch {
		case e.IsDir():
			files[name] = "folder"
		case e.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			files[name] = "-> " + target
			return err
		default:
			text, err := os.ReadFile(path)
			files[name] = string(text)
			return err
		}
		return nil
	}))
	return files
}

// choices shows a word that was chosen in brackets among the others, as the kernel does.
type choices struct{ *tuning.System }

// Set sets one setting.
func (c choices) Set(s tuning.Setting, value string) error {
	if s.Kind != tuning.KindChoice {
		return c.System.Set(s, value)
	}
	text, err := os.ReadFile(c.Root + s.Name)
	if err != nil {
		return err
	}
	all := strings.NewReplacer("[", "", "]", "").Replace(string(text))
	if !strings.Contains(all, value) {
		return fs.ErrInvalid
	}
	return os.WriteFile(c.Root+s.Name, []byte(strings.Replace(all, value, "["+value+"]", 1)), 0o644)
}

// systemctl starts and stops irqbalance: units/NAME is its state, and its process comes and goes.
func (m *Machine) systemctl(_ string, args ...string) (string, error) {
	verb, unit := args[0], args[len(args)-1]
	state := m.path("units/" + unit)
	text, err := os.ReadFile(state)
	if verb == "daemon-reload" {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("systemctl: no unit %s", unit)
	}
	now := strings.TrimSpace(string(text))
	switch {
	case verb == "is-active":
		return now, nil
	case verb == "start" && now == "inactive":
		return "", errors.Join(m.rename("parked/", "proc/"), os.WriteFile(state, []byte("active\n"), 0o644))
	case verb == "try-restart" && now == "active":
		return "", m.restart(unit)
	case verb == "stop" && now == "active":
		return "", errors.Join(m.rename("proc/", "parked/"), os.WriteFile(state, []byte("inactive\n"), 0o644))
	}
	return "", nil
}

// restart starts irqbalance as its drop-in says, or, without one, as before.
func (m *Machine) restart(unit string) error {
	lines, err := filepath.Glob(m.path("proc/*/comm"))
	if err != nil || len(lines) == 0 {
		return err
	}
	command, first := filepath.Dir(lines[0])+"/cmdline", m.path("units/cmdline")
	dropIn, err := os.ReadFile(m.path("run/systemd/system/" + unit + ".d/ulvs.conf"))
	if err != nil {
		return os.Rename(first, command)
	}
	if err := os.Rename(command, first); err != nil {
		return err
	}
	_, exec, _ := strings.Cut(string(dropIn), "ExecStart=/")
	return os.WriteFile(command, []byte(strings.ReplaceAll("/"+strings.TrimSpace(exec), " ", "\x00")), 0o644)
}

// rename moves the folder of irqbalance's process.
func (m *Machine) rename(from, to string) error {
	comms, err := filepath.Glob(m.path(from + "*/comm"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(m.path(to), 0o755); err != nil {
		return err
	}
	for _, comm := range comms {
		folder := filepath.Dir(comm)
		if err := os.Rename(folder, m.path(to+filepath.Base(folder))); err != nil {
			return err
		}
	}
	if from == "parked/" {
		return os.Remove(m.path("parked"))
	}
	return nil
}

// drivers is a Tool that keeps what drivers answer in ethtool/NAME.json.
type drivers struct{ root string }

func (d drivers) file(nic string) string { return d.root + "/ethtool/" + nic + ".json" }

// Settings reads the answers; a NIC without a file knows nothing.
func (d drivers) Settings(nic string) (s tuning.NICSettings, err error) {
	text, err := os.ReadFile(d.file(nic))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	} else if err == nil {
		err = json.Unmarshal(text, &s)
	}
	return s, err
}

// change edits the answers. A file that says the same as before keeps its bytes.
func (d drivers) change(nic string, edit func(s *tuning.NICSettings) error) error {
	s, err := d.Settings(nic)
	if err != nil {
		return err
	}
	if err := edit(&s); err != nil {
		return err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(d.file(nic), append(text, '\n'), 0o644)
}
