package capture

import (
	"fmt"
	"strings"
)

// Limits of an expression: what people write has a tenth of them.
const (
	MaxExpression = 64 << 10 // bytes; what a service becomes may be long
	maxNodes      = 1 << 16
	maxNesting    = 100
)

// SyntaxError is what is wrong with an expression, and where.
type SyntaxError struct {
	Text string // the expression
	At   int    // byte offset of the place
	Msg  string // what is wrong, and what would be right
}

// Error returns the message with the place.
func (e *SyntaxError) Error() string {
	near := e.Text[min(e.At, len(e.Text)):]
	if near == "" {
		return fmt.Sprintf("filter, at its end: %s", e.Msg)
	}
	return fmt.Sprintf("filter, column %d, at %.30q: %s", e.At+1, near, e.Msg)
}

// token is a word, a number or an operator. The last one is empty.
type token struct {
	text string
	at   int
	word bool
}

// lex cuts an expression into tokens, the empty one last.
func lex(text string) ([]token, error) {
	if len(text) > MaxExpression {
		return nil, &SyntaxError{text, MaxExpression, fmt.Sprintf("longer than %d bytes", MaxExpression)}
	}
	var out []token
	inBrackets := 0
	for i := 0; i < len(text); {
		c := text[i]
		n := 0
		switch {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			i++
			continue
		case isWordByte(c) || c == '\\' || c == ':' && inBrackets == 0:
			n = wordLength(text[i:], inBrackets > 0)
		default:
			n = operatorLength(text[i:])
		}
		if n == 0 {
			return nil, &SyntaxError{text, i, "nothing of the filter language"}
		}
		switch c {
		case '[':
			inBrackets++
		case ']':
			inBrackets--
		}
		out = append(out, token{text[i : i+n], i, isWordByte(c) || c == '\\' || n > 1 && c == ':'})
		i += n
	}
	return append(out, token{at: len(text)}), nil
}

func isWordByte(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_'
}

// wordLength is the length of the word that s begins with. A hyphen and a dot are within one only; a colon is
// where no size can follow it: in addresses.
func wordLength(s string, inBrackets bool) (n int) {
	for n < len(s) {
		c := s[n]
		switch {
		case isWordByte(c), c == '.', c == '\\' && n == 0, c == ':' && !inBrackets:
		case c == '-' && n > 0 && n+1 < len(s) && isWordByte(s[n+1]) && !(inBrackets && number(s[:n])):
		default:
			return n
		}
		n++
	}
	return n
}

// number reports whether s is all digits.
func number(s string) bool { return strings.Trim(s, "0123456789") == "" }

func operatorLength(s string) int {
	for _, two := range []string{"&&", "||", "!=", "==", "<=", ">=", "<<", ">>"} {
		if strings.HasPrefix(s, two) {
			return 2
		}
	}
	if strings.IndexByte("()[]!=<>+-*/%&|^:", s[0]) >= 0 {
		return 1
	}
	return 0
}
