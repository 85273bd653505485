#!/bin/sh
# Runs every test: make test. Needs Go and make; becomes root and installs the rest.
set -eu
cd "$(dirname "$0")/.."
. test/root.sh
become_root "$PWD/test/all.sh" "$@"
find_go
need git=git ip=iproute2 ethtool=ethtool iperf3=iperf3 keepalived=keepalived nft=nftables nginx=nginx-light \
	gcc="gcc libc6-dev" tmux=tmux systemd-analyze=systemd
command -v chromium >/dev/null || command -v google-chrome >/dev/null || # the dashboard's test
	need chromium-headless-shell=chromium-headless-shell
git config --global --get-all safe.directory 2>/dev/null | grep -qxF "$PWD" || [ "$(stat -c %u .)" = "$(id -u)" ] ||
	export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0="$PWD"

# Random tests are the same wherever a commit is tested, and others for another one: what fails is seen again.
seed=$(git rev-parse --short=12 HEAD 2>/dev/null || echo 1)
export ULVS_SEED="${ULVS_SEED:-$((0x$seed))}"

# Packages whose tests build labs run one after the other, and find the binary that they are about.
labs=$(grep -rlF '"ulvs/test/lab' --include='*_test.go' test | grep -v '^test/arch/' | xargs -n1 dirname | sort -u |
	sed 's|^|ulvs/|')
others=$(go list ./... | grep -vxF "$labs")

began=$(date +%s)
say() {
	now=$(($(date +%s) - began))
	printf '\n== %s (at %d:%02d)\n' "$*" $((now / 60)) $((now % 60))
}
status=0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
log=$dir/log
failed() {
	echo "  failed: $*" >>"$log.failed"
	status=1
}

# tests NAME FLAGS AND PACKAGES...: runs them, and keeps what test/report says of them. go vet was there already.
tests() {
	name=$1
	shift
	go test -json -count=1 -vet=off -timeout 6m "$@" 2>&1 | go run ./test/report >"$log.$name" || status=1
	cat "$log.$name"
}

say "static: gofmt, vet, staticcheck, architecture, sizes"
make -s check || failed "make check: see above"

say "build"
as_caller make -s build
cp bin/ulvs "$dir/ulvs" # where root needs no privilege to run it: it gives those up
export ULVS_TEST_BINARY="$dir/ulvs"

# A skip of what needs the kernel, or a program that is installed above, is a failure.
require=${ULVS_REQUIRE:-}
export CGO_ENABLED=0 ULVS_REQUIRE=netns,afxdp,browser,tmux,systemd
say "unit and pipelines; seed $ULVS_SEED"
# shellcheck disable=SC2086
tests unit -p 2 $others

say "the lab with real AF_XDP"
# shellcheck disable=SC2086
tests lab -p 1 $labs

say "race detector"
export CGO_ENABLED=1 ULVS_REQUIRE="$require"
# shellcheck disable=SC2046
tests race -race -short -shuffle "$ULVS_SEED" -p 2 $(go list ./... | grep -vE "^ulvs/(test|packaging)")
export CGO_ENABLED=0

say "fuzz smoke: each target ${FUZZTIME:-10000x}"
FUZZTIME=${FUZZTIME:-10000x} test/fuzz.sh || failed "test/fuzz.sh: see above"

say "benchmarks, once each, so that none rots"
go test -short -vet=off -run '^$' -bench . -benchtime 1x ./packet ./sched ./conntrack ./dataplane ./health \
	./bench/... >"$log.bench" 2>&1 || { cat "$log.bench"; failed "benchmarks: see above"; }
grep -c '^Benchmark' "$log.bench" | sed 's/$/ benchmarks ran/'

printf '\nall of it took %d s\n' $(($(date +%s) - began))
total() { cat "$log.unit" "$log.lab" "$log.race" | awk -v k="$1" '$2 == "passed," { n += $k } END { print n + 0 }'; }
passed=$(total 1) failed=$(total 3) skipped=$(total 5)
[ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
cat "$log".* | grep '^  failed: ' || true
echo "$passed passed, $failed failed, $skipped skipped"
exit "$status"
