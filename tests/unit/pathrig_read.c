/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reading half of pathrig.h: every completed file through zstd and the project's own parser, every packet
 * against the frame that the source made. Nothing here runs beside the capture but rig_read_torn.
 */
#include "pathrig.h"
#include "tool.h"

#include "capture/capfile.h"
#include "capture/capwrite.h"

#include <dirent.h>
#include <zstd.h>

/* One file on its way through the decoder and the parser. */
struct reading {
	struct rig *rig;
	const char *name;
	uint32_t queue;
	uint64_t next[RIG_MAX_WORKERS]; /* per queue: no smaller number may follow */
	uint64_t pkts, raw_bytes, disk_bytes, first_ns, last_ns;
	uint8_t *expect;
	bool torn_ok;
	bool ended;                     /* the frame is complete */
};

static void check_packet(struct reading *rd, const struct cap_capfile_packet *p)
{
	const struct rig *rig = rd->rig;
	uint64_t number = (p->ts_ns - RIG_EPOCH_NS) / rig->cfg.ts_step_ns;
	uint32_t queue = rig->cfg.pcapng ? p->iface : rd->queue;
	uint32_t len, keep;

	if (p->ts_ns < RIG_EPOCH_NS || number >= rig->cfg.n_pkts ||
	    (p->ts_ns - RIG_EPOCH_NS) % rig->cfg.ts_step_ns)
		fail_msg("%s: a packet with time stamp %llu was never sent", rd->name,
			 (unsigned long long)p->ts_ns);
	if (number < rd->next[queue])
		fail_msg("%s: packet %llu after %llu", rd->name, (unsigned long long)number,
			 (unsigned long long)rd->next[queue] - 1);
	if (!rig_wanted(rig, number))
		fail_msg("%s: packet %llu was rejected", rd->name, (unsigned long long)number);
	len = rig_frame(rig, queue, number, rd->expect);
	keep = SKEP_MIN(len, rig->job.snaplen);
	if (p->cap_len != keep || p->wire_len != len || memcmp(p->data, rd->expect, keep) != 0)
		fail_msg("%s: packet %llu is not what was sent", rd->name, (unsigned long long)number);
	rd->next[queue] = number + 1;
	if (rd->pkts++ == 0)
		rd->first_ns = p->ts_ns;
	rd->last_ns = p->ts_ns;
	rd->raw_bytes +=
		rig->cfg.pcapng ? cap_capwrite_epb_bytes(keep) : CAP_CAPWRITE_PCAP_RECORD_BYTES + keep;
}

static void parse(struct reading *rd, struct cap_capfile *f, const uint8_t *data, size_t n)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_capfile_packet p;
	int r;

	do {
		size_t room;
		uint8_t *to = cap_capfile_room(f, &room);
		size_t part = SKEP_MIN(n, room);

		memcpy(to, data, part);
		cap_capfile_fed(f, part);
		data += part;
		n -= part;
		while ((r = cap_capfile_next(f, &p, &err)) == 0)
			check_packet(rd, &p);
		if (r != -EAGAIN)
			fail_msg("%s: %s", rd->name, err.text);
	} while (n > 0);
}

/*
 * Decodes as `zstd -dc` does; a frame that does not end, or something behind its end, fails the test
 * unless the file may be torn.
 */
static void decode(struct reading *rd, struct cap_capfile *f, const uint8_t *file, size_t bytes)
{
	ZSTD_DStream *d = ZSTD_createDStream();
	static uint8_t out[1 << 18];
	ZSTD_inBuffer in = { file, bytes, 0 };
	size_t r = 1;

	assert_non_null(d);
	for (;;) {
		ZSTD_outBuffer o = { out, sizeof(out), 0 };

		r = ZSTD_decompressStream(d, &o, &in);
		if (ZSTD_isError(r) && !rd->torn_ok)
			fail_msg("%s: zstd: %s", rd->name, ZSTD_getErrorName(r));
		if (o.pos)
			parse(rd, f, out, o.pos);
		if (r == 0 || ZSTD_isError(r) || (in.pos == in.size && o.pos < o.size))
			break;
	}
	rd->ended = r == 0;
	if (!rd->torn_ok && r != 0)
		fail_msg("%s: the zstd frame does not end", rd->name);
	if (!rd->torn_ok && in.pos != in.size)
		fail_msg("%s: %zu bytes behind the zstd frame", rd->name, in.size - in.pos);
	ZSTD_freeDStream(d);
}

static void read_one(struct reading *rd, const char *path)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_capfile *f;
	struct cap_capfile_packet p;
	uint8_t *file;
	size_t n;
	int r;

	file = (uint8_t *)tool_read_file(path, &n);
	assert_int_equal(cap_capfile_new(rd->name, true, &f), 0);
	rd->pkts = rd->raw_bytes = 0;
	rd->disk_bytes = n;
	if (rd->rig->cfg.plain)
		parse(rd, f, file, n);
	else
		decode(rd, f, file, n);
	cap_capfile_finish(f);
	while ((r = cap_capfile_next(f, &p, &err)) == 0)
		check_packet(rd, &p);
	if (r != -ENODATA && !rd->torn_ok)
		fail_msg("%s: %s", rd->name, err.text);
	cap_capfile_free(f);
	free(file);
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

/* Each index entry of the sidecar, decoded on its own. */
static void check_sidecar(struct rig *rig, const char *name, const struct reading *rd, struct rig_read *ret)
{
	_cap_sidecar_free_ struct cap_sidecar *sc = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	uint64_t pkts = 0, at = 0;

	if (cap_sidecar_read(rig->output.dirfd, name, &sc, &err) != 0)
		fail_msg("%s: %s", name, err.text);
	assert_int_equal(sc->account.stored_pkts, rd->pkts);
	assert_int_equal(sc->bytes_disk, rd->disk_bytes);
	assert_int_equal(sc->bytes_raw, rd->raw_bytes + rig->header_bytes);
	for (size_t i = 0; i < sc->n_index; i++) {
		assert_true(sc->index[i].file_offset >= at);
		at = sc->index[i].file_offset + sc->index[i].file_bytes;
		assert_true(at <= sc->bytes_disk);
		pkts += sc->index[i].pkts;
		ret->n_index_checked++;
	}
	assert_int_equal(pkts, rd->pkts);
	ret->n_sidecars++;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

void rig_read(struct rig *rig, struct rig_read *ret)
{
	struct reading rd = { .rig = rig };
	struct dirent **names;
	uint32_t last_queue = UINT32_MAX;
	int n = scandir(rig->dir, &names, NULL, by_name);

	assert_true(n >= 0);
	memset(ret, 0, sizeof(*ret));
	rd.expect = malloc(rig->cfg.size_max + 1);
	assert_non_null(rd.expect);
	for (int i = 0; i < n; i++) {
		char path[600];
		uint32_t queue;

		if (sscanf(names[i]->d_name, "rig-q%u-", &queue) == 1 &&
		    !ends_with(names[i]->d_name, ".json")) {
			(void)snprintf(path, sizeof(path), "%s/%s", rig->dir, names[i]->d_name);
			ret->n_parts += ends_with(names[i]->d_name, ".part");
			if (!ends_with(names[i]->d_name, ".part")) {
				if (queue != last_queue)
					memset(rd.next, 0, sizeof(rd.next));
				last_queue = rd.queue = queue;
				rd.name = names[i]->d_name;
				read_one(&rd, path);
				ret->n_files++;
				ret->pkts += rd.pkts;
				ret->pkts_of[queue] += rd.pkts;
				ret->raw_bytes += rd.raw_bytes;
				ret->disk_bytes += rd.disk_bytes;
				ret->max_raw = SKEP_MAX(ret->max_raw, rd.raw_bytes + rig->header_bytes);
				ret->max_disk = SKEP_MAX(ret->max_disk, rd.disk_bytes);
				if (rd.pkts) {
					ret->max_span_ns =
						SKEP_MAX(ret->max_span_ns, rd.last_ns - rd.first_ns);
					if (ret->pkts == rd.pkts)
						ret->first =
							(rd.first_ns - RIG_EPOCH_NS) / rig->cfg.ts_step_ns;
					ret->last = (rd.last_ns - RIG_EPOCH_NS) / rig->cfg.ts_step_ns;
				}
				if (rig->cfg.sidecar)
					check_sidecar(rig, names[i]->d_name, &rd, ret);
			}
		}
		free(names[i]);
	}
	free(names);
	free(rd.expect);
}

static uint64_t kept_bytes(const struct rig *rig)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < rig->cfg.n_workers; i++)
		sum += rig->keeper_lanes[i].bytes_kept;
	return sum;
}

void rig_verify(struct rig *rig, struct cap_account *ret_account, struct rig_read *ret_read)
{
	rig_assert_ok(rig);
	rig_totals(rig, ret_account);
	rig_read(rig, ret_read);
	assert_int_equal(ret_read->pkts, ret_account->stored);
	assert_int_equal(ret_read->raw_bytes, ret_account->bytes_raw);
	assert_int_equal(ret_read->disk_bytes, kept_bytes(rig));
}

uint64_t rig_read_torn(struct rig *rig, const char *path, uint32_t queue, uint64_t *ret_last)
{
	struct reading rd = { .rig = rig, .name = path, .queue = queue, .torn_ok = true };

	rd.expect = malloc(rig->cfg.size_max + 1);
	assert_non_null(rd.expect);
	read_one(&rd, path);
	free(rd.expect);
	*ret_last = rd.next[queue];
	return rd.pkts;
}
