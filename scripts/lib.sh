# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# What the scripts share. Sourced, never run:
#	. "$(dirname "$(readlink -f "$0")")/lib.sh"
# Works from any directory. Needs bash, coreutils and util-linux only; python is /usr/bin/python3, because another one may
# come first in PATH and not have the distribution's modules.
set -euo pipefail

ROOT=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
PYTHON=/usr/bin/python3
PROGRAM=$(basename "$0")
BUILD=${SKEP_BUILD:-$ROOT/build}
export ROOT PYTHON BUILD
# ip, ethtool and bpftool live here, and are not in every user's PATH
PATH=$PATH:/usr/sbin:/sbin

say() {
	printf '%s: %s\n' "$PROGRAM" "$*" >&2
}

# refuse TEXT [HINT]: says what, why and what to do; exit code 2 (usage) or 1 ($REFUSE_CODE)
refuse() {
	say "$1."
	[ $# -lt 2 ] || say "$2."
	exit "${REFUSE_CODE:-1}"
}

usage_error() {
	REFUSE_CODE=2 refuse "$1" "see scripts/$PROGRAM --help"
}

# Prints the head comment of the calling script: from its third line to the first line that is no comment.
print_help() {
	sed -n '3,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"
}

need_root() {
	[ "$(id -u)" = 0 ] || refuse "$1 needs root" "run: sudo $ROOT/scripts/$PROGRAM"
}

# The packages that are missing among those given, on one line.
missing_packages() {
	local package
	for package in "$@"; do
		dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || printf '%s ' "$package"
	done
}

# --- namespaces ------------------------------------------------------------------------------------------------------
# netns_pair [MTU [QUEUES]]: two namespaces, $NS_CAP and $NS_GEN, with one veth link between them, $IF_CAP and $IF_GEN.
# Their names end in this shell's pid; netns_remove (also on exit, and after a signal) removes them and ends what runs inside.
# IPv6 is off, so that router solicitations do not disturb counts; GRO is on, because a veth end receives redirected frames
# (XDP live frames) only with GRO or an XDP program; segmentation and checksum offload are off, so that what a program on the
# link sees are frames as they would be on a wire.
NS_CAP=skep-cap-$$
NS_GEN=skep-gen-$$
IF_CAP=cap0
IF_GEN=gen0
export NS_CAP NS_GEN IF_CAP IF_GEN

netns_pair() {
	local mtu=${1:-1500} queues=${2:-1} ns
	need_root "a pair of network namespaces"
	trap netns_remove EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	for ns in "$NS_CAP" "$NS_GEN"; do
		ip netns add "$ns"
		ip netns exec "$ns" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 2>/dev/null ||
			true # a kernel without IPv6
		ip -n "$ns" link set lo up
	done
	ip -n "$NS_CAP" link add "$IF_CAP" mtu "$mtu" numrxqueues "$queues" numtxqueues "$queues" type veth \
		peer name "$IF_GEN" mtu "$mtu" numrxqueues "$queues" numtxqueues "$queues" netns "$NS_GEN"
	ip netns exec "$NS_CAP" ethtool -K "$IF_CAP" tso off gso off tx off gro on >/dev/null
	ip netns exec "$NS_GEN" ethtool -K "$IF_GEN" tso off gso off tx off gro on >/dev/null
	ip -n "$NS_CAP" link set "$IF_CAP" up
	ip -n "$NS_GEN" link set "$IF_GEN" up
}

netns_remove() {
	local ns pids
	for ns in "$NS_CAP" "$NS_GEN"; do
		[ -e "/run/netns/$ns" ] || continue
		pids=$(ip netns pids "$ns" 2>/dev/null || true)
		# shellcheck disable=SC2086 # one word per process
		[ -z "$pids" ] || kill -TERM $pids 2>/dev/null || true
		for _ in 1 2 3 4 5 6 7 8 9 10; do
			pids=$(ip netns pids "$ns" 2>/dev/null || true)
			[ -n "$pids" ] || break
			sleep 0.1
		done
		# shellcheck disable=SC2086
		[ -z "$pids" ] || kill -KILL $pids 2>/dev/null || true
		ip netns del "$ns" 2>/dev/null || true
	done
}

in_cap() {
	ip netns exec "$NS_CAP" "$@"
}

in_gen() {
	ip netns exec "$NS_GEN" "$@"
}
