#!/usr/bin/env bash
# demo.sh: watch ulvs forward real HTTP and UDP, in all three LVS methods.
#
#   make demo            over IPv4
#   IPV6=1 make demo     the same over IPv6
#
# It needs root (and becomes it), installs Debian packages that are missing, builds
# bin/ulvs, makes a lab of network namespaces (prefix ulvs-demo), runs the director in
# it for DR, NAT and TUN in turn, and cleans up. Everything it starts is inside the
# namespaces it made; the host's own network is not touched.
#
#   BIN=path   use this ulvs and build nothing      KEEP=1   keep the logs
set -euo pipefail

cd "$(dirname "$0")/../.."
. test/root.sh
become_root "$PWD/test/demo/demo.sh" "$@"
[ -n "${BIN:-}" ] || find_go
. test/demo/lib.sh

one_at_a_time
trap 'finish $?' EXIT
trap 'exit 130' INT TERM

title "ulvs demo over $FAMILY: a client, a director with two NICs, three real servers"
step packages install_packages
step build build_ulvs
step lab lab_up
step servers servers_up

for method in ${METHODS:-dr nat tun}; do
	vip=$(vip_of "$method")
	title "${method^^}  VIP $vip"
	step director director_up "$method"
	step http drive_http "$vip"
	step transfers drive_transfers "$vip"
	step udp drive_udp "$vip"
	show sessions show_sessions
	show verdicts show_verdicts
	step af_xdp prove_af_xdp
	step kernel prove_kernel_idle
	[ "$method" != tun ] || step tunnel prove_tunnel
	step stopped director_down
done
title "All of it worked: ${METHODS:-dr nat tun} over $FAMILY, in $(elapsed) s"
