/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which source serves a link.
 *
 * XDP takes the packets it captures away from the host, so the role decides first. A role that nobody named is read from the
 * interface: one that has an address, is loopback or is a port of a bridge or bond works for the host; the rest are taps.
 *
 * host: afpacket. It is the less intrusive one wherever we measured or could look it up: an XDP program (mirror) turns
 * off the TSO of a veth peer, and makes many drivers reset the link when it goes on. mirror is there for who asks for it.
 * tap: xdp; its start tries native, then generic. What is no Ethernet interface gets afpacket.
 *
 * Nothing is attached here, and a refusal leaves everything as it was. Control thread.
 */
#include "capture/source.h"

#include "capture/hook.h"

#include <assert.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

/* An interface that is being brought up gets this long. */
#define UP_TRIES 20
#define UP_PAUSE_NS (20 * SKEP_NSEC_PER_MSEC)

struct iface {
	int ifindex;
	bool up;
	bool loopback;
	bool slave;     /* of a bond */
	bool ethernet;
	bool address;   /* has one that is not link-local */
	bool default_route;
};

static bool is_global(const struct sockaddr *sa)
{
	if (!sa)
		return false;
	if (sa->sa_family == AF_INET)
		return true;
	return sa->sa_family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr);
}

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

/* IPv4 and IPv6 default routes of this network namespace. */
static bool has_default_route(const char *name)
{
	static const struct {
		const char *path, *format;
		const char *destination;
	} tables[] = {
		{ "/proc/net/route", "%31s %63s", "00000000" },
		{ "/proc/net/ipv6_route", NULL, "00000000000000000000000000000000 00 " },
	};
	bool found = false;
	char line[256], dev[32], dest[64];

	for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
		FILE *f = fopen(tables[i].path, "re");

		while (f && !found && fgets(line, sizeof(line), f)) {
			const char *last;

			line[strcspn(line, "\n")] = '\0';
			if (tables[i].format) {
				found = sscanf(line, "%31s %63s", dev, dest) == 2 && !strcmp(dev, name) &&
					!strcmp(dest, tables[i].destination);
				continue;
			}
			last = strrchr(line, ' ');
			found = last && !strcmp(last + 1, name) &&
				!strncmp(line, tables[i].destination, strlen(tables[i].destination));
		}
		if (f)
			fclose(f);
	}
	return found;
}

static int read_iface(const char *name, struct iface *ret, struct skep_err *err)
{
	_skep_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { 0 };
	struct iface f = { .ifindex = (int)if_nametoindex(name) };

	if (!f.ifindex) {
		skep_err_set(err, SKEP_E_NOT_FOUND, "%s: there is no such interface", name);
		skep_err_hint(err, "skep-capture -D lists the interfaces");
		return SKEP_E_NOT_FOUND;
	}
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	for (int i = 0; i < UP_TRIES && !f.up; i++) {
		if (i)
			nanosleep(&(struct timespec){ .tv_nsec = UP_PAUSE_NS }, NULL);
		if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr))
			return skep_err_set(err, -errno, "%s: cannot read its state: %s", name, strerror(errno));
		f.up = ifr.ifr_flags & IFF_UP;
	}
	f.loopback = ifr.ifr_flags & IFF_LOOPBACK;
	f.slave = ifr.ifr_flags & IFF_SLAVE;
	if (!ioctl(fd, SIOCGIFHWADDR, &ifr))
		f.ethernet = ifr.ifr_hwaddr.sa_family == ARPHRD_ETHER || ifr.ifr_hwaddr.sa_family == ARPHRD_LOOPBACK;
	f.address = has_address(name);
	f.default_route = has_default_route(name);
	*ret = f;
	return 0;
}

static int check_up(const char *name, const struct iface *f, struct skep_err *err)
{
	if (f->up)
		return 0;
	skep_err_set(err, SKEP_E_UNSUPPORTED, "%s: the interface is down", name);
	skep_err_hint(err, "bring it up first: ip link set %s up", name);
	return SKEP_E_UNSUPPORTED;
}

static enum cap_role decide_role(const struct cap_source_cfg *cfg, const struct iface *f)
{
	if (cfg->role != CAP_ROLE_DEFAULT)
		return cfg->role;
	if (cfg->kind == CAP_SOURCE_XDP)
		return CAP_ROLE_TAP;
	return f->address || f->loopback || f->slave || f->default_route ? CAP_ROLE_HOST : CAP_ROLE_TAP;
}

static int check_safe(const struct cap_source_cfg *cfg, const struct iface *f, struct skep_err *err)
{
	if (!f->default_route || cfg->force)
		return 0;
	skep_err_set(err, SKEP_E_UNSAFE, "%s: carries this host's default route, and a tap takes all packets away from the host",
		     cfg->link);
	skep_err_hint(err, "use --link-role host to capture and let the packets pass, or --force if you mean it");
	return SKEP_E_UNSAFE;
}

static void say_fallback(const struct cap_source_cfg *cfg, const char *why)
{
	char sentence[sizeof(((struct skep_err *)0)->text) + 64];

	if (!cfg->say)
		return;
	snprintf(sentence, sizeof(sentence), "%s; falls back to afpacket", why);
	cfg->say(cfg->say_arg, sentence);
}

static int open_tap(struct cap_source_cfg *cfg, const struct iface *f, struct cap_tap **ret, struct skep_err *err)
{
	struct skep_err why = SKEP_ERR_NULL;
	char words[128];
	int r;

	cfg->role = CAP_ROLE_TAP;
	if (!f->ethernet) {
		snprintf(words, sizeof(words), "%s: not an Ethernet interface, XDP is of no use there", cfg->link);
		say_fallback(cfg, words);
		return cap_source_afpacket.open(cfg, ret, err);
	}
	r = check_safe(cfg, f, err);
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

static int open_named(const struct cap_source_cfg *cfg, const struct iface *f, struct cap_tap **ret, struct skep_err *err)
{
	int r;

	switch (cfg->kind) {
	case CAP_SOURCE_XDP:
		if (cfg->role == CAP_ROLE_HOST) {
			skep_err_set(err, SKEP_E_USAGE, "%s: the source xdp takes the packets away from the host, so it cannot serve "
				     "the role host", cfg->link);
			skep_err_hint(err, "use --source mirror or --source afpacket, or --link-role tap");
			return SKEP_E_USAGE;
		}
		r = check_safe(cfg, f, err);
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
	struct iface f = { 0 };
	int r;

	if (cfg->kind == CAP_SOURCE_FILE)
		return cap_source_file.open(cfg, ret_tap, err);
	if (cfg->kind == CAP_SOURCE_STREAM || (cfg->kind == CAP_SOURCE_AUTO && (!cfg->link || cfg->stream_command)))
		return cap_source_stream.open(cfg, ret_tap, err);
	if (!cfg->link)
		return skep_err_set(err, SKEP_E_USAGE, "no interface was named");
	/* libpcap's name for all interfaces; no interface of the kernel. */
	if (!strcmp(cfg->link, "any"))
		return cap_source_afpacket.open(cfg, ret_tap, err);
	r = read_iface(cfg->link, &f, err);
	if (!r)
		r = check_up(cfg->link, &f, err);
	if (r)
		return r;
	mine.role = decide_role(cfg, &f);
	if (cfg->kind != CAP_SOURCE_AUTO)
		return open_named(&mine, &f, ret_tap, err);
	return mine.role == CAP_ROLE_TAP ? open_tap(&mine, &f, ret_tap, err) : cap_source_afpacket.open(&mine, ret_tap, err);
}
