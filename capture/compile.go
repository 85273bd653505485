package capture

import (
	"fmt"
	"strconv"
)

// Compile turns an expression into a Filter. An empty one takes every frame. The error is a *SyntaxError.
func Compile(text string) (*Filter, error) {
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	c := &compiler{f: &Filter{text: text}, tokens: tokens}
	if len(tokens) == 1 {
		c.f.root = c.add(node{op: opTrue})
		return c.f, nil
	}
	c.f.root = c.expression()
	if c.err == nil && c.peek().text != "" {
		c.fail("expected and, or, or the end")
	}
	if c.err != nil {
		return nil, c.err
	}
	return c.f, nil
}

// compiler makes nodes of tokens. After the first error it goes on without effect.
type compiler struct {
	f       *Filter
	tokens  []token
	pos     int
	depth   int
	shift   int32 // bytes of the VLAN tags that the expression so far asked for
	last    qualifiers
	hasLast bool // a bare address or port means the same as the last one
	err     error
}

func (c *compiler) peek() token { return c.tokens[c.pos] }

func (c *compiler) next() token {
	t := c.tokens[c.pos]
	if c.pos < len(c.tokens)-1 {
		c.pos++
	}
	return t
}

// take passes the token if it is one of texts.
func (c *compiler) take(texts ...string) bool {
	for _, text := range texts {
		if c.peek().text == text && text != "" {
			c.next()
			return true
		}
	}
	return false
}

// fail complains about the next token.
func (c *compiler) fail(format string, args ...any) int32 { return c.failAt(c.peek(), format, args...) }

func (c *compiler) failAt(t token, format string, args ...any) int32 {
	if c.err == nil {
		c.err = &SyntaxError{c.f.text, t.at, fmt.Sprintf(format, args...)}
	}
	c.pos = len(c.tokens) - 1 // nothing follows an error
	return 0
}

func (c *compiler) add(n node) int32 {
	if len(c.f.nodes) == maxNodes {
		return c.fail("the expression is too complex: more than %d tests", maxNodes)
	}
	c.f.nodes = append(c.f.nodes, n)
	return int32(len(c.f.nodes) - 1)
}

func (c *compiler) and(a int32, more ...int32) int32 {
	for _, b := range more {
		a = c.add(node{op: opAnd, a: a, b: b})
	}
	return a
}

func (c *compiler) or(a int32, more ...int32) int32 {
	for _, b := range more {
		a = c.add(node{op: opOr, a: a, b: b})
	}
	return a
}

func (c *compiler) not(a int32) int32 { return c.add(node{op: opNot, a: a}) }

// expression is terms joined by and and or, which bind equally and to the left.
func (c *compiler) expression() int32 {
	left := c.factor()
	for c.err == nil {
		switch {
		case c.take("and", "&&"):
			left = c.and(left, c.factor())
		case c.take("or", "||"):
			left = c.or(left, c.factor())
		default:
			return left
		}
	}
	return 0
}

// factor is a primitive, a relation, or an expression in parentheses, perhaps negated.
func (c *compiler) factor() int32 {
	if c.depth++; c.depth > maxNesting {
		return c.fail("nested deeper than %d", maxNesting)
	}
	defer func() { c.depth-- }()
	switch {
	case c.take("not", "!"):
		return c.not(c.factor())
	case c.peek().text == "(" && !c.arithmetic():
		c.next()
		inner := c.expression()
		c.expect(")")
		return inner
	case c.startsNumber():
		return c.relation()
	}
	return c.primitive()
}

func (c *compiler) expect(text string) {
	if !c.take(text) {
		c.fail("expected %s", text)
	}
}

// arithmetic tells, at an opening parenthesis, whether a number is in it: one that is calculated with or compared
// behind the closing one.
func (c *compiler) arithmetic() bool {
	depth := 0
	for i := c.pos; i < len(c.tokens); i++ {
		switch c.tokens[i].text {
		case "(":
			depth++
		case ")":
			if depth--; depth == 0 {
				return isOperator(c.tokens[i+1].text) // the empty token is behind the last one
			}
		}
	}
	return false
}

func isOperator(s string) bool {
	switch s {
	case "+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>":
		return true
	}
	return isRelation(s)
}

func isRelation(s string) bool {
	switch s {
	case "=", "==", "!=", "<", "<=", ">", ">=":
		return true
	}
	return false
}

// startsNumber tells whether a relation begins here rather than a primitive.
func (c *compiler) startsNumber() bool {
	t := c.peek()
	if t.text == "(" || t.text == "-" || t.text == "len" {
		return true
	}
	if !t.word {
		return false
	}
	following := c.tokens[min(c.pos+1, len(c.tokens)-1)].text
	if _, ok := constant(t.text); ok && isOperator(following) {
		return following != "/" // a network: 10.0.0.0/8 has its own word before it
	}
	return following == "["
}

// constant is a number, or one of the names that tcpdump has for some.
func constant(text string) (uint32, bool) {
	if n, ok := constants[text]; ok {
		return n, true
	}
	if n, err := strconv.ParseUint(text, 0, 32); err == nil && text != "" && text[len(text)-1] != '_' {
		return uint32(n), true
	}
	return 0, false
}

// constants are those of pcap-filter(7).
var constants = map[string]uint32{
	"icmptype": 0, "icmpcode": 1, "icmp6type": 0, "icmp6code": 1, "tcpflags": 13,
	"tcp-fin": 1, "tcp-syn": 2, "tcp-rst": 4, "tcp-push": 8, "tcp-ack": 16, "tcp-urg": 32, "tcp-ece": 64, "tcp-cwr": 128,
	"icmp-echoreply": 0, "icmp-unreach": 3, "icmp-sourcequench": 4, "icmp-redirect": 5, "icmp-echo": 8,
	"icmp-routeradvert": 9, "icmp-routersolicit": 10, "icmp-timxceed": 11, "icmp-paramprob": 12, "icmp-tstamp": 13,
	"icmp-tstampreply": 14, "icmp-ireq": 15, "icmp-ireqreply": 16, "icmp-maskreq": 17, "icmp-maskreply": 18,
	"icmp6-destinationrunreach": 1, "icmp6-packettoobig": 2, "icmp6-timeexceeded": 3, "icmp6-parameterproblem": 4,
	"icmp6-echo": 128, "icmp6-echoreply": 129, "icmp6-routersolicit": 133, "icmp6-routeradvert": 134,
	"icmp6-neighborsolicit": 135, "icmp6-neighboradvert": 136, "icmp6-redirect": 137,
}
