package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ulvs/config/keepalived"
)

const keepalivedConf = `virtual_server 192.0.2.10 80 {
    lb_algo rr
    lb_kind DR
    smtp_alert
    real_server 192.0.2.21 80 { TCP_CHECK { connect_timeout 3 } }
}
`

// keepalivedFile writes text as a keepalived.conf.
func keepalivedFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestImportWritesAFileThatCheckTakes(t *testing.T) {
	in := keepalivedFile(t, keepalivedConf)
	out := filepath.Join(t.TempDir(), "ulvs.toml")
	code, _, errOut := command(t, "import", in, "-o", out)
	if code != exitOK || !strings.Contains(errOut, in+":4:5: smtp_alert: not mapped: ") {
		t.Fatalf("import: code %d, messages\n%s", code, errOut)
	}
	if !strings.Contains(errOut, "1 services, 1 real servers, 1 words not mapped") {
		t.Errorf("import: messages without a summary:\n%s", errOut)
	}
	if code, _, errOut := command(t, "check", "--offline", out); code != exitOK {
		t.Errorf("check: code %d, messages\n%s", code, errOut)
	}
	if code, _, errOut := command(t, "import", in, "-o", out); code != exitFailed || !strings.Contains(errOut, "--force") {
		t.Errorf("import over a file that exists: code %d, messages\n%s", code, errOut)
	}
	if code, _, errOut := command(t, "import", in, "-o", out, "--force"); code != exitOK {
		t.Errorf("import --force: code %d, messages\n%s", code, errOut)
	}
}

func TestImportPrintsTOMLOrJSON(t *testing.T) {
	in := keepalivedFile(t, keepalivedConf)
	if code, out, _ := command(t, "import", in); code != exitOK || !strings.Contains(out, "[[service.real_server]]") {
		t.Errorf("code %d, output\n%s", code, out)
	}
	var got struct {
		TOML     string
		Findings []keepalived.Finding
	}
	code, out, _ := command(t, "--json", "import", in)
	if err := json.Unmarshal([]byte(out), &got); code != exitOK || err != nil {
		t.Fatalf("code %d, error %v, output\n%s", code, err, out)
	}
	if len(got.Findings) == 0 || got.Findings[0].Pos.Line != 4 || !strings.Contains(got.TOML, "[[service]]") {
		t.Errorf("findings %v, TOML\n%s", got.Findings, got.TOML)
	}
}

func TestImportOfABrokenFileFailsAndSaysWhere(t *testing.T) {
	in := keepalivedFile(t, "virtual_server 192.0.2.10 80 {\n  lb_kind WHAT\n")
	code, out, errOut := command(t, "import", in)
	if code != exitFailed || !strings.Contains(errOut, in+":2:11: lb_kind: broken: expected NAT, DR or TUN") {
		t.Errorf("code %d, messages\n%s", code, errOut)
	}
	if !strings.Contains(out, "192.0.2.10:80") {
		t.Errorf("what was understood is not written:\n%s", out)
	}
	code, _, errOut = command(t, "import", in+".gone")
	if code != exitFailed || !strings.Contains(errOut, "no such file") {
		t.Errorf("no file: code %d, messages\n%s", code, errOut)
	}
}

func TestCheckAndRunOfAKeepalivedConfNameImport(t *testing.T) {
	in := keepalivedFile(t, keepalivedConf)
	for _, name := range []string{"check", "run"} {
		code, _, errOut := command(t, name, in)
		if code != exitFailed || !strings.Contains(errOut, "ulvs import "+in) {
			t.Errorf("%s: code %d, messages\n%s", name, code, errOut)
		}
	}
}
