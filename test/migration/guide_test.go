package migration

import (
	"strings"
	"testing"
)

func TestBlocksAreFoundWithTheirHosts(t *testing.T) {
	got, err := Blocks("# x\n\n```sh lvs1\na\nb\n```\n```text\nout\n```\n```conf lvs1 /etc/x\ny\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []Block{{4, "sh", "lvs1", "a\nb\n"}, {8, "text", "", "out\n"}, {11, "conf", "lvs1 /etc/x", "y\n"}}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, bad := range []string{"```sh\na\n```\n", "```sh lvs1\na\n"} {
		if _, err := Blocks(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestWhatIsShownMustHaveBeenPrinted(t *testing.T) {
	got := "Instance   State\nVI_1       MASTER   12s\nother\n"
	for want, missing := range map[string]string{
		"VI_1 MASTER 3s\n":             "",
		"...\nVI_1   MASTER  3s\n...":  "",
		"VI_1 BACKUP 3s\n":             "VI_0 BACKUP 0s",
		"other\nInstance State\n":      "Instance State",
		"Instance State\n\nother\n...": "",
	} {
		if line, _ := Shows(got, want); line != missing {
			t.Errorf("%q: %q is missing, want %q", want, line, missing)
		}
	}
}

// TestThisPackagesGuideIsRead keeps the guide's shape where nobody has root.
func TestThisPackagesGuideIsRead(t *testing.T) {
	hosts := map[string]bool{}
	for _, b := range guide(t) {
		if b.Kind == "sh" {
			hosts[b.On] = true
		}
		if !strings.HasSuffix(b.Text, "\n") {
			t.Errorf("line %d: an empty block", b.Line)
		}
	}
	if !hosts["lvs1"] || !hosts["lvs2"] || !hosts["lvs3"] {
		t.Errorf("commands run on %v only", hosts)
	}
}
