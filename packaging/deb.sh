#!/bin/sh
# Builds bin/ulvs_VERSION_ARCH.deb: deb.sh VERSION. Needs Go only: nfpm is a Go program, its version pinned here.
set -eu
cd "$(dirname "$0")/.."
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.48.0
# A tag v1.2 is Debian's 1.2, v1.2-3-gabc is 1.2+3.gabc; without a tag the commit's time orders the versions.
case $1 in
v[0-9]*.* | [0-9]*.*) DEB_VERSION=$(echo "$1" | sed -E 's/^v//; s/-([0-9]+)-g/+\1.g/; s/-dirty$/+dirty/; s/-/~/g') ;;
*) DEB_VERSION=0~$(git log -1 --date=format:%Y%m%d%H%M%S --format=%cd).$(echo "$1" | tr -- - .) ;;
esac
DEB_ARCH=$(go env GOARCH)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export DEB_VERSION DEB_ARCH SOURCE_DATE_EPOCH

out=bin/package
rm -rf $out
mkdir -p $out
bin/ulvs man $out/man
gzip -9n $out/man/*.8
bin/ulvs completion bash >$out/ulvs.bash
bin/ulvs completion zsh >$out/_ulvs
bin/ulvs completion fish >$out/ulvs.fish
go run ./packaging/sbom bin/ulvs "$DEB_VERSION" >$out/sbom.json
deb=bin/ulvs_${DEB_VERSION}_$DEB_ARCH.deb
GOFLAGS='' go run $nfpm package --config packaging/nfpm.yaml --packager deb --target "$deb" >$out/nfpm.log 2>&1 ||
	{ cat $out/nfpm.log >&2; exit 1; }
echo "$deb"
