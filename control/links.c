/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two sources, never mixed: abilities come from `skep-capture --probe`, a child process, asked at most now
 * and then because it tries things; rates come from the kernel's counters of each interface, read once a
 * second. The counters are the kernel's own: what an XDP program takes is in them where the driver counts it.
 * Changes nothing on any link.
 */
#include "control/links.h"

#include "common/json.h"
#include "control/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PROBE_MS 20000
#define PROBE_MAX_BYTES (4u << 20)
#define SAMPLED_MAX 256u

const char *const ctl_counter_names[CTL_COUNTERS] = {
	[CTL_RX_PACKETS] = "rx_packets",  [CTL_RX_BYTES] = "rx_bytes",
	[CTL_TX_PACKETS] = "tx_packets",  [CTL_TX_BYTES] = "tx_bytes",
	[CTL_RX_DROPPED] = "rx_dropped",  [CTL_RX_MISSED] = "rx_missed_errors",
	[CTL_RX_FIFO] = "rx_fifo_errors",
};

struct sampled {
	struct ctl_counters counters;
	uint64_t at_ns;
	bool there;
};

struct ctl_links {
	const struct ctl_config *cfg;
	pthread_mutex_t asking; /* one child at a time */
	pthread_mutex_t lock;
	json_t *probe;
	uint64_t probed_ns;
	uint32_t n;
	struct sampled items[SAMPLED_MAX];
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SKEP_NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

struct ctl_links *ctl_links_new(const struct ctl_config *cfg)
{
	struct ctl_links *links = calloc(1, sizeof(*links));

	if (!links)
		return NULL;
	links->cfg = cfg;
	pthread_mutex_init(&links->lock, NULL);
	pthread_mutex_init(&links->asking, NULL);
	return links;
}

struct ctl_links *ctl_links_free(struct ctl_links *links)
{
	if (!links)
		return NULL;
	json_decref(links->probe);
	pthread_mutex_destroy(&links->asking);
	pthread_mutex_destroy(&links->lock);
	free(links);
	return NULL;
}

static int ask(struct ctl_links *links, json_t **ret, struct skep_err *err)
{
	struct ctl_run run = {
		.dir = links->cfg->program_dir,
		.args = { "skep-capture", "--probe" },
		.wall_ms = PROBE_MS,
		.cpu_s = PROBE_MS / 1000,
		.answer_max_bytes = PROBE_MAX_BYTES,
	};
	struct ctl_answer answer;
	json_t *json;
	int r;

	r = ctl_process_run(&run, &answer, err);
	if (r)
		return r;
	if (answer.exit_code != 0)
		r = skep_err_set(err, -EIO, "skep-capture --probe failed: %s", answer.said);
	else
		r = skep_json_load("skep-capture --probe", answer.out ? answer.out : "", answer.out_len,
				   &json, err);
	free(answer.out);
	if (r == 0)
		*ret = json;
	return r;
}

int ctl_links_refresh(struct ctl_links *links, uint64_t max_age_ns, struct skep_err *err)
{
	json_t *json = NULL;
	bool fresh;
	int r = 0;

	pthread_mutex_lock(&links->asking);
	pthread_mutex_lock(&links->lock);
	fresh = links->probe && now_ns() - links->probed_ns < max_age_ns;
	pthread_mutex_unlock(&links->lock);
	if (!fresh) {
		r = ask(links, &json, err);
		pthread_mutex_lock(&links->lock);
		if (r == 0) {
			json_decref(links->probe);
			links->probe = json;
			links->probed_ns = now_ns();
		}
		pthread_mutex_unlock(&links->lock);
	}
	pthread_mutex_unlock(&links->asking);
	return r;
}

json_t *ctl_links_probe(struct ctl_links *links)
{
	json_t *json;

	pthread_mutex_lock(&links->lock);
	json = json_incref(
		links->probe); /* jansson counts references atomically; nobody changes it any more */
	pthread_mutex_unlock(&links->lock);
	return json;
}

static bool read_counter(const char *link, const char *name, uint64_t *ret)
{
	char path[128], text[32];
	_skep_close_ int fd = -1;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/sys/class/net/%.15s/statistics/%s", link, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	*ret = strtoull(text, NULL, 10);
	return true;
}

static struct sampled *slot_of(struct ctl_links *links, const char *name)
{
	for (uint32_t i = 0; i < links->n; i++)
		if (!strcmp(links->items[i].counters.link, name))
			return &links->items[i];
	if (links->n == SAMPLED_MAX || strlen(name) >= CTL_LINK_NAME)
		return NULL;
	memcpy(links->items[links->n].counters.link, name, strlen(name) + 1);
	return &links->items[links->n++];
}

/* Under the lock. */
static void keep(struct sampled *slot, const uint64_t now[CTL_COUNTERS], uint64_t at_ns)
{
	double seconds = (double)(at_ns - slot->at_ns) / (double)SKEP_NSEC_PER_SEC;

	for (int i = 0; i < CTL_COUNTERS; i++) {
		uint64_t before = slot->counters.now[i];

		/* A counter that went back belongs to a new interface of the same name. */
		slot->counters.per_second[i] = slot->at_ns && now[i] >= before && seconds > 0
						       ? (double)(now[i] - before) / seconds
						       : -1;
		slot->counters.now[i] = now[i];
	}
	slot->at_ns = at_ns;
	slot->there = true;
}

void ctl_links_sample(struct ctl_links *links)
{
	DIR *dir = opendir("/sys/class/net");
	struct dirent *entry;

	if (!dir)
		return;
	pthread_mutex_lock(&links->lock);
	for (uint32_t i = 0; i < links->n; i++)
		links->items[i].there = false;
	while ((entry = readdir(dir))) {
		uint64_t now[CTL_COUNTERS];
		struct sampled *slot;
		int i = 0;

		if (entry->d_name[0] == '.')
			continue;
		while (i < CTL_COUNTERS && read_counter(entry->d_name, ctl_counter_names[i], &now[i]))
			i++;
		slot = i == CTL_COUNTERS ? slot_of(links, entry->d_name) : NULL;
		if (slot)
			keep(slot, now, now_ns());
	}
	for (uint32_t i = 0; i < links->n;)
		if (links->items[i].there)
			i++;
		else
			links->items[i] = links->items[--links->n];
	memset(&links->items[links->n], 0, (SAMPLED_MAX - links->n) * sizeof(links->items[0]));
	pthread_mutex_unlock(&links->lock);
	closedir(dir);
}

bool ctl_links_counters(struct ctl_links *links, const char *name, struct ctl_counters *ret)
{
	bool found = false;

	pthread_mutex_lock(&links->lock);
	for (uint32_t i = 0; i < links->n && !found; i++)
		if (!strcmp(links->items[i].counters.link, name)) {
			*ret = links->items[i].counters;
			found = true;
		}
	pthread_mutex_unlock(&links->lock);
	return found;
}

uint32_t ctl_links_all(struct ctl_links *links, struct ctl_counters *ret, uint32_t room)
{
	uint32_t n;

	pthread_mutex_lock(&links->lock);
	n = SKEP_MIN(links->n, room);
	for (uint32_t i = 0; i < n; i++)
		ret[i] = links->items[i].counters;
	pthread_mutex_unlock(&links->lock);
	return n;
}
