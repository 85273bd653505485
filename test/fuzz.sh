#!/bin/sh
# Runs every fuzz target for FUZZTIME each: a time, or a count such as 10000x. Counts are better: go test
# sometimes calls the end of a time a failure (context deadline exceeded). A package is built once, and as many
# packages run at once as there are CPUs, each target on one.
set -eu
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export FUZZTIME="${FUZZTIME:-10000x}" FUZZ_DIR="$dir" FUZZ_CACHE="$(go env GOCACHE)/fuzz"

# one PACKAGE: builds its tests for fuzzing, and runs each target.
one='
pkg=$1 bin=$FUZZ_DIR/$(echo "$1" | tr / _) status=0
go test -c -vet=off -ldflags="-s -w" -fuzz=Fuzz -o "$bin" "./$pkg" ||
	{ echo "  FAIL $pkg: its fuzz targets do not build"; exit 1; }
cd "$pkg"
for target in $("$bin" -test.list "^Fuzz"); do
	mkdir -p "$FUZZ_CACHE/ulvs/$pkg"
	if out=$("$bin" -test.run "^\$" -test.fuzz "^$target\$" -test.fuzzcachedir "$FUZZ_CACHE/ulvs/$pkg" \
		-test.fuzztime "$FUZZTIME" -test.fuzzminimizetime 20x -test.parallel 1 2>&1); then
		runs=$(echo "$out" | sed -nE "s/.*execs: ([0-9]+) .*/\1 runs/p" | tail -1)
		printf "  ok   %-40s %s\n" "$pkg.$target" "$runs"
	else
		printf "%s\n  FAIL %s\n" "$out" "$pkg.$target"
		status=1
	fi
done
rm -f "$bin"
exit $status'

packages=$(grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | sed 's|^\./||')
{ echo "$packages" | xargs -n1 -P "$(nproc)" sh -c "$one" one || touch "$dir/failed"; } | tee "$dir/said"
echo "$(grep -cE '^  (ok  |FAIL) ' "$dir/said") fuzz targets"
[ ! -e "$dir/failed" ]
