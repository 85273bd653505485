package afxdp

// The steering program's object is committed, so that nobody needs clang to build
// ulvs. Only little-endian targets are built (amd64, arm64); steer.c relies on it.
// No folder name gets into the object: bpf2go strips DWARF and BTF keeps ./bpf/steer.c.

//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel steer bpf/steer.c -- -O2 -g -mcpu=v3
