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

say() { printf '\n== %s\n' "$*"; }
status=0
log=$(mktemp)
trap 'rm -f "$log" "$log".*' EXIT
begin=$(date +%s)

say "static: gofmt, vet, staticcheck, architecture, sizes"
make -s check || status=1

say "build"
as_caller make -s build

# Only packages that use the kernel get the requirement: a skip there is a failure.
say "unit, pipelines, and the lab with real AF_XDP"
ULVS_REQUIRE=netns,afxdp,browser,tmux,systemd CGO_ENABLED=0 go test -json -count=1 -p 1 -timeout 6m ./... 2>&1 |
	go run ./test/report >"$log" || status=1
cat "$log"

say "race detector"
CGO_ENABLED=1 go test -json -race -short -shuffle=on -p 2 -timeout 6m $(go list ./... | grep -v /test/) 2>&1 |
	go run ./test/report >"$log.race" || status=1
cat "$log.race"

say "fuzz smoke: each target ${FUZZTIME:-10000x}"
FUZZTIME=${FUZZTIME:-10000x} test/fuzz.sh || status=1

say "benchmarks, once each, so that none rots"
go test -short -run '^$' -bench . -benchtime 1x ./packet ./sched ./conntrack ./dataplane ./health ./bench/... \
	>"$log.bench" 2>&1 ||
	{ cat "$log.bench"; status=1; }
grep -c '^Benchmark' "$log.bench" | sed 's/$/ benchmarks ran/'

printf '\nall of it took %d s\n' $(($(date +%s) - begin))
total() { cat "$log" "$log.race" | awk -v k="$1" '$2 == "passed," { n += $k } END { print n + 0 }'; }
passed=$(total 1) failed=$(total 3) skipped=$(total 5)
[ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
echo "$passed passed, $failed failed, $skipped skipped"
exit "$status"
