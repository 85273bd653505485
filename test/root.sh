# Sourced by scripts that need Go, root and Debian packages; the working directory is the
# repository's. Works in sh and bash.

# Variables that a script run again as root still has to know. BIN is a ulvs that is built already.
GO_KEPT="GOFLAGS GOPROXY GONOSUMDB GOSUMDB GOTOOLCHAIN GOMODCACHE"
KEPT="PATH PACKAGES ULVS_IMAGE ULVS_SUITE CALLER IPV6 BIN KEEP METHODS FUZZTIME ULVS_SEED ULVS_VECTORS $GO_KEPT"

# find_go makes go a command, from where the Go archive puts it, and gives it a home for its caches.
find_go() {
	[ -n "${HOME:-}" ] || { HOME=$(getent passwd "$(id -u)" | cut -d: -f6); export HOME; }
	PATH=$PATH:/usr/local/go/bin:/usr/sbin:/sbin
	export PATH
	command -v go >/dev/null && return
	echo "no go found: install Go 1.26 (https://go.dev/dl) and try again" >&2
	exit 1
}

# become_root SCRIPT ARGS...: returns as root, or runs SCRIPT again as root and exits. Modules are
# fetched before, as whoever called: root only reads them there.
become_root() {
	[ "$(id -u)" != 0 ] || return 0
	CALLER=$(id -un)
	if [ -z "${BIN:-}" ]; then
		find_go
		go mod download || exit 1
		for name in $GO_KEPT; do
			eval "$name=\$(go env $name)"
		done
	fi
	for name in $KEPT; do
		eval "value=\${$name:-}"
		[ -z "$value" ] || set -- "$name=$value" "$@"
	done
	if command -v sudo >/dev/null; then
		exec sudo env "$@"
	fi
	command -v su >/dev/null || { echo "this needs root, and there is neither sudo nor su" >&2; exit 1; }
	echo "This needs root. There is no sudo, so su asks for root's password." >&2
	exec su root -c "env $(quoted "$@")"
}

# quoted ARGS... prints them for a shell to read again.
quoted() {
	for arg; do
		printf "'%s' " "$(printf %s "$arg" | sed "s/'/'\\\\''/g")"
	done
}

# as_caller COMMAND...: as whoever became root, if the repository is theirs, so that no file of theirs
# becomes root's. Root may not ask git about somebody else's repository either.
as_caller() {
	caller=${CALLER:-${SUDO_USER:-root}}
	if [ "$caller" != root ] && [ "$(stat -c %U .)" = "$caller" ]; then
		set -- HOME="$(getent passwd "$caller" | cut -d: -f6)" "$@"
		runuser -u "$caller" -- env PATH="$PATH" "$@"
		return
	fi
	env "$@"
}

# need COMMAND=PACKAGES...: installs the packages whose commands are missing.
need() {
	missing=""
	for pair; do
		command -v "${pair%%=*}" >/dev/null || missing="$missing ${pair#*=}"
	done
	[ -n "$missing" ] || return 0
	echo "installing:$missing"
	export DEBIAN_FRONTEND=noninteractive
	policy=/usr/sbin/policy-rc.d
	[ ! -e $policy ] || policy=
	# What is installed is not started: a web server would listen on the host, and nobody asked for that.
	[ -z "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy; }
	installed=yes
	# shellcheck disable=SC2086
	apt-get install -y --no-install-recommends $missing >/dev/null 2>&1 ||
		{ apt-get update >/dev/null && apt-get install -y --no-install-recommends $missing >/dev/null; } ||
		{ sleep 20 && apt-get update >/dev/null && # a mirror that had a bad moment
			apt-get install -y --no-install-recommends $missing >/dev/null; } || installed=
	[ -z "$policy" ] || rm -f $policy
	[ -n "$installed" ] || { echo "cannot install$missing: install them by hand" >&2; exit 1; }
}
