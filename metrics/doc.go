// Package metrics shows a director's counters to Prometheus.
//
// It owns the names, units and labels of all series, and their number: real servers beyond a limit have none of
// their own, and a series says how many those are. It counts nothing itself: a scrape reads what
// the director publishes anyway, so that the data plane pays nothing.
package metrics

//go:generate go test -run TestTheDocumentIsCurrent -update .
