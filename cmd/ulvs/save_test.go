package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ulvs/config"
	"ulvs/control"
	"ulvs/lvs"
)

// filed is a director with a configuration file and no traffic.
type filed struct {
	site
	path            string
	running, loaded config.State
}

func (f *filed) Edit(e *lvs.Edit) error {
	next, err := e.ApplyTo(f.running.Services)
	if err == nil {
		f.running.Services = next
	}
	return err
}

func (f *filed) Listing() control.Listing                  { return control.Listing{} }
func (f *filed) ListedConns(func(control.ListedConn) bool) {}
func (f *filed) SetSetting(name string, value int) error   { return f.running.Settings.Set(name, value) }
func (f *filed) Running() control.Running {
	return control.Running{ConfigPath: f.path, Running: f.running, Loaded: f.loaded}
}
func (f *filed) load() (*config.Config, error) { return loader(f.path, nil)() }

func (f *filed) Saved() error {
	c, err := f.load()
	if err == nil {
		f.loaded = c.State()
	}
	return err
}

func (f *filed) Reload() (out control.Reloaded, err error) {
	c, err := f.load()
	if err != nil {
		return out, err
	}
	out.Changes = config.Words(config.Diff(f.running, c.State()))
	out.DiscardedEdits = config.Lost(f.loaded, f.running, c.State())
	out.NeedsRestart = []string{"node.workers: 0 -> 2"}
	f.running, f.loaded = c.State(), c.State()
	return out, nil
}

const savedFile = `# mine
[node]
interfaces = ["lo"]

# The shop.
[[service]]
vip = "192.0.2.10:80" # the VIP

  [[service.real_server]]
  address = "10.0.0.1"
`

// newFiled returns a director that runs savedFile, and the options to reach it.
func newFiled(t *testing.T) (f *filed, run func(args ...string) (int, string, string)) {
	t.Helper()
	f = &filed{path: write(t, savedFile)}
	c, err := f.load()
	if err != nil {
		t.Fatal(err)
	}
	f.running, f.loaded = c.State(), c.State()
	socket := serve(t, f)
	return f, func(args ...string) (int, string, string) {
		code, out, errOut := command(t, append(args, "--socket", socket)...)
		clean := strings.NewReplacer(f.path, "FILE", filepath.Dir(f.path), "DIR")
		return code, clean.Replace(out), clean.Replace(errOut)
	}
}

func (f *filed) setWeight(t *testing.T, weight int32) {
	t.Helper()
	key := f.running.Services[0].Key
	d := f.running.Services[0].Destinations[0]
	d.Weight = weight
	if err := f.Edit(&lvs.Edit{Op: lvs.EditSetDest, Key: key, Dest: d}); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestSaveKeepsTheFileButForWhatDiffers(t *testing.T) {
	f, run := newFiled(t)
	if err := os.Chmod(f.path, 0o640); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := run("save")
	if code != exitOK || out != "FILE says what runs.\n" || read(t, f.path) != savedFile {
		t.Errorf("nothing to save: exit %d, %q %q", code, out, errOut)
	}
	f.setWeight(t, 4)
	code, out, errOut = run("save")
	want := "service tcp 192.0.2.10:80: real server 10.0.0.1:80: weight 1 -> 4\nFILE: 1 change written.\n"
	if code != exitOK || out != want {
		t.Errorf("exit %d, got %q %q, want %q", code, out, errOut, want)
	}
	if got := read(t, f.path); got != savedFile+"  weight = 4\n" {
		t.Errorf("the file is\n%s", got)
	}
	info, err := os.Stat(f.path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if !f.loaded.Equal(f.running) {
		t.Error("the director was not told")
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(f.path), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestSaveToAnotherFileBeginsWithACopy(t *testing.T) {
	f, run := newFiled(t)
	f.setWeight(t, 4)
	other := filepath.Join(t.TempDir(), "other.toml")
	if code, _, errOut := run("save", other); code != exitOK {
		t.Fatal(errOut)
	}
	if read(t, other) != savedFile+"  weight = 4\n" || read(t, f.path) != savedFile {
		t.Errorf("got\n%s\nand\n%s", read(t, other), read(t, f.path))
	}
	if f.loaded.Equal(f.running) {
		t.Error("the director's own file was not written, but it was told so")
	}
}

func TestSaveWritesWhatALinkPointsTo(t *testing.T) {
	f, run := newFiled(t)
	f.setWeight(t, 4)
	target := f.path
	f.path = filepath.Join(t.TempDir(), "link.toml")
	if err := os.Symlink(target, f.path); err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := run("save"); code != exitOK {
		t.Fatal(errOut)
	}
	if link, err := os.Readlink(f.path); err != nil || link != target || read(t, target) == savedFile {
		t.Errorf("link to %q, %v", link, err)
	}
}

func TestSaveDoesNotUndoWhatWasNotLoaded(t *testing.T) {
	f, run := newFiled(t)
	f.setWeight(t, 4)
	edited := strings.Replace(savedFile, "192.0.2.10:80", "192.0.2.99:80", 1)
	if err := os.WriteFile(f.path, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	want := "ulvs: save: FILE was edited and not loaded:\nservice tcp 192.0.2.99:80: added, 1 real servers\n" +
		"service tcp 192.0.2.10:80: removed\nulvs reload loads it and undoes edits made by hand; " +
		"ulvs save --force undoes this\n"
	if code, _, errOut := run("save"); code != exitFailed || errOut != want || read(t, f.path) != edited {
		t.Errorf("exit %d\n got %s\nwant %s", code, errOut, want)
	}
	if code, _, errOut := run("save", "--force"); code != exitOK || strings.Contains(read(t, f.path), "192.0.2.99") {
		t.Errorf("exit %d, %s\n%s", code, errOut, read(t, f.path))
	}
}

func TestSaveOfABrokenFileSaysWhatToRepair(t *testing.T) {
	f, run := newFiled(t)
	if err := os.WriteFile(f.path, []byte("[node]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, errOut := run("save")
	if code != exitFailed || !strings.HasPrefix(errOut, "ulvs: save: the file has to be repaired first: FILE:1: ") {
		t.Errorf("exit %d, %s", code, errOut)
	}
}

func TestReloadTellsWhatChangedAndWhatIsGone(t *testing.T) {
	f, run := newFiled(t)
	f.setWeight(t, 4)
	code, out, errOut := run("reload")
	want := "service tcp 192.0.2.10:80: real server 10.0.0.1:80: weight 4 -> 1\n" +
		"1 edit made by hand is gone: save it first with: ulvs save\nNeeds a restart: node.workers: 0 -> 2\n"
	if code != exitOK || out != want {
		t.Errorf("exit %d %s\n got %s\nwant %s", code, errOut, out, want)
	}
	if _, out, _ = run("reload"); !strings.HasPrefix(out, "Nothing changed.\n") {
		t.Errorf("got %s", out)
	}
	if err := os.WriteFile(f.path, []byte(wrongFile), 0o600); err != nil {
		t.Fatal(err)
	}
	want = "ulvs: ulvs refuses: 2 errors, nothing was started or changed\n" +
		"FILE:3: node.frames: 1 is out of range; give 1024 to 1048576\n" +
		"FILE:6: service[0].scheduler: unknown scheduler \"wlcc\"; did you mean wlc?\n"
	if code, _, errOut = run("reload"); code != exitFailed || errOut != want {
		t.Errorf("exit %d\n got %s\nwant %s", code, errOut, want)
	}
}

func TestStatusSaysInWhatItDiffers(t *testing.T) {
	st := control.Status{Modified: true, ModifiedServices: 2, ModifiedTimeouts: true, ModifiedSettings: 1}
	want := " (what runs differs: 2 services, timeouts, 1 setting; keep it with: ulvs save)"
	if got := modifiedWords(&st); got != want {
		t.Errorf("got %q", got)
	}
}
