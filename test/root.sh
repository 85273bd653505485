# Sourced by scripts that need root and Debian packages. Becomes root by itself.

# become_root SCRIPT ARGS...: returns as root, or runs SCRIPT again as root and exits.
become_root() {
	[ "$(id -u)" -eq 0 ] && return
	keep="PATH=$PATH GOPATH=$(go env GOPATH) GOCACHE=$(go env GOCACHE) GOFLAGS=$(go env GOFLAGS) GOPROXY=$(go env GOPROXY)"
	if command -v sudo >/dev/null 2>&1; then
		# shellcheck disable=SC2086
		exec sudo env $keep IPV6="${IPV6:-}" "$@"
	fi
	if command -v su >/dev/null 2>&1; then
		exec su -c "env $keep IPV6='${IPV6:-}' $*"
	fi
	echo "this needs root: run it as root, or install sudo" >&2
	exit 1
}

# need COMMAND=PACKAGE...: installs the packages whose commands are missing.
need() {
	missing=""
	for pair in "$@"; do
		command -v "${pair%%=*}" >/dev/null 2>&1 || missing="$missing ${pair#*=}"
	done
	[ -z "$missing" ] && return
	echo "installing:$missing"
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2086
	apt-get install -y --no-install-recommends $missing >/dev/null 2>&1 ||
		{ apt-get update >/dev/null && apt-get install -y --no-install-recommends $missing >/dev/null; } ||
		{ echo "cannot install$missing: install them by hand" >&2; exit 1; }
}
