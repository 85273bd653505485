// Package top is a live view of a running director in a terminal, as top is of processes.
//
// It owns the screen: what stands where, keys, raw mode, resizing. It asks the director through a
// Source, which control.Client is, and decides nothing.
package top
