// Package testutil is what tests of several packages need: a network namespace of
// their own, a printed seed, ULVS_REQUIRE, an allocation check, a bounded wait.
//
// It owns the environment variables ULVS_REQUIRE and ULVS_SEED. It knows nothing
// of ulvs's own packages, and nothing but tests and benchmarks imports it.
package testutil
