#!/bin/sh
# Runs ulvs in guests with several queues: make qemu-test. Becomes root and installs what is missing.
set -eu
cd "$(dirname "$0")/.."
. test/root.sh
become_root "$PWD/test/qemu.sh" "$@"
find_go
need qemu-system-x86_64=qemu-system-x86 busybox=busybox-static cpio=cpio xz=xz-utils modprobe=kmod ip=iproute2 \
	ethtool=ethtool ipvsadm=ipvsadm
[ -n "$(apt-cache depends linux-image-amd64 2>/dev/null)" ] || apt-get update >/dev/null
ULVS_QEMU=1 ULVS_REQUIRE=netns CGO_ENABLED=0 go test -count=1 -timeout 60m -v "$@" ./test/qemu
