// Package health finds out which real servers are fit for service.
//
// It owns what a check is ([Spec], with keepalived's words and defaults), how each kind of
// check asks a server, the pure machine that turns answers into states of real servers and quorums of
// services, and the [Engine] that keeps the checks of many servers running. It does not
// forward, know frames or parse configuration: probes leave through a [Dialer], and what
// follows from a change is the director's business.
package health
