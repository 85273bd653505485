// Package arch holds the architecture: which package may import which, and why.
//
// It owns the import table of the whole module (table.go) and the rules that are checked with it: where unsafe
// is allowed, which third-party module is wanted by whom (docs/imports.txt), that nothing shipped
// depends on test helpers. It does not look inside functions; test/tidy does.
package arch
