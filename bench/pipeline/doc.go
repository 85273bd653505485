// Package pipeline drives the data plane in memory: a worker, a connection table and a snapshot as a director
// has them, and in the place of interfaces a queue that makes 64-byte frames of random sessions as fast as it
// can. It needs no root, and no network.
//
// It owns that queue and the world around the worker. It does not time anything (package measure does), and it
// uses only what the data plane exports: its sessions are made by packets, as clients make them.
package pipeline
