// Package benches tries the benchmarks that need a built ulvs, and most of them a lab: that each has a row for
// every case and a figure in every column, and fails when the traffic was not ulvs's. Which figures is no matter
// of tests. The benchmarks in memory are tried beside their packages.
package benches
