// Package forward tests the truth: the ulvs binary in a lab of namespaces, real AF_XDP
// sockets, real TCP and UDP clients and servers, every method, family and backend.
//
// It owns the start and stop of directors under test and the proof that they, not
// the kernel, carried the traffic. The lab itself is package lab's.
package forward
