package keepalived

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

const page = "../../docs/keepalived.md"

// The tables of the page are those that import uses: -update writes them.
func TestThePageShowsTheRules(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- rules -->\n", "<!-- end of rules -->"
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s lacks %q or %q", page, begin, end)
	}
	want := head + begin + tables() + end + tail
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want != string(text) && !*update {
		t.Errorf("%s is not what the rules say; write it anew with -update", page)
	}
}

func tables() string {
	var b strings.Builder
	section := func(title string, list []rule) {
		list = slices.Clone(list)
		slices.SortStableFunc(list, func(a, b rule) int { return strings.Compare(a.word, b.word) })
		fmt.Fprintf(&b, "\n### %s\n\n| keepalived | ulvs | |\n|---|---|---|\n", title)
		for _, r := range list {
			key := "-"
			if r.key != "" {
				key = "`" + r.key + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.word, key, strings.ReplaceAll(r.why, "|", "\\|"))
		}
	}
	section("Outside blocks", topRules())
	section("virtual_server", serverRules())
	section("real_server", realRules())
	section("Every checker", checkRules())
	for _, c := range checkers() {
		if len(c.rules) > 0 && c.word != "SSL_GET" {
			section(strings.Replace(c.word, "HTTP_GET", "HTTP_GET and SSL_GET", 1), c.rules)
		}
	}
	section("url", urlRules())
	section("vrrp_instance", instanceRules())
	section("vrrp_sync_group", syncGroupRules())
	section("vrrp_script", scriptRules())
	section("track_file", trackFileRules())
	section("vrrp_track_process", trackProcessRules())
	section("global_defs", globalRules())
	return b.String() + "\n"
}

// A word has one rule in each block, and each rule says what becomes of it.
func TestEachRuleSaysWhatBecomesOfItsWord(t *testing.T) {
	for name, list := range map[string][]rule{
		"top": topRules(), "global_defs": globalRules(), "virtual_server": serverRules(), "real_server": realRules(),
		"check": checkRules(), "url": urlRules(), "vrrp_instance": instanceRules(), "vrrp_sync_group": syncGroupRules(),
		"vrrp_script": scriptRules(), "track_file": trackFileRules(), "vrrp_track_process": trackProcessRules(),
	} {
		seen := map[string]bool{}
		for _, r := range list {
			if seen[r.word] {
				t.Errorf("%s: %s has two rules", name, r.word)
			}
			seen[r.word] = true
			if r.key == "" && r.why == "" {
				t.Errorf("%s: nothing is said of %s", name, r.word)
			}
		}
	}
}
