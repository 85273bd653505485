// Package sandbox takes privileges away from the running process: capabilities, the right to get new ones, system
// calls that a director never makes.
//
// It owns the lists of what stays and what goes, each with its reason. It does not know what a director does with
// them, and cannot give anything back. Children inherit what is left.
package sandbox
