package config

import _ "embed" // for the example file

// example is config/example.toml.
//
//go:embed example.toml
var example string

// Example returns a commented configuration that shows every key.
func Example() string { return example }
