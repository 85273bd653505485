// Package realserver makes a host serve behind a director: the VIPs on its loopback, silent in
// ARP, the unpacking of tunnels, the gateway of NAT. It finds what is wrong with a host that
// should, and takes back what it did.
//
// It owns what a real server needs (the parts), the findings and their codes, and the journal of
// what was there before. It decides nothing about services, runs on no director, and serves no
// traffic. Everything happens in the network namespace of the calling thread.
package realserver
