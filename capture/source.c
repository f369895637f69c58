/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which source serves a link.
 *
 * XDP takes the packets it captures away from the host, so the role decides first. A role that nobody named
 * is read from the interface: one that has an address, is loopback, or carries (also as a part of a bridge,
 * bond or VLAN) the host's default route or the control connection works for the host; the rest are taps.
 *
 * host: afpacket. It is the less intrusive one wherever we measured or could look it up: an XDP program
 * (mirror) turns off the TSO of a veth peer, and makes many drivers reset the link when it goes on. mirror is
 * there for who asks for it. tap: xdp; its start tries native, then generic. What is no Ethernet interface
 * gets afpacket.
 *
 * Nothing is attached here, and a refusal leaves everything as it was. Control thread.
 */
#include "capture/source.h"

#include "capture/link.h"

#include <assert.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* An interface that is being brought up gets this long. */
#define UP_TRIES 20
#define UP_PAUSE_NS (20 * SKEP_NSEC_PER_MSEC)

static bool is_global(const struct sockaddr *sa)
{
	if (!sa)
		return false;
	if (sa->sa_family == AF_INET)
		return true;
	return sa->sa_family == AF_INET6 &&
	       !IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr);
}

/* An address of its own, other than the link-local one that every IPv6 interface gives itself. */
static bool has_address(const char *name)
{
	struct ifaddrs *all = NULL;
	bool found = false;

	if (getifaddrs(&all))
		return false;
	for (const struct ifaddrs *a = all; a && !found; a = a->ifa_next)
		found = !strcmp(a->ifa_name, name) && is_global(a->ifa_addr);
	freeifaddrs(all);
	return found;
}

static int query_when_up(const char *name, struct cap_link_info *ret, struct skep_err *err)
{
	for (int i = 0; i < UP_TRIES; i++) {
		int r = cap_link_query(name, ret, err);

		if (r || ret->up)
			return r;
		nanosleep(&(struct timespec){ .tv_nsec = UP_PAUSE_NS }, NULL);
	}
	skep_err_set(err, SKEP_E_UNSUPPORTED, "%s: the interface is down", name);
	skep_err_hint(err, "bring it up first: ip link set %s up", name);
	return SKEP_E_UNSUPPORTED;
}

enum cap_role cap_source_role(const struct cap_source_cfg *cfg, const struct cap_link_info *info)
{
	if (cfg->role != CAP_ROLE_DEFAULT)
		return cfg->role;
	if (cfg->kind == CAP_SOURCE_XDP)
		return CAP_ROLE_TAP;
	return info->loopback || info->default_route || info->control || has_address(info->name)
		       ? CAP_ROLE_HOST
		       : CAP_ROLE_TAP;
}

static void say_fallback(const struct cap_source_cfg *cfg, const char *why)
{
	char sentence[sizeof(((struct skep_err *)0)->text) + 64];

	if (!cfg->say)
		return;
	snprintf(sentence, sizeof(sentence), "%s; falls back to afpacket", why);
	cfg->say(cfg->say_arg, sentence);
}

static int open_tap(struct cap_source_cfg *cfg, const struct cap_link_info *info, struct cap_tap **ret,
		    struct skep_err *err)
{
	struct skep_err why = SKEP_ERR_NULL;
	char words[128];
	int r;

	cfg->role = CAP_ROLE_TAP;
	if (!info->ethernet) {
		snprintf(words, sizeof(words), "%s: not an Ethernet interface, XDP is of no use there",
			 cfg->link);
		say_fallback(cfg, words);
		return cap_source_afpacket.open(cfg, ret, err);
	}
	r = cap_link_check_tap(info, cfg->force, err);
	if (r)
		return r;
	r = cap_source_xdp.open(cfg, ret, &why);
	/* What the user asked for by name is not swapped for something that cannot do it. */
	if (r == SKEP_E_UNSUPPORTED && cfg->zero_copy != CAP_ON && cfg->timestamps != CAP_TS_HW) {
		say_fallback(cfg, why.text);
		return cap_source_afpacket.open(cfg, ret, err);
	}
	if (r && err)
		*err = why;
	return r;
}

static int open_named(const struct cap_source_cfg *cfg, const struct cap_link_info *info,
		      struct cap_tap **ret, struct skep_err *err)
{
	int r;

	switch (cfg->kind) {
	case CAP_SOURCE_XDP:
		if (cfg->role == CAP_ROLE_HOST) {
			skep_err_set(
				err, SKEP_E_USAGE,
				"%s: the source xdp takes the packets away from the host, so it cannot serve "
				"the role host",
				cfg->link);
			skep_err_hint(err, "use --source mirror or --source afpacket, or --link-role tap");
			return SKEP_E_USAGE;
		}
		r = cap_link_check_tap(info, cfg->force, err);
		return r ? r : cap_source_xdp.open(cfg, ret, err);
	case CAP_SOURCE_MIRROR:
		return cap_source_mirror.open(cfg, ret, err);
	default:
		assert(cfg->kind == CAP_SOURCE_AFPACKET);
		return cap_source_afpacket.open(cfg, ret, err);
	}
}

int cap_source_open(const struct cap_source_cfg *cfg, struct cap_tap **ret_tap, struct skep_err *err)
{
	struct cap_source_cfg mine = *cfg;
	struct cap_link_info info;
	int r;

	if (cfg->kind == CAP_SOURCE_FILE)
		return cap_source_file.open(cfg, ret_tap, err);
	if (cfg->kind == CAP_SOURCE_STREAM ||
	    (cfg->kind == CAP_SOURCE_AUTO && (!cfg->link || cfg->stream_command)))
		return cap_source_stream.open(cfg, ret_tap, err);
	if (!cfg->link)
		return skep_err_set(err, SKEP_E_USAGE, "no interface was named");
	/* libpcap's name for all interfaces; no interface of the kernel. */
	if (!strcmp(cfg->link, "any"))
		return cap_source_afpacket.open(cfg, ret_tap, err);
	r = query_when_up(cfg->link, &info, err);
	if (r)
		return r;
	mine.role = cap_source_role(cfg, &info);
	if (cfg->kind != CAP_SOURCE_AUTO)
		return open_named(&mine, &info, ret_tap, err);
	return mine.role == CAP_ROLE_TAP ? open_tap(&mine, &info, ret_tap, err)
					 : cap_source_afpacket.open(&mine, ret_tap, err);
}
