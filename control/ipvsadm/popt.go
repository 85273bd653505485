package ipvsadm

import (
	"errors"
	"strings"
)

// argKind is whether an option takes an argument.
type argKind uint8

const (
	argNone argKind = iota
	argOne
	argMaybe // the rest of its word, or the next word unless that begins with -
)

// option is a command or an option of ipvsadm.
type option struct {
	long  string
	short byte // 0: none
	arg   argKind
	tag   tag
}

// Errors of popt, in its words.
var (
	errUnknownOption = errors.New("unknown option")
	errMissingArg    = errors.New("missing argument")
	errUnwantedArg   = errors.New("option does not take an argument")
)

// scanner walks over a command line as popt does: options may stand between arguments, short ones
// may share a word, and the last of those may take the rest of it or the next word.
type scanner struct {
	args    []string
	next    int      // of args
	cluster string   // short options of args[next-1] still to come
	rest    []string // what is no option
	ended   bool     // by --
}

// scan returns the next option and its argument. At the end o is nil.
func (s *scanner) scan() (o *option, arg string, given bool, err error) {
	for s.cluster == "" {
		if s.next >= len(s.args) {
			return nil, "", false, nil
		}
		word := s.args[s.next]
		s.next++
		switch {
		case s.ended || len(word) < 2 || word[0] != '-':
			s.rest = append(s.rest, word)
		case word == "--":
			s.ended = true
		case word[1] == '-':
			return s.long(word[2:])
		default:
			s.cluster = word[1:]
		}
	}
	return s.short()
}

// bad is the word that popt blames.
func (s *scanner) bad() string { return s.args[s.next-1] }

func (s *scanner) long(word string) (o *option, arg string, given bool, err error) {
	name, value, has := strings.Cut(word, "=")
	if o = findOption(func(o *option) bool { return o.long == name }); o == nil {
		return nil, "", false, errUnknownOption
	}
	if o.arg == argNone {
		if has {
			return nil, "", false, errUnwantedArg
		}
		return o, "", false, nil
	}
	if has {
		return o, value, true, nil
	}
	return s.following(o)
}

func (s *scanner) short() (o *option, arg string, given bool, err error) {
	c := s.cluster[0]
	s.cluster = s.cluster[1:]
	if o = findOption(func(o *option) bool { return o.short == c && c != 0 }); o == nil {
		return nil, "", false, errUnknownOption
	}
	if o.arg == argNone {
		if strings.HasPrefix(s.cluster, "=") {
			return nil, "", false, errUnwantedArg
		}
		return o, "", false, nil
	}
	if s.cluster == "" {
		return s.following(o)
	}
	arg = strings.TrimPrefix(s.cluster, "=")
	s.cluster = ""
	return o, arg, true, nil
}

// following takes the next word as the argument of o.
func (s *scanner) following(o *option) (_ *option, arg string, given bool, err error) {
	left := s.args[s.next:]
	switch {
	case o.arg == argMaybe && (len(left) == 0 || strings.HasPrefix(left[0], "-")):
		return o, "", false, nil
	case len(left) == 0:
		return nil, "", false, errMissingArg
	}
	s.next++
	return o, left[0], true, nil
}

func findOption(is func(*option) bool) *option {
	for i := range options {
		if is(&options[i]) {
			return &options[i]
		}
	}
	return nil
}
