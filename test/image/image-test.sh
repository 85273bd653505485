#!/bin/sh
# Builds the disk image and boots it on emulated machines: the second half of make image-test. Becomes root and installs
# what is missing; ULVS_IMAGE takes an image that is there already.
set -eu
cd "$(dirname "$0")/../.."
. test/root.sh
become_root "$PWD/test/image/image-test.sh" "$@"
find_go
need qemu-system-x86_64=qemu-system-x86 mtype=mtools ip=iproute2
ovmf=/usr/share/OVMF/OVMF_CODE_4M.fd
[ -e $ovmf ] || need $ovmf=ovmf
if [ -z "${ULVS_IMAGE:-}" ]; then
	version=9000.1
	ULVS_IMAGE=$PWD/bin/ulvs-$version.img
	trap 'rm -f bin/ulvs-$version.img bin/ulvs-$version.qcow2' EXIT
	make -s build image VERSION=$version
fi
export ULVS_IMAGE
ULVS_REQUIRE=netns CGO_ENABLED=0 go test -count=1 -timeout 60m -v "$@" ./test/image
