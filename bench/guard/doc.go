// Command guard tells whether the data plane became slower than it was: make bench-compare. Each case runs in
// turns with a control, a fixed piece of work on as much memory with the same kind of accesses, on the same core,
// a few hundredths of a second each; what is compared with the baseline is the ratio of the two, in CPU time. A
// machine that is busy, or another one of its class, slows both.
//
// It owns the cases, the control and the verdict. The baseline is bench/baseline/guard.json; make bench-save
// writes it anew.
package main
