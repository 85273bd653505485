// Package security looks at a running director from outside: which sockets it has, and what it may still do.
//
// It owns nothing. What docs/security.md promises is tried here, in test/debian under systemd, and beside the code.
package security
