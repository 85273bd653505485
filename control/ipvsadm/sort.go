package ipvsadm

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"

	"ulvs/control"
)

// compareServices is ipvsadm's order: marks last, IPv4 first, protocol, address, port. Numbers are
// compared as it does, by the sign of a 32-bit difference: an address half the space above
// another one comes before it.
func compareServices(a, b *control.ListedService) int32 {
	x, y := &a.Service.Key, &b.Service.Key
	if c := int32(x.Mark - y.Mark); c != 0 {
		return c
	}
	if x.Addr.Is6() != y.Addr.Is6() {
		if y.Addr.Is6() {
			return -1
		}
		return 1
	}
	if x.Proto != y.Proto {
		return int32(x.Proto) - int32(y.Proto)
	}
	if c := compareAddrs(x.Addr, y.Addr); c != 0 {
		return c
	}
	return int32(x.Port) - int32(y.Port)
}

// compareDests looks at address and port. Families are not told apart: an IPv4 address counts as
// the first quarter of an IPv6 one.
func compareDests(a, b *control.ListedDestination) int32 {
	x, y := &a.Destination, &b.Destination
	if c := compareAddrs(x.Addr, y.Addr); c != 0 {
		return c
	}
	return int32(x.Port) - int32(y.Port)
}

func compareAddrs(a, b netip.Addr) int32 {
	x, y := quarters(a), quarters(b)
	last := 0
	if a.Is6() {
		last = 3
	}
	for i := 0; i <= last; i++ {
		if c := int32(x[i] - y[i]); c != 0 {
			return c
		}
	}
	return 0
}

func quarters(a netip.Addr) (q [4]uint32) {
	var b [16]byte
	if a.Is4() {
		v4 := a.As4()
		copy(b[:], v4[:])
	} else {
		b = a.As16()
	}
	for i := range q {
		q[i] = binary.BigEndian.Uint32(b[4*i:])
	}
	return q
}

// mergeSort is the C library's qsort. The order of compare* is not transitive, so that another
// algorithm would give another result.
func mergeSort[T any](list []T, compare func(a, b *T) int32) {
	mergeInto(list, make([]T, len(list)), compare)
}

func mergeInto[T any](list, scratch []T, compare func(a, b *T) int32) {
	if len(list) < 2 {
		return
	}
	left, right := list[:len(list)/2], list[len(list)/2:]
	mergeInto(left, scratch, compare)
	mergeInto(right, scratch, compare)
	n := 0
	for ; len(left) > 0 && len(right) > 0; n++ {
		if compare(&left[0], &right[0]) <= 0 {
			scratch[n], left = left[0], left[1:]
		} else {
			scratch[n], right = right[0], right[1:]
		}
	}
	n += copy(scratch[n:], left)
	// What is left on the right already stands where it belongs.
	copy(list, scratch[:n])
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
