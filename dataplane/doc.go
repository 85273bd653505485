// Package dataplane moves packets: a Worker takes batches of frames from its
// Queue, finds or schedules their sessions, rewrites them in place and sends them.
//
// It owns the pipeline, the verdict of every frame and the three forwarding
// methods. It does not talk to the kernel (dataplane/afxdp does), does not read
// configuration, and learns everything it needs from an immutable Snapshot.
package dataplane
