#!/bin/sh
# Races ulvs against other forwarders: make versus. Needs Go; becomes root and installs the others.
# ROUNDS=1: quick. ONLY=nat: part of them. OUT=folder: JSON and plots. NICE=-20: ahead of whatever else runs here.
set -eu
cd "$(dirname "$0")/../.."
. test/root.sh
KEPT="$KEPT ROUNDS ONLY OUT NICE"
become_root "$PWD/test/versus/versus.sh" "$@"
find_go
need ip=iproute2 ethtool=ethtool iperf3=iperf3 nft=nftables nginx=nginx-light haproxy=haproxy keepalived=keepalived
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || need ngx-stream=libnginx-mod-stream
as_caller make -s build
race=$(mktemp)
trap 'rm -f "$race"' EXIT
go build -o "$race" ./test/versus
nice -n "${NICE:-0}" "$race" -rounds "${ROUNDS:-3}" -only "${ONLY:-}" -o "${OUT:-}"
