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
# What runs here is built for here; what is packed may be for another architecture (GOARCH=arm64 make deb).
here() {
	GOARCH='' GOOS='' go "$@"
}
tool=bin/ulvs
if [ "$DEB_ARCH" != "$(go env GOHOSTARCH)" ]; then
	tool=$out/ulvs-here
	here build -trimpath -ldflags "-s -w -X main.linked=$1" -o $tool ./cmd/ulvs
fi
$tool man $out/man
gzip -9n $out/man/*.8
$tool completion bash >$out/ulvs.bash
$tool completion zsh >$out/_ulvs
$tool completion fish >$out/ulvs.fish
here run ./packaging/sbom bin/ulvs "$DEB_VERSION" >$out/sbom.json
find $out -exec touch -d "@$SOURCE_DATE_EPOCH" {} + # two builds of one commit are the same, byte for byte
deb=bin/ulvs_${DEB_VERSION}_$DEB_ARCH.deb
GOFLAGS='' here run $nfpm package --config packaging/nfpm.yaml --packager deb --target "$deb" >$out/nfpm.log 2>&1 ||
	{ cat $out/nfpm.log >&2; exit 1; }
echo "$deb"
