package config

import (
	"strings"

	"ulvs/lvs"
)

// Reading a file again takes a second with 100 000 real servers, nearly all of it for services that are as they
// were. So a Config remembers which text each service had, and Parse with Options.Previous reads the other ones
// only. What is not in plain [[service]] tables, and every file with a mistake, is read whole.

// parsed is a service as its text says.
type parsed struct {
	service lvs.Service
	in      inherit
	care    *Care // nil: nothing
}

const serviceHeader = "[[service]]"

// cutServices cuts a text into services, each from its header to the next one, and all the rest. ok is false where
// a line that looks like a header may be something else.
func cutServices(text string) (services []string, rest string, ok bool) {
	if strings.Contains(text, `"""`) || strings.Contains(text, "'''") {
		return nil, "", false
	}
	var other strings.Builder
	begin, inService := 0, false
	end := func(at int) {
		switch {
		case inService:
			services = append(services, text[begin:at])
		default:
			other.WriteString(text[begin:at])
		}
		begin = at
	}
	for at := 0; at < len(text); {
		next := lineEnd(text, at)
		line := strings.TrimLeft(text[at:next], " \t")
		switch {
		case !strings.HasPrefix(line, "["):
		case strings.HasPrefix(line, serviceHeader):
			end(at)
			inService = true
		case inService && (strings.HasPrefix(line, "[[service.") || strings.HasPrefix(line, "[service.")):
		default:
			end(at)
			inService = false
		}
		at = next
	}
	end(len(text))
	return services, other.String(), true
}

// remember notes which text said each service, for the next time.
func (c *Config) remember(text string) {
	pieces, _, ok := cutServices(text)
	if !ok || len(pieces) != len(c.services) {
		return
	}
	care := careByKey(c.care)
	c.texts = make(map[string]*parsed, len(pieces))
	for i, piece := range pieces {
		c.texts[piece] = &parsed{c.services[i], c.inherits[i], care[c.services[i].Key]}
	}
}

// again parses a text by what previous knows of it; nil if it has to be read whole.
func (p *parser) again(text string, previous *Config) *Config {
	pieces, rest, ok := cutServices(text)
	if !ok || previous.texts == nil || len(pieces) > lvs.MaxServices {
		return nil
	}
	root := p.decode([]byte(rest))
	if root == nil || root.m["service"] != nil {
		return nil
	}
	c := p.config(root)
	c.texts = make(map[string]*parsed, len(pieces))
	c.services, c.inherits = make([]lvs.Service, 0, len(pieces)), make([]inherit, 0, len(pieces))
	seen, dests := make(map[lvs.ServiceKey]bool, len(pieces)), 0
	for _, piece := range pieces {
		one := previous.texts[piece]
		if one == nil {
			one = p.piece(piece)
		}
		if one == nil || seen[one.service.Key] {
			return nil
		}
		seen[one.service.Key] = true
		dests += len(one.service.Destinations)
		c.texts[piece] = one
		c.services, c.inherits = append(c.services, one.service), append(c.inherits, one.in)
		if one.care != nil {
			c.care = append(c.care, *one.care)
		}
	}
	if len(p.problems) > 0 || dests > lvs.MaxDestinations {
		return nil
	}
	return c
}

// piece reads one service, nil if it is not one alone.
func (p *parser) piece(text string) *parsed {
	root := p.decode([]byte(text))
	if root == nil || len(root.m) != 1 {
		return nil
	}
	tables := root.tables("service")
	if len(tables) != 1 {
		return nil
	}
	p.inherits, p.care = nil, nil
	out := &parsed{service: p.service(tables[0])}
	out.in = p.inherits[0]
	if len(p.care) > 0 {
		out.care = &p.care[0]
	}
	return out
}
