// Command versus races ulvs against what people would use in its place: the kernel's own forwarding, nftables,
// nginx, HAProxy, an XDP program, keepalived. All run in turns in one lab, with the same client, the same
// servers, the same links, round after round; every run proves who carried the traffic. make versus runs it.
//
// It owns the contenders' set-up in the director's namespace, and takes it back. Measuring is bench/measure's,
// traffic bench/load's, the lab test/lab's.
package main

//go:generate -command bpf go tool bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -go-package main
//go:generate bpf redirect bpf/redirect.c -- -O2 -Wall -Werror -I/usr/include/x86_64-linux-gnu
