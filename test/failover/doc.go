// Package failover tests takeovers of VIPs with real directors, real keepalived and real traffic in
// a lab: who is MASTER, how long nobody was, and that split and healing leave one.
//
// It owns the processes it starts and the faults it makes. It needs root, and keepalived for
// the tests beside one. The rules of takeover are tested without a network in ha and test/sim.
package failover
