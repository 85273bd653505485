// Package keep holds files of a director while there is no director: the memory of its connection table, which so
// outlives a crash, a restart or an upgrade.
//
// It owns a small protocol over a unix socket with descriptors in its messages, the process that holds them (Serve,
// run as ulvs keep), its client, and the same by way of systemd's store of descriptors. It does not look into
// what it keeps.
//
// # Protocol
//
// Messages are JSON over a SOCK_SEQPACKET socket, each request answered by one reply:
//
//	{"do":"list"}                              {"names":["a","b"]} and their descriptors, in this order
//	{"do":"store","name":"a"} + descriptor     {}
//	{"do":"forget","name":"a"}                 {}
//	{"do":"stay","seconds":300}                {}    how long to stay when the last client is gone without a word
//	{"do":"leave","seconds":60}                {}    the same, of a client that ends in order; 0: end with it
//
// A reply with "error" refuses. Only processes of the keeper's own user, or root, are served.
package keep
