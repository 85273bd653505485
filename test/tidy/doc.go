// Package tidy checks that the source reads as the house style asks: formatted, short
// functions, files and lines, documented packages and names, no loose ends, links that resolve.
//
// It owns those rules and their limits. It does not judge imports (test/arch), nor what the
// code does (vet, staticcheck, the tests beside it).
package tidy
