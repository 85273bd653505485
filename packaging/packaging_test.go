package packaging

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"ulvs/internal/testutil"
	"ulvs/realserver"
)

// maxExposure is what systemd-analyze security may say of a unit at most: "OK", of 0 (none) to 10.
const maxExposure = 3.0

var units = []string{"ulvs.service", "ulvs-realserver.service"}

func needSystemd(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		testutil.Require(t, testutil.NeedSystemd, err.Error())
	}
}

var exposureLine = regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`)

// exposure asks systemd how much a unit may do.
func exposure(t *testing.T, unit string) float64 {
	t.Helper()
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", unit).CombinedOutput()
	found := exposureLine.FindSubmatch(out)
	if err != nil || found == nil {
		t.Fatalf("systemd-analyze security %s: %v\n%s", unit, err, out)
	}
	v, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestUnitsMayDoLittle(t *testing.T) {
	needSystemd(t)
	for _, unit := range units {
		path, err := filepath.Abs(unit)
		if err != nil {
			t.Fatal(err)
		}
		if v := exposure(t, path); v > maxExposure {
			t.Errorf("%s: exposure %.1f, at most %.1f: systemd-analyze security --offline=true %s", unit, v, maxExposure, path)
		}
	}
}

// The measure is one: without its settings a unit is far beyond.
func TestAUnitWithoutHardeningIsFound(t *testing.T) {
	needSystemd(t)
	path := filepath.Join(t.TempDir(), "open.service")
	if err := os.WriteFile(path, []byte("[Service]\nExecStart=/bin/true\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if v := exposure(t, path); v <= 2*maxExposure {
		t.Errorf("exposure %.1f of a unit that may do anything", v)
	}
}

var complaints = regexp.MustCompile(`.*(Unknown|Failed to parse|gnoring).*`)

// systemd warns of keys that it does not know, and starts the unit without them.
func TestSystemdUnderstandsEveryLine(t *testing.T) {
	needSystemd(t)
	const image = "image/files/etc/systemd/system/"
	for _, unit := range append(units, image+"ulvs-firstboot.service", image+"ulvs-fetch.service") {
		out, _ := exec.Command("systemd-analyze", "verify", "./"+unit).CombinedOutput()
		for _, complaint := range complaints.FindAll(out, -1) {
			t.Errorf("%s: %s", unit, complaint)
		}
	}
}

func TestThePackagedRealServerUnitIsTheOneThatSetupWrites(t *testing.T) {
	text, err := os.ReadFile("ulvs-realserver.service")
	if err != nil {
		t.Fatal(err)
	}
	if want := realserver.Unit("/usr/bin/ulvs", realserver.DefaultConfig); string(text) != want {
		t.Errorf("write this to packaging/ulvs-realserver.service:\n%s", want)
	}
}

func TestScriptsAreShell(t *testing.T) {
	for _, name := range []string{"deb.sh", "vulncheck.sh", "debian/postinst", "debian/prerm", "debian/postrm",
		"image/build.sh", "image/files/etc/kernel/postinst.d/zz-ulvs-boot"} {
		if out, err := exec.Command("sh", "-n", name).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

var sourceLine = regexp.MustCompile(`(?m)^ *(?:- src|postinstall|preremove|postremove): (\S+)`)

// What make builds before is not there in a fresh clone.
func TestEveryFileOfThePackageIsThere(t *testing.T) {
	text, err := os.ReadFile("nfpm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found := sourceLine.FindAllSubmatch(text, -1)
	if len(found) < 10 {
		t.Fatalf("only %d files", len(found))
	}
	for _, f := range found {
		name := string(f[1])
		if strings.HasPrefix(name, "bin/") || strings.HasPrefix(name, "../") {
			continue
		}
		if _, err := os.Stat(filepath.Join("..", name)); errors.Is(err, os.ErrNotExist) {
			t.Errorf("nfpm.yaml names %s, which is not there", name)
		}
	}
}
