// Package health breaks real servers in the lab, in the ways that operators tell of, and looks at what becomes
// of them: the director in its own namespace with real AF_XDP, nginx on the real servers, clients that connect to
// the VIPs.
//
// It owns what each fault is, and how fast and by which name it has to be found. It does not judge how
// packets are forwarded (test/forward) or the logic of checks (package health).
package health
