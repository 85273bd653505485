// Package gossip keeps directors informed of each other: who is there, who claims which VIP, and
// every session, so that any of them can go on where another one stopped.
//
// It owns the one port that directors talk on. Every datagram and every stream is authenticated
// before anything else looks at it (seal.go, stream.go). Behind that, memberlist does membership,
// failure detection, claims and states; sessions ride in lanes of their own (wire.go), because
// memberlist's broadcasts end at 25 000 a second.
//
// What is replicated and repaired when is decided by Core, a pure machine: Step(now, event)
// returns actions, so that a simulator runs the same code. Node is its hands: sockets, goroutines,
// the clock. It does not know services and real servers (dataplane.Replica does), nor
// decide who holds a VIP (package ha does).
package gossip
