// Package route answers "which link, which next hop, which MAC address" from the
// kernel's own routes and neighbours, read over netlink and kept current by
// subscription, so that ulvs follows ip(8), FRR and DHCP without configuration.
//
// It owns the netlink sockets and the immutable State that the Watcher publishes after
// every batch of events. It changes nothing in the kernel but neighbours, and those
// only by asking (Ask, Refresh) or by what an ARP request told (Learn). It knows no
// service and no frame, and it does not decide what to do without a next hop.
//
// What the kernel does and this does not: policy rules and tables other than local
// and main (a warning is logged once), TOS routes, source-specific IPv6
// routes, path MTU exceptions, router preference. Of a multipath route the next
// hop of the greatest weight is used, the first among equals.
package route
