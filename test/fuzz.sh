#!/bin/sh
# Runs every fuzz target for FUZZTIME each: a time, or a count such as 10000x. Counts are better: go test
# sometimes calls the end of a time a failure (context deadline exceeded).
set -eu
cd "$(dirname "$0")/.."
status=0 n=0
for file in $(git grep -lE '^func Fuzz' -- '*_test.go'); do
	for target in $(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*).*/\1/p' "$file"); do
		n=$((n + 1))
		if out=$(go test "./$(dirname "$file")" -run '^$' -fuzz "^$target\$" \
			-fuzztime "${FUZZTIME:-10000x}" -fuzzminimizetime 20x 2>&1); then
			runs=$(echo "$out" | sed -nE 's/.*execs: ([0-9]+) .*/\1 runs/p' | tail -1)
			printf '  ok   %-40s %s\n' "$(dirname "$file").$target" "$runs"
		else
			echo "$out"
			status=1
		fi
	done
done
echo "$n fuzz targets"
exit $status
