#!/bin/sh
# Installs, runs, upgrades and purges the package in a Debian: make image-test. The root is made once and kept in the
# cache of whoever runs this; ULVS_SUITE chooses another Debian.
set -eu
cd "$(dirname "$0")/../.."
. test/root.sh
become_root "$PWD/test/debian/image-test.sh" "$@"
find_go
need mmdebstrap=mmdebstrap systemd-nspawn=systemd-container ip=iproute2 nsenter=util-linux
suite=${ULVS_SUITE:-bookworm}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ulvs
tar=$cache/debian-$suite.tar
if [ ! -e "$tar" ]; then
	echo "making a Debian $suite, once: $tar"
	mkdir -p "$cache"
	# From where this machine has its packages, if it says so in a way that we can read.
	mirror=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null |
		sed -n 's/^URIs: *//p; s/^deb  *\(http[^ ]*\).*/\1/p' | head -1)
	mmdebstrap --quiet --format=tar --variant=minbase \
		--include=systemd,systemd-sysv,dbus,iproute2,man-db,init-system-helpers,procps,passwd \
		"$suite" "$tar.new" ${mirror:+"$mirror"}
	mv "$tar.new" "$tar"
fi
package() {
	make -s build VERSION="$1"
	packaging/deb.sh "$1"
}
old=$(package 9000.0)
new=$(package 9000.1)
ULVS_DEBIAN_ROOT=$tar ULVS_DEB_OLD=$PWD/$old ULVS_DEB_NEW=$PWD/$new \
	go test -tags debian -count=1 -timeout 10m -v ./test/debian
