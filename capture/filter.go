package capture

import (
	"encoding/binary"
	"math"
)

// Filter is a compiled expression. It is immutable: any number of goroutines may match with it at once.
type Filter struct {
	text  string
	nodes []node
	terms []term
	root  int32
}

// String returns the expression that it was compiled from.
func (f *Filter) String() string { return f.text }

// op is what a node does.
type op uint8

const (
	opTrue  op = iota
	opAnd      // a, b
	opOr       // a, b
	opNot      // a
	opTest     // load and compare with a constant
	opRel      // compare the terms a and b
	opWireL    // compare the frame's length on the wire
)

// rel is a comparison. The others are these with not, or with the sides exchanged.
type rel uint8

const (
	relEq  rel = iota
	relGt      // unsigned
	relGe      // unsigned
	relSet     // any bit of the mask
)

// node is one step of a filter; a and b are nodes, or terms.
type node struct {
	op    op
	rel   rel
	a, b  int32
	load  load
	mask  uint32
	value uint32
}

// load is a big-endian load from the frame.
type load struct {
	off  int32
	size uint8 // 1, 2 or 4
	l4   bool  // off counts from the end of the IPv4 header that begins at nl
	nl   int32
}

// termOp is an operation on numbers.
type termOp uint8

const (
	termConst termOp = iota
	termLen          // of the frame on the wire
	termLoad         // at load.off + the value of term a
	termNeg
	termAdd
	termSub
	termMul
	termDiv
	termMod
	termAnd
	termOr
	termXor
	termShl
	termShr
)

// term is a number of an expression, modulo 2^32.
type term struct {
	op    termOp
	a, b  int32
	load  load
	value uint32
}

// view is the frame at hand.
type view struct {
	b     []byte
	wire  int
	short bool // something was looked at that the frame does not have
}

// Match reports whether the filter takes a frame, which begins with its Ethernet header. wire is its length on the
// wire, where b may be the beginning only. It allocates nothing.
func (f *Filter) Match(b []byte, wire int) bool {
	v := view{b: b, wire: wire}
	return f.eval(f.root, &v) && !v.short
}

// eval evaluates left to right, and not further than it must. After a load outside the frame the result means
// nothing: Match looks at short.
func (f *Filter) eval(at int32, v *view) bool {
	n := &f.nodes[at]
	switch n.op {
	case opTrue:
		return true
	case opAnd:
		return f.eval(n.a, v) && !v.short && f.eval(n.b, v)
	case opOr:
		return f.eval(n.a, v) || !v.short && f.eval(n.b, v)
	case opNot:
		return !f.eval(n.a, v)
	case opTest:
		return compare(n.rel, v.load(&n.load, 0)&n.mask, n.value)
	case opWireL:
		return compare(n.rel, uint32(v.wire), n.value)
	case opRel:
		return compare(n.rel, f.number(n.a, v), f.number(n.b, v))
	}
	return false
}

func compare(r rel, x, y uint32) bool {
	switch r {
	case relEq:
		return x == y
	case relGt:
		return x > y
	case relGe:
		return x >= y
	case relSet:
		return x&y != 0
	}
	return false
}

// load reads at l's offset plus add.
func (v *view) load(l *load, add uint32) uint32 {
	at := int64(l.off) + int64(add)
	if l.l4 {
		if int(l.nl) >= len(v.b) {
			v.short = true
			return 0
		}
		at += 4 * int64(v.b[l.nl]&0xf)
	}
	if at < 0 || at > math.MaxUint16 || int(at)+int(l.size) > len(v.b) {
		v.short = true
		return 0
	}
	switch b := v.b[at:]; l.size {
	case 1:
		return uint32(b[0])
	case 2:
		return uint32(binary.BigEndian.Uint16(b))
	default:
		return binary.BigEndian.Uint32(b)
	}
}

// number evaluates a term.
func (f *Filter) number(at int32, v *view) uint32 {
	t := &f.terms[at]
	switch t.op {
	case termConst:
		return t.value
	case termLen:
		return uint32(v.wire)
	case termLoad:
		return v.load(&t.load, f.number(t.a, v))
	case termNeg:
		return -f.number(t.a, v)
	}
	return v.calculate(t.op, f.number(t.a, v), f.number(t.b, v))
}

// calculate is arithmetic modulo 2^32. A division by nothing ends the filter, as in BPF.
func (v *view) calculate(op termOp, x, y uint32) uint32 {
	switch op {
	case termAdd:
		return x + y
	case termSub:
		return x - y
	case termMul:
		return x * y
	case termAnd:
		return x & y
	case termOr:
		return x | y
	case termXor:
		return x ^ y
	case termShl:
		return x << y
	case termShr:
		return x >> y
	}
	if y == 0 {
		v.short = true
		return 0
	}
	if op == termDiv {
		return x / y
	}
	return x % y
}
