package wholefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// place is a folder with one file.
type place struct {
	*testing.T
	dir, path string
}

func newPlace(t *testing.T, text string, mode fs.FileMode) place {
	t.Helper()
	p := place{t, t.TempDir(), ""}
	p.path = filepath.Join(p.dir, "f")
	p.must(os.WriteFile(p.path, []byte(text), 0o600))
	p.must(os.Chmod(p.path, mode))
	return p
}

func (p place) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// holds checks the file, and that its folder has the names and no others.
func (p place) holds(text string, mode fs.FileMode, names ...string) {
	p.Helper()
	got, err := os.ReadFile(p.path)
	p.must(err)
	info, err := os.Stat(p.path)
	p.must(err)
	if string(got) != text || info.Mode().Perm() != mode {
		p.Errorf("got %q %v, want %q %v", got, info.Mode().Perm(), text, mode)
	}
	entries, err := os.ReadDir(p.dir)
	p.must(err)
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
	}
	if got, want := strings.Join(have, " "), strings.Join(names, " "); got != want {
		p.Errorf("the folder has %q, want %q", got, want)
	}
}

func TestWriteGivesTheMode(t *testing.T) {
	p := newPlace(t, "a longer old text", 0o600)
	p.must(Write(p.path, []byte("new"), 0o666)) // more than any umask lets through
	p.holds("new", 0o666, "f")
	p.must(os.Remove(p.path))
	p.must(Write(p.path, nil, 0o640))
	p.holds("", 0o640, "f")
}

func TestRewriteKeepsTheMode(t *testing.T) {
	p := newPlace(t, "old", 0o666)
	p.must(Rewrite(p.path, []byte("new"), 0o600))
	p.holds("new", 0o666, "f")
	p.must(os.Remove(p.path))
	p.must(Rewrite(p.path, []byte("first"), 0o644))
	p.holds("first", 0o644, "f")
}

func TestRewriteKeepsTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	p := newPlace(t, "old", 0o640)
	p.must(os.Chown(p.path, 1234, 5678))
	p.must(Rewrite(p.path, []byte("new"), 0o600))
	info, err := os.Stat(p.path)
	p.must(err)
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 1234 || st.Gid != 5678 {
		t.Errorf("owner %d:%d, want 1234:5678", st.Uid, st.Gid)
	}
	p.holds("new", 0o640, "f")
}

// Until the new file is whole the old one is all that has the name.
func TestTheOldTextStaysWhateverFails(t *testing.T) {
	p := newPlace(t, "old", 0o640)
	refused := errors.New("refused")
	if err := replace(p.path, []byte("new"), func(*os.File) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("no mode: got %v", err)
	}
	p.holds("old", 0o640, "f")
	err := replace(p.path, []byte("new"), func(f *os.File) error {
		p.holds("old", 0o640, filepath.Base(f.Name()), "f")
		return f.Close() // no write can succeed
	})
	if !errors.Is(err, os.ErrClosed) {
		t.Errorf("no write: got %v", err)
	}
	p.holds("old", 0o640, "f")
}

func TestWhatCannotBeReplacedStays(t *testing.T) {
	p := newPlace(t, "old", 0o640)
	if err := Write(filepath.Join(p.dir, "none", "f"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: got %v", err)
	}
	p.must(os.Mkdir(filepath.Join(p.dir, "folder"), 0o755))
	if err := Write(filepath.Join(p.dir, "folder"), []byte("x"), 0o600); err == nil {
		t.Error("a folder was replaced")
	}
	p.holds("old", 0o640, "f", "folder")
}

func TestALinkIsReplacedAndNotFollowed(t *testing.T) {
	p := newPlace(t, "old", 0o640)
	link := filepath.Join(p.dir, "link")
	p.must(os.Symlink("f", link))
	p.must(Write(link, []byte("new"), 0o600))
	if info, err := os.Lstat(link); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the link is %v, %v", info.Mode(), err)
	}
	p.holds("old", 0o640, "f", "link")
}
