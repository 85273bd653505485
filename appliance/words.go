package appliance

import "strings"

// Prefix begins every word that is ours.
const Prefix = "ulvs."

// MaxText bounds what words are looked for in, in bytes: a kernel's command line has 2048, a file may have more.
const MaxText = 64 << 10

// Words returns the words of a kernel command line that are ours, without the prefix. Blanks divide, double quotes keep
// them and are dropped, as the kernel has it. Text beyond MaxText is not looked at.
func Words(text string) (list []string) {
	for _, word := range split(text[:min(len(text), MaxText)]) {
		if ours, ok := strings.CutPrefix(word, Prefix); ok {
			list = append(list, ours)
		}
	}
	return list
}

// FileWords returns the words of a file: the same, on as many lines as one likes. Lines that begin with # are comments.
func FileWords(text string) (list []string) {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			kept.WriteString(line)
		}
	}
	return Words(kept.String())
}

func split(text string) (list []string) {
	var word strings.Builder
	quoted, some := false, false
	for _, b := range []byte(text) {
		switch {
		case b == '"':
			quoted, some = !quoted, true
		case !quoted && strings.IndexByte(" \t\r\n", b) >= 0:
			if some {
				list = append(list, word.String())
			}
			word.Reset()
			some = false
		default:
			word.WriteByte(b)
			some = true
		}
	}
	if some {
		list = append(list, word.String())
	}
	return list
}
