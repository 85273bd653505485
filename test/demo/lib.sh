# lib.sh: what demo.sh is made of. Sourced, from the repository's root.
#
# A step prints one line: what it did, in the words it prints on its last line. When it
# fails, the demo ends with the step's whole output and the place of the logs.

PREFIX=ulvs-demo
BIN_GIVEN=${BIN:-}
BIN=${BIN:-bin/ulvs}
REQUESTS=30      # of HTTP, each on its own connection, and of UDP, each its own flow
TRANSFERS=12     # of 1 MiB
CROWD=300        # connections at the same time
# Packets that all this sends at the least: five of a TCP connection (SYN, ACK, request,
# ACK, FIN), one datagram.
LEAST=$(((REQUESTS + TRANSFERS + CROWD) * 5 + REQUESTS))
WAIT=15          # seconds, for anything to become ready
STARTED=$SECONDS
RUN=$(mktemp -d /tmp/ulvs-demo.XXXXXX)
DIRECTOR=
SERVERS=
POLICY=/usr/sbin/policy-rc.d # asked by Debian packages before they start a service
POLICY_OURS=

if [ "${IPV6:-0}" = 1 ]; then FAMILY=IPv6; else FAMILY=IPv4; fi
if [ -t 1 ]; then BOLD=$'\e[1m' GREEN=$'\e[32m' RED=$'\e[31m' PLAIN=$'\e[0m'; else BOLD= GREEN= RED= PLAIN=; fi

# ---- saying what happens

elapsed() { echo $((SECONDS - STARTED)); }
title() { printf '\n%s%s%s\n' "$BOLD" "$*" "$PLAIN"; }
line() { printf '  %s%-10s%s %s\n' "$1" "$2" "$PLAIN" "$3"; }

# step NAME COMMAND...: its last line of output is its result. It runs in this shell,
# so that it can remember what it started.
step() {
	local name=$1 out
	shift
	out=$RUN/step.log
	if "$@" >"$out" 2>&1; then
		line "$GREEN" "$name" "$(tail -n 1 "$out")"
	else
		line "$RED" "$name" "FAILED: $*"
		tail -n 25 "$out" | sed 's/^/    /'
		exit 1
	fi
}

# show NAME COMMAND...: all of its output is the result.
show() {
	local name=$1 out
	shift
	out=$RUN/step.log
	"$@" >"$out" 2>&1 || { line "$RED" "$name" "FAILED: $*"; sed 's/^/    /' "$out"; exit 1; }
	line "$GREEN" "$name" "$(head -n 1 "$out")"
	tail -n +2 "$out" | sed 's/^/             /'
}

fail() { echo "$*"; return 1; }

# ---- beginning and end

one_at_a_time() {
	exec 9>/run/ulvs-demo.lock
	flock -n 9 || { rm -rf "$RUN"; echo "Another demo is running." >&2; exit 1; }
}

# finish cleans up, whatever happened; it may itself be interrupted and loses nothing.
finish() {
	local status=$1
	trap - EXIT
	trap '' INT TERM
	drop_policy
	[ -z "$DIRECTOR" ] || kill -TERM "$DIRECTOR" 2>/dev/null || true
	# Ends what still runs in the namespaces as well.
	[ ! -x "$BIN" ] || "$BIN" lab down --prefix "$PREFIX" >/dev/null 2>"$RUN/down.log" 9>&- || {
		line "$RED" cleanup "FAILED: $(cat "$RUN/down.log")"
		[ "$status" != 0 ] || status=1
	}
	if { [ "$status" = 0 ] || [ "$status" = 130 ]; } && [ -z "${KEEP:-}" ]; then
		rm -rf "$RUN"
	else
		line "$BOLD" logs "$RUN"
	fi
	exit "$status"
}

# ---- packages and the build

# package_of COMMAND names the Debian package that has it.
package_of() {
	case $1 in
	ip) echo iproute2 ;;
	nginx) echo nginx-light ;;
	*) echo "$1" ;;
	esac
}

install_packages() {
	local cmd missing=()
	for cmd in ip curl jq nginx make; do
		PATH=$PATH:/usr/sbin:/sbin command -v "$cmd" >/dev/null || missing+=("$(package_of "$cmd")")
	done
	PATH=$PATH:/usr/sbin:/sbin
	if [ ${#missing[@]} = 0 ]; then
		echo "nothing missing"
		return
	fi
	command -v apt-get >/dev/null || fail "please install: ${missing[*]}" || return
	if apt_install "${missing[@]}" || { apt-get update -q && apt_install "${missing[@]}"; }; then
		echo "installed ${missing[*]}"
		return
	fi
	without_nginx
}

# apt_install installs without recommendations and without starting services: nginx
# would listen on the host, and nobody asked for that. The script that says so is put
# away again (by finish, if the demo is interrupted).
apt_install() {
	local rc=0
	if [ ! -e $POLICY ]; then
		POLICY_OURS=1
		printf '#!/bin/sh\nexit 101\n' >$POLICY
		chmod +x $POLICY
	fi
	DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@" || rc=$?
	drop_policy
	return $rc
}

drop_policy() {
	[ -z "$POLICY_OURS" ] || rm -f $POLICY
	POLICY_OURS=
}

# without_nginx goes on with ulvs's own web server when only nginx is not to be had.
without_nginx() {
	local cmd
	for cmd in ip curl jq make; do
		command -v $cmd >/dev/null || fail "cannot install $(package_of $cmd): is there a network?" || return
	done
	echo "nginx is not to be had; going on with ulvs's own web server"
}

build_ulvs() {
	if [ -z "$BIN_GIVEN" ]; then
		as_caller GOFLAGS="${GOFLAGS:-} -buildvcs=false" MAKEFLAGS= make -s build || return
	fi
	echo "$BIN, $(($(stat -c %s "$BIN") / 1048576)) MiB, static"
}

# ---- the lab and its real servers

in_ns() {
	local ns=$1
	shift
	ip netns exec "$PREFIX-$ns" "$@"
}

lab() { "$BIN" lab "$@" 9>&-; }

lab_up() {
	local queues=1
	[ "$(nproc)" -lt 2 ] || queues=2
	lab down --prefix "$PREFIX" || return
	lab up --prefix "$PREFIX" --queues $queues --json >"$RUN/lab.json" || return
	echo "$(jq '.namespaces | length' "$RUN/lab.json") namespaces, two bridges; $queues queues on each director NIC"
}

# address FILTER reads the address plan, in the family of this run.
address() { jq -r ".addresses.$1.${FAMILY,,}" "$RUN/lab.json"; }

vip_of() { address "$1"; }

# at ADDRESS PORT
at() { case $1 in *:*) echo "[$1]:$2" ;; *) echo "$1:$2" ;; esac; }

servers_up() {
	local r web="ulvs's own web server"
	SERVERS=$(jq -r '.addresses.real_servers[].name' "$RUN/lab.json")
	lab payload --bytes 1048576 >"$RUN/payload"
	chmod 755 "$RUN"
	for r in $SERVERS; do
		if command -v nginx >/dev/null; then
			web=$(nginx -v 2>&1 | sed 's/.*: //')
			nginx_config "$r" >"$RUN/$r.conf"
			mkdir -p "$RUN/$r"
			in_ns "$r" nginx -p "$RUN/$r" -e "$RUN/$r.log" -c "$RUN/$r.conf" >"$RUN/$r.log" 2>&1 9>&- &
			in_ns "$r" "$BIN" lab serve --name "$r" --tcp :7 --udp :7 >"$RUN/$r.echo" 2>&1 9>&- &
		else
			in_ns "$r" "$BIN" lab serve --name "$r" --http :80 --tcp :7 --udp :7 >"$RUN/$r.echo" 2>&1 9>&- &
		fi
	done
	for r in $SERVERS; do
		await "the servers on $r" server_ready "$r" || { cat "$RUN/$r.log" "$RUN/$r.echo"; return 1; }
	done
	echo "$web and a UDP echo on" $SERVERS
}

# server_ready asks the real server over its direct address, past the director.
server_ready() {
	local direct
	direct=$(jq -r ".addresses.real_servers[] | select(.name == \"$1\").direct.${FAMILY,,}" "$RUN/lab.json")
	grep -q ready "$RUN/$1.echo" && in_ns c1 curl -gsf -m 2 "http://$(at "$direct" 80)/" >/dev/null
}

# nginx_config NAME: its body names the server; /bytes is what our client verifies.
nginx_config() {
	cat <<-END
		daemon off;
		master_process off;
		worker_processes 1;
		pid $RUN/$1/pid;
		events { worker_connections 2048; }
		http {
		    access_log off;
		    default_type text/plain;
		    client_body_temp_path $RUN/$1/body; proxy_temp_path $RUN/$1/proxy;
		    fastcgi_temp_path $RUN/$1/fastcgi; uwsgi_temp_path $RUN/$1/uwsgi; scgi_temp_path $RUN/$1/scgi;
		    server {
		        listen 80 backlog=1024;
		        listen [::]:80 backlog=1024;
		        add_header X-Real-Server $1;
		        location = / { return 200 "$1\n"; }
		        location = /bytes { alias $RUN/payload; }
		    }
		}
	END
}

# await WHAT COMMAND...: until it succeeds, at most $WAIT seconds. Status 2 says that
# it never will.
await() {
	local what=$1 end=$((SECONDS + WAIT)) rc
	shift
	while true; do
		rc=0
		"$@" || rc=$?
		[ $rc != 0 ] || return 0
		[ $rc != 2 ] || fail "$what: ended at once" || return
		[ $SECONDS -lt $end ] || fail "waited $WAIT s for $what in vain" || return
		sleep 0.05
	done
}

# ---- the director

status() { "$BIN" status --json --socket "/run/ulvs-lab/$PREFIX-d1.sock"; }

conns() { "$BIN" conns --socket "/run/ulvs-lab/$PREFIX-d1.sock" "$@"; }

# director_up starts the real thing and returns when every worker runs the
# configuration and every real server's MAC address is known.
director_up() {
	local toml=$RUN/$1.toml
	LOG=$RUN/director-$1.log
	lab config --prefix "$PREFIX" --method "$1" --family "${FAMILY#IPv}" >"$toml" || return
	kernel_forwarded >"$RUN/forwarded"
	unpacked >"$RUN/unpacked"
	# Not by in_ns: $! has to be the director, not a shell around it.
	ip netns exec "$PREFIX-d1" "$BIN" run "$toml" >"$LOG" 2>&1 9>&- &
	DIRECTOR=$!
	await "the director (see $LOG)" director_ready || { cat "$LOG"; return 1; }
	status | jq -r '"pid \(.pid), \(.workers | length) workers; " +
		([.ports[] | "\(.name) \(.xdp_mode) \(.copy_mode)"] | join(", "))'
}

director_ready() {
	kill -0 "$DIRECTOR" 2>/dev/null || return 2
	status 2>/dev/null | jq -e '.generation as $g | (.workers | length > 0) and
		all(.workers[]; .generation >= $g) and all(.ports[]; .link_up) and
		.routing.next_hops > 0 and .routing.unresolved == 0' >/dev/null || return 1
}

director_down() {
	local rc=0 pid=$DIRECTOR
	kill -TERM "$pid"
	wait "$pid" || rc=$?
	DIRECTOR=
	[ $rc = 0 ] || { tail -n 20 "$LOG"; fail "the director ended with status $rc"; } || return
	! in_ns d1 ip -d link | grep -q 'prog/xdp' || fail "the director left its XDP program behind" || return
	echo "SIGTERM: drained, detached, status 0"
}

# ---- traffic

# by_server prints "r1 10  r2 10  r3 10" of names on lines, and fails when one is missing.
by_server() {
	sort "$1" | uniq -c | awk '{ printf "%s%s %d", sep, $2, $1; sep = "  " } END { print "" }'
}

# all_answered FILE COUNT: as many lines, and every real server among them.
all_answered() {
	local r n
	n=$(wc -l <"$1")
	[ "$n" = "$2" ] || fail "$n of $2 answered: $(by_server "$1")" || return
	for r in $SERVERS; do
		grep -qx "$r" "$1" || fail "$r never answered: $(by_server "$1")" || return
	done
}

drive_http() {
	local url
	url="http://$(at "$1" 80)/?[1-$REQUESTS]"
	# A new connection for each request, so that each is scheduled.
	in_ns c1 curl -sS -m 20 -H 'Connection: close' "$url" >"$RUN/answers" || return
	all_answered "$RUN/answers" $REQUESTS || return
	echo "$REQUESTS of $REQUESTS by curl: $(by_server "$RUN/answers")"
}

# client ARGS...: our own client, which verifies every byte, as JSON in $RUN/client.
client() { in_ns c1 "$BIN" lab client "$@" --json >"$RUN/client" || { cat "$RUN/client"; return 1; }; }

drive_transfers() {
	local mib
	client http "$(at "$1" 80)" --connections $TRANSFERS --parallel 4 --download 1048576 || return
	mib=$(jq '.bytes_down / .seconds / 1048576 | floor' "$RUN/client")
	client http "$(at "$1" 80)" --connections $CROWD --parallel $CROWD --requests 2 --together || return
	echo "$TRANSFERS times 1 MiB verified ($mib MiB/s); $(jq '.connections' "$RUN/client") connections at once," \
		"$(jq .ok "$RUN/client") answers, p99 $(jq '.request_usec.p99 / 1000 | floor' "$RUN/client") ms"
}

drive_udp() {
	client udp "$(at "$1" 7)" --connections $REQUESTS --upload 512 || return
	jq -r '.by_real_server | to_entries[] | .key as $k | range(.value) | $k' "$RUN/client" >"$RUN/answers"
	all_answered "$RUN/answers" $REQUESTS || return
	echo "$REQUESTS of $REQUESTS echoed: $(by_server "$RUN/answers")"
}

# ---- what the director says

show_sessions() {
	status | jq -r '"\(.sessions.active) active, \(.sessions.inactive) inactive; some of them:"' || return
	conns --protocol tcp --limit 3 || return
	conns --protocol udp --limit 2 | tail -n +2
}

show_verdicts() {
	status | jq -r '[.verdicts[] | select(.frames > 0) | "\(.name) \(.frames)"] | join("  ")'
}

# prove_af_xdp: the client-side sockets received at least what the requests must have
# sent.
prove_af_xdp() {
	status >"$RUN/status" || return
	jq -e --argjson least $LEAST '.ports[] | select(.name == "c0").rx_frames >= $least' "$RUN/status" >/dev/null ||
		fail "the AF_XDP sockets received less than was sent: $(jq -c .ports "$RUN/status")" || return
	jq -r '[.ports[] | (.kernel_rx_dropped_frames + .kernel_rx_ring_full_frames) as $lost |
		"\(.name) rx \(.rx_frames) tx \(.tx_frames) lost \($lost)"] | "sockets: " + join(", ")' "$RUN/status"
}

# kernel_forwarded prints how many packets d1's kernel has forwarded, of both families.
kernel_forwarded() {
	in_ns d1 cat /proc/net/snmp /proc/net/snmp6 | awk '
		$1 == "Ip:" && !column { for (i = 2; i <= NF; i++) if ($i == "ForwDatagrams") column = i; next }
		$1 == "Ip:" { n += $column }
		$1 == "Ip6OutForwDatagrams" { n += $2 }
		END { print n + 0 }'
}

prove_kernel_idle() {
	local before after switch
	before=$(cat "$RUN/forwarded")
	after=$(kernel_forwarded)
	switch=$(in_ns d1 cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding | tr -d '\n')
	[ "$switch" = 00 ] || fail "the kernel's forwarding is on in the director's namespace" || return
	[ "$before" = "$after" ] || fail "the kernel forwarded $((after - before)) packets" || return
	echo "ip_forward=0 in the director's namespace; its kernel forwarded $((after - before)) packets"
}

# unpacked prints how many tunnel packets the real servers have taken out.
unpacked() {
	lab status --prefix "$PREFIX" --json | jq '[.namespaces[].unpacked_packets // {} | add // 0] | add'
}

prove_tunnel() {
	local n
	n=$(($(unpacked) - $(cat "$RUN/unpacked")))
	[ $n -ge $LEAST ] || fail "the real servers unpacked only $n packets" || return
	echo "the real servers unpacked $n IP-in-IP packets"
}
