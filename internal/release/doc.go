// Package release stores words that publish what was stored before them, as cheaply as the machine can.
//
// It owns one function. It does not load: whoever reads such a word does so by sync/atomic.
package release
