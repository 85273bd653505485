// Package restart proves that sessions outlive the process: real traffic through a director that is killed, started
// again, and replaced by a new one while it runs.
//
// ULVS_FULL=1 makes it a million sessions.
//
// It owns the traffic and the counting of what got lost. The lab is package lab's.
package restart
