package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestEveryCommandInTheDocsExists reads every "ulvs ..." of the documentation, in blocks and in code spans, and looks
// for its sub-command and its flags.
func TestEveryCommandInTheDocsExists(t *testing.T) {
	found := 0
	tree := os.DirFS("../..")
	err := fs.WalkDir(tree, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() && (e.Name() == "testdata" || e.Name() == ".git") {
			return fs.SkipDir
		}
		if path.Ext(name) != ".md" || name == "CHANGELOG.md" { // the changelog speaks of the past
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		for _, c := range documented(string(text)) {
			found++
			if err := exists(c.words); err != nil {
				t.Errorf("%s:%d: ulvs %s: %v", name, c.line, strings.Join(c.words, " "), err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 150 {
		t.Errorf("only %d commands were found", found)
	}
}

// TestCommandsThatDoNotExistAreFound proves that the test above can fail.
func TestCommandsThatDoNotExistAreFound(t *testing.T) {
	for text, want := range map[string]string{
		"```\nulvs status --json\n```\n":                             "",
		"`ulvs stauts`":                                              `unknown command "stauts"`,
		"```sh\nulvs status --jsno | jq .\n```\n":                    "unknown flag: --jsno",
		"    ip netns exec ulvs-d1 ulvs run --bogus x.toml &\n":      "unknown flag: --bogus",
		"    sh -c 'until ulvs vrpp | grep -q MASTER; do x; done'\n": `unknown command "vrpp"`,
		"    # ulvs sync keygne > x\n":                               `unknown command "keygne"`,
		"see `ulvs top --onse`, or `ulvs top`":                       "unknown flag: --onse",
		"    ssh lvs2 ulvs drain --al 10.0.0.1":                      "unknown flag: --al",
		"```text\nulvs says hello\n```\n":                            "",
		"`ulvs CMD --help` and `ulvs ipvsadm -Sn`":                   "",
	} {
		got := ""
		for _, c := range documented(text) {
			if err := exists(c.words); err != nil {
				got = err.Error()
			}
		}
		if !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// docCommand is one ulvs command line of a document, without "ulvs".
type docCommand struct {
	line  int
	words []string
}

var (
	span     = regexp.MustCompile("`ulvs ([^`]+)`")
	before   = `(?:^|[|;&(!#$]\s*|until |while |exec \S+ |then |ssh \S+ |sudo |'|=\S* )`
	called   = regexp.MustCompile(before + `ulvs ([a-z][^|;&>)<']*)`)
	shellish = regexp.MustCompile("^```(sh|bash|console|shell)?( .*)?$")
)

// documented returns the commands of a document.
func documented(text string) (list []docCommand) {
	n, fence := 0, ""
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\n")
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "```") && fence == "":
			fence = trimmed
		case strings.HasPrefix(trimmed, "```"):
			fence = ""
		case fence != "" && shellish.MatchString(fence), fence == "" && strings.HasPrefix(line, "    "):
			list = append(list, commandsOf(n, called.FindAllStringSubmatch(trimmed, -1))...)
		case fence == "":
			list = append(list, commandsOf(n, span.FindAllStringSubmatch(line, -1))...)
		}
	}
	return list
}

// commandsOf splits what was found into words; comments and what stands for something else ends them.
func commandsOf(line int, matches [][]string) (list []docCommand) {
	for _, m := range matches {
		var words []string
		text, _, _ := strings.Cut(m[1], " #")
		for word := range strings.FieldsSeq(text) {
			if word == "..." || word == "·" || word == `\` {
				break
			}
			words = append(words, strings.TrimSuffix(word, ","))
			if strings.HasSuffix(word, ",") {
				break
			}
		}
		if len(words) > 0 && words[0] == strings.ToLower(words[0]) {
			list = append(list, docCommand{line, words})
		}
	}
	return list
}

// exists reports what of a command line cobra does not know. Words that stand for something are not looked at.
func exists(words []string) error {
	if words[0] == ipvsadmName || words[0] == "help" {
		return nil
	}
	a := &app{out: io.Discard, errOut: io.Discard}
	cmd, rest, err := a.root().Find(words)
	if err != nil {
		return err
	}
	if cmd.HasSubCommands() && len(rest) > 0 && strings.ToLower(rest[0]) == rest[0] && rest[0][0] != '-' {
		return fmt.Errorf("unknown command %q", rest[0])
	}
	for _, word := range rest {
		if err := flagExists(cmd, word); err != nil {
			return err
		}
	}
	return nil
}

// flagExists looks one word of a command line up, if it is a flag.
func flagExists(cmd *cobra.Command, word string) error {
	name, isLong := strings.CutPrefix(word, "--")
	name, _, _ = strings.Cut(name, "=")
	switch {
	case word == "-" || word == "--" || !strings.HasPrefix(word, "-") || name == "help" || word == "-h":
		return nil
	case isLong && cmd.Flags().Lookup(name) == nil && cmd.InheritedFlags().Lookup(name) == nil:
		return fmt.Errorf("unknown flag: --%s", name)
	case !isLong && cmd.Flags().ShorthandLookup(word[1:2]) == nil:
		return fmt.Errorf("unknown flag: %s", word)
	}
	return nil
}
