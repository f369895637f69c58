/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ethtool by ioctl rather than by its netlink family: the ioctls exist on every kernel that can run skep, and
 * one socket opened before privileges are dropped serves for all. Never logs, keeps no state. Feature numbers
 * differ between kernels, so features are looked up by name each time. Any thread.
 */
#include "capture/ethtool.h"
#include "common/util.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/net_tstamp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

/* More strings than any driver has (mlx5: about 5,000 with 64 queues): a bound against nonsense. */
#define STRINGS_MAX 65536u

static int call(int fd, const char *name, void *cmd)
{
	struct ifreq ifr = { 0 };

	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	ifr.ifr_data = cmd;
	return ioctl(fd, SIOCETHTOOL, &ifr) < 0 ? -errno : 0;
}

int cap_ethtool_driver(int fd, const char *name, struct cap_ethtool_driver *ret)
{
	struct ethtool_drvinfo d = { .cmd = ETHTOOL_GDRVINFO };
	int r = call(fd, name, &d);

	if (r < 0)
		return r;
	(void)snprintf(ret->driver, sizeof(ret->driver), "%.31s", d.driver);
	(void)snprintf(ret->version, sizeof(ret->version), "%.31s", d.version);
	(void)snprintf(ret->bus, sizeof(ret->bus), "%.31s", d.bus_info);
	return 0;
}

int cap_ethtool_speed(int fd, const char *name, int64_t *ret_mbps)
{
	/* The kernel first answers how many words its link-mode masks have (as a negative number), then fills
	 * them. */
	union {
		uint8_t room[sizeof(struct ethtool_link_settings) + 3 * 127 * sizeof(uint32_t)];
		struct ethtool_link_settings s;
	} c = { 0 };
	int r;

	c.s.cmd = ETHTOOL_GLINKSETTINGS;
	r = call(fd, name, &c);
	if (r < 0)
		return r;
	if (c.s.link_mode_masks_nwords >= 0)
		return -EPROTO;
	c.s.link_mode_masks_nwords = (int8_t)-c.s.link_mode_masks_nwords;
	c.s.cmd = ETHTOOL_GLINKSETTINGS;
	r = call(fd, name, &c);
	if (r < 0)
		return r;
	*ret_mbps = c.s.speed == (uint32_t)SPEED_UNKNOWN ? -1 : (int64_t)c.s.speed;
	return 0;
}

int cap_ethtool_channels(int fd, const char *name, uint32_t *ret_rx, uint32_t *ret_rx_max)
{
	struct ethtool_channels c = { .cmd = ETHTOOL_GCHANNELS };
	int r = call(fd, name, &c);

	if (r < 0)
		return r;
	if (c.rx_count + c.combined_count == 0)
		return -EOPNOTSUPP;
	*ret_rx = c.rx_count + c.combined_count;
	*ret_rx_max = c.max_rx + c.max_combined;
	return 0;
}

int cap_ethtool_rings(int fd, const char *name, uint32_t *ret_rx, uint32_t *ret_rx_max)
{
	struct ethtool_ringparam p = { .cmd = ETHTOOL_GRINGPARAM };
	int r = call(fd, name, &p);

	if (r < 0)
		return r;
	*ret_rx = p.rx_pending;
	*ret_rx_max = p.rx_max_pending;
	return 0;
}

int cap_ethtool_timestamps(int fd, const char *name, struct cap_ethtool_ts *ret)
{
	struct ethtool_ts_info t = { .cmd = ETHTOOL_GET_TS_INFO };
	int r = call(fd, name, &t);

	if (r < 0)
		return r;
	ret->hw_rx = t.so_timestamping & SOF_TIMESTAMPING_RX_HARDWARE;
	ret->hw_rx_all = ret->hw_rx && (t.rx_filters & (1u << HWTSTAMP_FILTER_ALL));
	ret->phc_index = t.phc_index;
	return 0;
}

/* The names of a string set; *ret is malloc'ed, n of ETH_GSTRING_LEN bytes, each not necessarily terminated.
 */
static int strings(int fd, const char *name, uint32_t set, struct ethtool_gstrings **ret)
{
	union {
		uint8_t room[sizeof(struct ethtool_sset_info) + sizeof(uint32_t)];
		struct ethtool_sset_info head;
	} info = { 0 };
	struct ethtool_gstrings *s;
	uint32_t n;
	int r;

	info.head.cmd = ETHTOOL_GSSET_INFO;
	info.head.sset_mask = 1ull << set;
	r = call(fd, name, &info);
	if (r < 0)
		return r;
	n = info.head.sset_mask ? info.head.data[0] : 0;
	if (n == 0)
		return -EOPNOTSUPP;
	if (n > STRINGS_MAX)
		return -E2BIG;
	s = calloc(1, sizeof(*s) + (size_t)n * ETH_GSTRING_LEN);
	if (!s)
		return -ENOMEM;
	s->cmd = ETHTOOL_GSTRINGS;
	s->string_set = set;
	s->len = n;
	r = call(fd, name, s);
	if (r == 0 && s->len > n) /* grew in between: what we have is not in step */
		r = -EAGAIN;
	if (r < 0) {
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

static int features_get(int fd, const char *name, uint32_t n_strings, struct ethtool_gfeatures **ret)
{
	uint32_t blocks = (n_strings + 31) / 32;
	struct ethtool_gfeatures *f = calloc(1, sizeof(*f) + blocks * sizeof(f->features[0]));
	int r;

	if (!f)
		return -ENOMEM;
	f->cmd = ETHTOOL_GFEATURES;
	f->size = blocks;
	r = call(fd, name, f);
	if (r == 0 && f->size > blocks)
		r = -EAGAIN;
	if (r < 0) {
		free(f);
		return r;
	}
	*ret = f;
	return 0;
}

static int feature_index(const struct ethtool_gstrings *s, const char *feature)
{
	for (uint32_t i = 0; i < s->len; i++)
		if (strncmp((const char *)s->data + (size_t)i * ETH_GSTRING_LEN, feature, ETH_GSTRING_LEN) ==
		    0)
			return (int)i;
	return -1;
}

int cap_ethtool_features(int fd, const char *name, const char *const *features, uint32_t n,
			 struct cap_ethtool_feature *ret)
{
	_skep_free_ struct ethtool_gstrings *s = NULL;
	_skep_free_ struct ethtool_gfeatures *f = NULL;
	int r = strings(fd, name, ETH_SS_FEATURES, &s);

	if (r == 0)
		r = features_get(fd, name, s->len, &f);
	if (r < 0)
		return r;
	for (uint32_t k = 0; k < n; k++) {
		const struct ethtool_get_features_block *b;
		int i = feature_index(s, features[k]);
		uint32_t bit;

		ret[k] = (struct cap_ethtool_feature){ .known = i >= 0 };
		if (i < 0)
			continue;
		b = &f->features[i / 32];
		bit = 1u << (i % 32);
		ret[k].active = b->active & bit;
		ret[k].wanted = b->requested & bit;
		ret[k].fixed = !(b->available & bit) || (b->never_changed & bit);
	}
	return 0;
}

int cap_ethtool_feature_set(int fd, const char *name, const char *feature, bool on)
{
	_skep_free_ struct ethtool_gstrings *s = NULL;
	_skep_free_ struct ethtool_sfeatures *f = NULL;
	struct cap_ethtool_feature now;
	uint32_t blocks;
	int i, r;

	r = strings(fd, name, ETH_SS_FEATURES, &s);
	if (r < 0)
		return r;
	i = feature_index(s, feature);
	if (i < 0)
		return -EOPNOTSUPP;
	blocks = (s->len + 31) / 32;
	f = calloc(1, sizeof(*f) + blocks * sizeof(f->features[0]));
	if (!f)
		return -ENOMEM;
	f->cmd = ETHTOOL_SFEATURES;
	f->size = blocks;
	f->features[i / 32].valid = 1u << (i % 32);
	f->features[i / 32].requested = on ? 1u << (i % 32) : 0;
	r = call(fd, name, f);
	if (r == 0)
		r = cap_ethtool_features(fd, name, &feature, 1, &now);
	if (r < 0)
		return r;
	if (now.fixed && now.active != on)
		return -EOPNOTSUPP;
	return now.active == on ? 0 : -EBUSY;
}

int cap_ethtool_counters(int fd, const char *name,
			 void (*on_counter)(const char *counter, uint64_t value, void *arg), void *arg)
{
	_skep_free_ struct ethtool_gstrings *s = NULL;
	_skep_free_ struct ethtool_stats *v = NULL;
	char counter[ETH_GSTRING_LEN + 1];
	int r = strings(fd, name, ETH_SS_STATS, &s);

	if (r < 0)
		return r;
	v = calloc(1, sizeof(*v) + (size_t)s->len * sizeof(v->data[0]));
	if (!v)
		return -ENOMEM;
	v->cmd = ETHTOOL_GSTATS;
	v->n_stats = s->len;
	r = call(fd, name, v);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < SKEP_MIN(s->len, v->n_stats); i++) {
		(void)snprintf(counter, sizeof(counter), "%.*s", ETH_GSTRING_LEN,
			       (const char *)s->data + (size_t)i * ETH_GSTRING_LEN);
		on_counter(counter, v->data[i], arg);
	}
	return 0;
}
