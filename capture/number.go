package capture

// checked is a number with what has to hold for it to be there, as a node; -1: nothing.
type checked struct {
	term  int32
	check int32
}

func (c *compiler) term(t term) int32 {
	if len(c.f.terms) == maxNodes {
		return c.fail("the expression is too complex: more than %d numbers", maxNodes)
	}
	c.f.terms = append(c.f.terms, t)
	return int32(len(c.f.terms) - 1)
}

// relation is a comparison of two numbers. A frame without the protocols that it names does not match.
func (c *compiler) relation() int32 {
	left := c.number(0)
	symbol := c.next()
	if !isRelation(symbol.text) {
		return c.failAt(symbol, "expected a comparison: = != < <= > >=")
	}
	right := c.number(0)
	a, b := left.term, right.term
	n := node{op: opRel, rel: relEq, a: a, b: b}
	switch symbol.text {
	case ">":
		n.rel = relGt
	case ">=":
		n.rel = relGe
	case "<":
		n.rel, n.a, n.b = relGt, b, a
	case "<=":
		n.rel, n.a, n.b = relGe, b, a
	}
	out := c.add(n)
	if symbol.text == "!=" {
		out = c.not(out)
	}
	return c.both(c.both(left.check, right.check), out)
}

// both joins checks, -1 for none.
func (c *compiler) both(a, b int32) int32 {
	switch {
	case a < 0:
		return b
	case b < 0:
		return a
	}
	return c.and(a, b)
}

// operators are those of two numbers, with how tightly they bind.
var operators = map[string]struct {
	op    termOp
	level int
}{
	"|": {termOr, 1}, "^": {termXor, 1}, "&": {termAnd, 2}, "<<": {termShl, 3}, ">>": {termShr, 3},
	"+": {termAdd, 4}, "-": {termSub, 4}, "*": {termMul, 5}, "/": {termDiv, 5}, "%": {termMod, 5},
}

// number is a number whose operators bind tighter than level.
func (c *compiler) number(level int) checked {
	if c.depth++; c.depth > maxNesting {
		return checked{c.fail("nested deeper than %d", maxNesting), -1}
	}
	defer func() { c.depth-- }()
	left := c.operand()
	for c.err == nil {
		op, ok := operators[c.peek().text]
		if !ok || op.level <= level {
			return left
		}
		at := c.next()
		right := c.number(op.level)
		if t := c.f.terms; (op.op == termDiv || op.op == termMod) && c.err == nil &&
			t[right.term].op == termConst && t[right.term].value == 0 {
			return checked{c.failAt(at, "a division by zero"), -1}
		}
		// What has to hold for the right one is forgotten, as libpcap does (gen_arth): people's expressions rely on it.
		left.term = c.term(term{op: op.op, a: left.term, b: right.term})
	}
	return left
}

func (c *compiler) operand() checked {
	t := c.next()
	if n, ok := constant(t.text); ok {
		return checked{c.term(term{op: termConst, value: n}), -1}
	}
	switch {
	case t.text == "(":
		inner := c.number(0)
		c.expect(")")
		return inner
	case t.text == "-":
		inner := c.operand()
		return checked{c.term(term{op: termNeg, a: inner.term}), inner.check}
	case t.text == "len":
		return checked{c.term(term{op: termLen}), -1}
	case c.peek().text == "[":
		return c.field(t)
	}
	return checked{c.failAt(t, "expected a number, len, or a field like tcp[13] or ip[2:2]"), -1}
}

// field is protocol[offset] or protocol[offset:size].
func (c *compiler) field(protocol token) checked {
	c.next()
	offset := c.number(0)
	size := uint32(1)
	if c.take(":") {
		t := c.next()
		n, ok := constant(t.text)
		if !ok || n != 1 && n != 2 && n != 4 {
			return checked{c.failAt(t, "expected the size of a field: 1, 2 or 4"), -1}
		}
		size = n
	}
	c.expect("]")
	l := load{size: uint8(size), nl: c.network()}
	check := int32(-1)
	switch name := protocol.text; name {
	case "ether", "link":
	case "ip", "ip6", "arp", "rarp":
		check, l.off = c.etherType(etherTypes[name]), c.network()
	case "icmp6":
		check, l.off = c.and(c.etherType(etherIP6), c.test(c.network()+6, 1, 58)), c.network()+40
	default:
		_, ok := protocols[name]
		if !ok || name == "icmp6" {
			return checked{c.failAt(protocol, "expected a protocol before [: ether ip ip6 arp tcp udp icmp icmp6 sctp"), -1}
		}
		check = c.and(c.etherType(etherIP), c.protocol(name), c.not(c.fragment()))
		l.off, l.l4 = c.network(), true
	}
	return checked{c.term(term{op: termLoad, a: offset.term, load: l}), c.both(offset.check, check)}
}
