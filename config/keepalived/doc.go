// Package keepalived turns a keepalived.conf into ulvs's TOML.
//
// It owns keepalived's syntax (comments, quotes, includes, definitions, conditional lines, sequences, blocks), the
// tables of what each of its words is called in ulvs, and the account of what it found: every word of the input ends
// in a key of the output or in a Finding with file, line, column and reason. It reads files through Options alone,
// starts nothing, and decides nothing about the format that it writes: package config reads the result before anybody
// sees it, and what that refuses is commented out and reported in config's own words.
//
// The way: source.go reads files and hands out lines, expand.go resolves definitions and sequences in them, words.go
// and tree.go make statements and blocks, rules*.go and the map*.go beside them make tables of a document (toml.go),
// and accept.go has config judge it. Syntax and meaning are those of keepalived.conf(5) of keepalived 2.2.
package keepalived
