// Package decap unpacks IP-in-IP on real servers whose kernel has neither ipip nor
// ip6_tunnel: a small XDP program strips the outer header.
//
// It owns the program (bpf/decap.c, compiled into this package, so that building
// needs no clang) and its counters. It answers nothing, encapsulates nothing, and
// is no part of a director: "ulvs realserver setup" attaches it, and so does the lab.
package decap

// The object carries BTF (the maps need it) and no DWARF, so it names no machine.
//go:generate -command bpf go tool bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -go-package decap
//go:generate bpf program bpf/decap.c -- -O2 -Wall -Werror -I/usr/include/x86_64-linux-gnu
