// Package measure holds what every benchmark of ulvs has in common: the result with the machine and the
// settings it was got on, samples and their spread, CPU time beside wall time, how much others used the
// machine meanwhile, the table, the plot, and the comparison of two results.
//
// It measures nothing of ulvs itself: bench/pipeline, bench/table and their neighbours do.
package measure
