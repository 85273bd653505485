package runner

import (
	"errors"
	"strings"
)

var errQuote = errors.New("a quote is not closed")

// Split takes a command line apart as a shell would that knows quotes and backslashes and nothing
// else: no variables, no pipes. Those need Args of {"/bin/sh", "-c", line}.
func Split(line string) (args []string, err error) {
	var word strings.Builder
	quote, in, escaped := rune(0), false, false
	for _, c := range line {
		switch {
		case escaped:
			word.WriteRune(c)
			escaped = false
		case c == '\\' && quote != '\'':
			in, escaped = true, true
		case c == quote && quote != 0:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, in = c, true
		case c == ' ' || c == '\t' || c == '\n':
			if in {
				args = append(args, word.String())
			}
			word.Reset()
			in = false
		default:
			word.WriteRune(c)
			in = true
		}
	}
	if quote != 0 || escaped {
		return nil, errQuote
	}
	if in {
		args = append(args, word.String())
	}
	return args, nil
}
