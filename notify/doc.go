// Package notify tells others of events: it runs a script or posts to a webhook for each.
//
// It owns how an event is handed over (environment, arguments, JSON, signature) and what happens
// when that takes long or fails: time limits, retries with growing pauses, events given up and counted. It
// does not decide what is an event, and nobody waits for it: it reads the journal along.
package notify
