// Package differential drives the real pipeline and a slow model of IPVS with the same random commands,
// settings, packets and jumps of the clock, and says where the two differ.
//
// It owns the model (model*.go), written from the description of IPVS and not from our code: lists in the
// kernel's order, maps, whole packets decoded, changed and encoded anew, checksums summed up over all bytes,
// TCP states by table, one clock. It owns the driver (steps, runs, shrinking a failure to few steps). The
// director in the middle is conformance's: a real node, workers on memqueue, the ipvsadm front end. What the
// model leaves out is listed in README.md of this folder.
//
//	make differential STEPS=1000000 SEED=1
package differential
