package top

import "unicode/utf8"

// key is what was pressed: a rune, or one of these.
type key rune

const (
	keyUp key = utf8.MaxRune + 1 + iota
	keyDown
	keyLeft
	keyRight
	keyPageUp
	keyPageDown
	keyHome
	keyEnd
	keyEnter
	keyEscape
	keyBackspace
	keyInterrupt
	keyUnknown
)

// sequences are what terminals send after ESC (xterm's ctlseqs, "PC-style function keys").
var sequences = map[string]key{
	"[A": keyUp, "OA": keyUp, "[B": keyDown, "OB": keyDown, "[C": keyRight, "OC": keyRight, "[D": keyLeft, "OD": keyLeft,
	"[5~": keyPageUp, "[6~": keyPageDown, "[H": keyHome, "OH": keyHome, "[1~": keyHome, "[F": keyEnd, "OF": keyEnd,
	"[4~": keyEnd,
}

// maxSequence bounds a sequence, in bytes; what is longer is none that we know.
const maxSequence = 16

// readKey takes the first key out of what a terminal sent. n is 0 for nothing; a sequence that is cut off
// counts as Escape, which is what pressing Escape looks like.
func readKey(b []byte) (k key, n int) {
	switch {
	case len(b) == 0:
		return 0, 0
	case b[0] == 0x1b:
		return readSequence(b)
	case b[0] == '\r' || b[0] == '\n':
		return keyEnter, 1
	case b[0] == 0x7f || b[0] == 0x08:
		return keyBackspace, 1
	case b[0] == 0x03:
		return keyInterrupt, 1
	case b[0] < ' ':
		return keyUnknown, 1
	}
	r, size := utf8.DecodeRune(b)
	if r == utf8.RuneError && size == 1 {
		return keyUnknown, 1
	}
	return key(r), size
}

func readSequence(b []byte) (key, int) {
	if len(b) == 1 || b[1] != '[' && b[1] != 'O' {
		return keyEscape, 1
	}
	for i := 2; i < len(b) && i < maxSequence; i++ {
		if b[i] >= 0x40 && b[i] <= 0x7e { // a final byte (ECMA-48, 5.4)
			if k, ok := sequences[string(b[1:i+1])]; ok {
				return k, i + 1
			}
			return keyUnknown, i + 1
		}
	}
	return keyUnknown, min(len(b), maxSequence)
}
