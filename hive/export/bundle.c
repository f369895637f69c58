/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The layout is a list of pieces: stretches of one buffer (headers, tag files, directories) and whole stored
 * files. Sizes and checksums of the stored files are known beforehand, so every header is, and any byte of
 * the bundle can be given without those before it. Nothing is compressed: segments are zstd already. No time
 * but the dataset's, no owner and no order but that of the files given goes into it. Never writes. One thread
 * at a time.
 */
#include "hive/export/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <sodium.h>
#include <zlib.h>

#define TAR_BLOCK 512u
#define TAR_NAME_MAX 100u
#define TAR_SIZE_MAX UINT64_C(077777777777) /* eleven octal digits: 8 GiB - 1 */
#define ZIP_32 UINT64_C(0xffffffff)
#define ZIP_16 UINT64_C(0xffff)

struct piece {
	uint64_t at, bytes;
	size_t offset; /* in `meta`, if file is -1 */
	int32_t file;
};

struct stored {
	char *name;
	uint64_t bytes;
};

struct hive_bundle {
	int folder;
	struct piece *pieces;
	uint32_t n_pieces, pieces_room;
	uint8_t *meta;
	size_t n_meta, meta_room;
	struct stored *stored;
	uint32_t n_stored;
	uint64_t bytes;
	bool no_memory; /* met while it was laid out: the whole fails at the end */
	char etag[65];
	int open_fd; /* of the file read last */
	int32_t open_file;
};

/* An entry, whatever the format. */
struct entry {
	char path[320];
	uint64_t bytes;
	uint32_t crc32;
	const uint8_t *data; /* NULL: stored[file] */
	int32_t file;
	uint64_t header_at; /* zip: of its local header */
};

/* ---- the buffer and the pieces ---- */

static struct piece *add_piece(struct hive_bundle *b)
{
	if (b->n_pieces == b->pieces_room) {
		uint32_t room = b->pieces_room ? 2 * b->pieces_room : 64;
		struct piece *more = reallocarray(b->pieces, room, sizeof(*more));

		if (!more) {
			b->no_memory = true;
			return NULL;
		}
		b->pieces = more;
		b->pieces_room = room;
	}
	b->pieces[b->n_pieces] = (struct piece){ .at = b->bytes };
	return &b->pieces[b->n_pieces++];
}

static void add_bytes(struct hive_bundle *b, const void *data, size_t n)
{
	struct piece *last = b->n_pieces ? &b->pieces[b->n_pieces - 1] : NULL;

	if (b->n_meta + n > b->meta_room) {
		size_t room = SKEP_MAX(2 * b->meta_room, b->n_meta + n + 4096);
		uint8_t *more = realloc(b->meta, room);

		if (!more) {
			b->no_memory = true;
			return;
		}
		b->meta = more;
		b->meta_room = room;
	}
	if (!last || last->file >= 0) {
		last = add_piece(b);
		if (!last)
			return;
		last->file = -1;
		last->offset = b->n_meta;
	}
	if (n)
		memcpy(b->meta + b->n_meta, data, n);
	b->n_meta += n;
	last->bytes += n;
	b->bytes += n;
}

static void add_content(struct hive_bundle *b, const struct entry *entry)
{
	struct piece *piece;

	if (entry->data) {
		add_bytes(b, entry->data, entry->bytes);
		return;
	}
	if (!entry->bytes)
		return;
	piece = add_piece(b);
	if (!piece)
		return;
	piece->file = entry->file;
	piece->bytes = entry->bytes;
	b->bytes += entry->bytes;
}

/* ---- tar (POSIX.1-2017, pax Interchange Format) ---- */

static void octal(char *field, size_t room, uint64_t value)
{
	char digits[32];

	(void)snprintf(digits, sizeof(digits), "%0*" PRIo64, (int)room - 1, value);
	memcpy(field, digits, room);
}

static void tar_header(struct hive_bundle *b, const char *path, uint64_t bytes, char type, int64_t mtime_s)
{
	char h[TAR_BLOCK] = { 0 };
	unsigned sum = 0;

	memcpy(h, path, SKEP_MIN(strlen(path), (size_t)TAR_NAME_MAX));
	octal(h + 100, 8, 0644);
	octal(h + 108, 8, 0);
	octal(h + 116, 8, 0);
	octal(h + 124, 12, SKEP_MIN(bytes, TAR_SIZE_MAX));
	octal(h + 136, 12, (uint64_t)SKEP_MAX(mtime_s, 0));
	memset(h + 148, ' ', 8);
	h[156] = type;
	memcpy(h + 257, "ustar\00000", 8);
	for (size_t i = 0; i < sizeof(h); i++)
		sum += (uint8_t)h[i];
	(void)snprintf(h + 148, 8, "%06o", sum);
	add_bytes(b, h, sizeof(h));
}

static void tar_pad(struct hive_bundle *b, uint64_t bytes)
{
	static const char zeros[TAR_BLOCK];

	add_bytes(b, zeros, (size_t)(-bytes & (TAR_BLOCK - 1)));
}

/* "LENGTH KEY=VALUE\n", where LENGTH counts itself. */
static size_t pax_record(char *out, size_t room, const char *key, const char *value)
{
	size_t base = strlen(key) + strlen(value) + 3, n = base + 1;
	char digits[24];

	while (base + (size_t)snprintf(digits, sizeof(digits), "%zu", n) != n)
		n++;
	return (size_t)snprintf(out, room, "%zu %s=%s\n", n, key, value);
}

static void tar_entry(struct hive_bundle *b, const struct entry *entry, int64_t mtime_s)
{
	char pax[512], number[24];
	size_t n = 0;

	if (strlen(entry->path) > TAR_NAME_MAX)
		n += pax_record(pax + n, sizeof(pax) - n, "path", entry->path);
	(void)snprintf(number, sizeof(number), "%" PRIu64, entry->bytes);
	if (entry->bytes > TAR_SIZE_MAX)
		n += pax_record(pax + n, sizeof(pax) - n, "size", number);
	if (n) {
		tar_header(b, "pax_header", n, 'x', mtime_s);
		add_bytes(b, pax, n);
		tar_pad(b, n);
	}
	tar_header(b, entry->path, entry->bytes, '0', mtime_s);
	add_content(b, entry);
	tar_pad(b, entry->bytes);
}

static void tar_end(struct hive_bundle *b)
{
	static const char zeros[2 * TAR_BLOCK];

	add_bytes(b, zeros, sizeof(zeros));
}

/* ---- zip (APPNOTE 6.3.10) ---- */

struct raw {
	uint8_t bytes[512];
	size_t n;
};

static void le(struct raw *raw, uint64_t value, int n_bytes)
{
	for (int i = 0; i < n_bytes; i++)
		raw->bytes[raw->n++] = (uint8_t)(value >> (8 * i));
}

/* Two seconds of resolution, in UTC, from 1980 on. */
static uint32_t dos_time(int64_t s)
{
	time_t at = (time_t)SKEP_MAX(s, INT64_C(315532800));
	struct tm tm;

	(void)gmtime_r(&at, &tm);
	return (uint32_t)(tm.tm_year - 80) << 25 | (uint32_t)(tm.tm_mon + 1) << 21 |
	       (uint32_t)tm.tm_mday << 16 | (uint32_t)tm.tm_hour << 11 | (uint32_t)tm.tm_min << 5 |
	       (uint32_t)tm.tm_sec / 2;
}

/* What the local header and the directory have in common: from "version needed" to the sizes. */
static void zip_common(struct raw *raw, const struct entry *entry, bool large, uint32_t time)
{
	le(raw, large ? 45 : 20, 2);
	le(raw, 1 << 11, 2); /* names are UTF-8 */
	le(raw, 0, 2);	     /* stored */
	le(raw, time, 4);
	le(raw, entry->crc32, 4);
	for (int twice = 0; twice < 2; twice++)
		le(raw, entry->bytes >= ZIP_32 ? ZIP_32 : entry->bytes, 4);
	le(raw, strlen(entry->path), 2);
}

static void zip_entry(struct hive_bundle *b, struct entry *entry, int64_t mtime_s)
{
	bool large = entry->bytes >= ZIP_32;
	struct raw raw = { .n = 0 };

	entry->header_at = b->bytes;
	le(&raw, 0x04034b50, 4);
	zip_common(&raw, entry, large, dos_time(mtime_s));
	le(&raw, large ? 20 : 0, 2);
	add_bytes(b, raw.bytes, raw.n);
	add_bytes(b, entry->path, strlen(entry->path));
	raw.n = 0;
	if (large) {
		le(&raw, 1, 2);
		le(&raw, 16, 2);
		le(&raw, entry->bytes, 8);
		le(&raw, entry->bytes, 8);
		add_bytes(b, raw.bytes, raw.n);
	}
	add_content(b, entry);
}

static void zip_directory_entry(struct hive_bundle *b, const struct entry *entry, int64_t mtime_s)
{
	bool large = entry->bytes >= ZIP_32, far = entry->header_at >= ZIP_32;
	unsigned extra = (large ? 16u : 0) + (far ? 8u : 0);
	struct raw raw = { .n = 0 };

	le(&raw, 0x02014b50, 4);
	le(&raw, 3 << 8 | 45, 2); /* made on Unix: the attributes are those of Unix */
	zip_common(&raw, entry, large || far, dos_time(mtime_s));
	le(&raw, extra ? extra + 4 : 0, 2);
	le(&raw, 0, 2 + 2 + 2); /* comment, disk, internal attributes */
	le(&raw, (uint64_t)0100644 << 16, 4);
	le(&raw, far ? ZIP_32 : entry->header_at, 4);
	add_bytes(b, raw.bytes, raw.n);
	add_bytes(b, entry->path, strlen(entry->path));
	raw.n = 0;
	if (extra) {
		le(&raw, 1, 2);
		le(&raw, extra, 2);
	}
	if (large) {
		le(&raw, entry->bytes, 8);
		le(&raw, entry->bytes, 8);
	}
	if (far)
		le(&raw, entry->header_at, 8);
	add_bytes(b, raw.bytes, raw.n);
}

static void zip_end(struct hive_bundle *b, const struct entry *entries, uint32_t n, int64_t mtime_s)
{
	uint64_t at = b->bytes, size, end;
	struct raw raw = { .n = 0 };

	for (uint32_t i = 0; i < n; i++)
		zip_directory_entry(b, &entries[i], mtime_s);
	size = b->bytes - at;
	end = b->bytes;
	if (n >= ZIP_16 || at >= ZIP_32 || size >= ZIP_32) {
		le(&raw, 0x06064b50, 4);
		le(&raw, 44, 8);
		le(&raw, 3 << 8 | 45, 2);
		le(&raw, 45, 2);
		le(&raw, 0, 8);
		le(&raw, n, 8);
		le(&raw, n, 8);
		le(&raw, size, 8);
		le(&raw, at, 8);
		le(&raw, 0x07064b50, 4);
		le(&raw, 0, 4);
		le(&raw, end, 8);
		le(&raw, 1, 4);
	}
	le(&raw, 0x06054b50, 4);
	le(&raw, 0, 4);
	le(&raw, SKEP_MIN((uint64_t)n, ZIP_16), 2);
	le(&raw, SKEP_MIN((uint64_t)n, ZIP_16), 2);
	le(&raw, SKEP_MIN(size, ZIP_32), 4);
	le(&raw, SKEP_MIN(at, ZIP_32), 4);
	le(&raw, 0, 2);
	add_bytes(b, raw.bytes, raw.n);
}

/* ---- the bag (RFC 8493) ---- */

struct text {
	char *text;
	size_t n;
	FILE *out;
};

static void text_free(struct text *text)
{
	if (text->out)
		fclose(text->out);
	free(text->text);
}

static int SKEP_PRINTF(2, 3) text_add(struct text *text, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (!text->out)
		text->out = open_memstream(&text->text, &text->n);
	if (!text->out)
		return -ENOMEM;
	va_start(ap, fmt);
	n = vfprintf(text->out, fmt, ap);
	va_end(ap);
	return n < 0 || fflush(text->out) != 0 ? -ENOMEM : 0;
}

static void sha256_of(const void *data, size_t n, char ret[static 65])
{
	uint8_t hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(hash, data, n);
	sodium_bin2hex(ret, 65, hash, sizeof(hash));
}

struct bag {
	struct text declaration, info, manifest, tags;
};

static void bag_clear(struct bag *bag)
{
	text_free(&bag->declaration);
	text_free(&bag->info);
	text_free(&bag->manifest);
	text_free(&bag->tags);
}

static bool is_payload(const struct hive_bundle_file *file)
{
	return strncmp(file->path, "data/", 5) == 0;
}

static int add_tag(struct bag *bag, const char *path, const char *text)
{
	char sha256[65];

	sha256_of(text, strlen(text), sha256);
	return text_add(&bag->tags, "%s  %s\n", sha256, path);
}

static int write_info(const struct hive_bundle_cfg *cfg, struct bag *bag)
{
	time_t at = (time_t)(cfg->created_ns / (int64_t)SKEP_NSEC_PER_SEC);
	uint64_t bytes = 0, n = 0;
	char date[16];
	struct tm tm;

	for (uint32_t i = 0; i < cfg->n_files; i++)
		if (is_payload(&cfg->files[i])) {
			bytes += cfg->files[i].bytes;
			n++;
		}
	(void)gmtime_r(&at, &tm);
	(void)strftime(date, sizeof(date), "%Y-%m-%d", &tm);
	return text_add(
		&bag->info,
		"Bag-Software-Agent: %s\nBagging-Date: %s\nExternal-Identifier: %s\nPayload-Oxum: %" PRIu64
		".%" PRIu64 "\n",
		cfg->software, date, cfg->top, bytes, n);
}

static int write_bag(const struct hive_bundle_cfg *cfg, struct bag *bag)
{
	int r = text_add(&bag->declaration, "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n");

	if (r == 0)
		r = write_info(cfg, bag);
	for (uint32_t i = 0; r == 0 && i < cfg->n_files; i++)
		if (is_payload(&cfg->files[i]))
			r = text_add(&bag->manifest, "%s  %s\n", cfg->files[i].sha256, cfg->files[i].path);
	if (r == 0 && !bag->manifest.text)
		r = text_add(&bag->manifest, "%s", "");
	if (r == 0)
		r = add_tag(bag, "bag-info.txt", bag->info.text);
	if (r == 0)
		r = add_tag(bag, "bagit.txt", bag->declaration.text);
	if (r == 0)
		r = add_tag(bag, "manifest-sha256.txt", bag->manifest.text);
	for (uint32_t i = 0; r == 0 && i < cfg->n_files; i++)
		if (!is_payload(&cfg->files[i]))
			r = add_tag(bag, cfg->files[i].path, cfg->files[i].text);
	return r;
}

/* ---- the whole ---- */

static int entry_of(const struct hive_bundle_cfg *cfg, const char *path, const char *text, struct entry *ret)
{
	size_t n = text ? strlen(text) : 0;

	*ret = (struct entry){ .bytes = n, .data = (const uint8_t *)text, .file = -1 };
	if (text)
		ret->crc32 = (uint32_t)crc32_z(0, (const uint8_t *)text, n);
	return (size_t)snprintf(ret->path, sizeof(ret->path), "%s/%s", cfg->top, path) < sizeof(ret->path)
		       ? 0
		       : -ENAMETOOLONG;
}

#define BAG_FILES 4

static int list_entries(struct hive_bundle *b, const struct hive_bundle_cfg *cfg, const struct bag *bag,
			struct entry *entries)
{
	const struct {
		const char *path, *text;
	} own[BAG_FILES] = { { "bagit.txt", bag->declaration.text },
			     { "bag-info.txt", bag->info.text },
			     { "manifest-sha256.txt", bag->manifest.text },
			     { "tagmanifest-sha256.txt", bag->tags.text } };
	uint32_t n = 0;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < BAG_FILES; i++)
		r = entry_of(cfg, own[i].path, own[i].text, &entries[n++]);
	for (uint32_t i = 0; r == 0 && i < cfg->n_files; i++) {
		const struct hive_bundle_file *file = &cfg->files[i];
		struct entry *entry = &entries[n++];

		r = entry_of(cfg, file->path, file->stored ? NULL : file->text, entry);
		if (r < 0 || !file->stored)
			continue;
		entry->bytes = file->bytes;
		entry->crc32 = file->crc32;
		entry->file = (int32_t)b->n_stored;
		b->stored[b->n_stored] = (struct stored){ strdup(file->stored), file->bytes };
		if (!b->stored[b->n_stored++].name)
			r = -ENOMEM;
	}
	return r;
}

static int lay_out(struct hive_bundle *b, const struct hive_bundle_cfg *cfg, const struct bag *bag)
{
	uint32_t n = cfg->n_files + BAG_FILES;
	_skep_free_ struct entry *entries = calloc(n, sizeof(*entries));
	int64_t mtime_s = cfg->created_ns / (int64_t)SKEP_NSEC_PER_SEC;
	int r = entries ? list_entries(b, cfg, bag, entries) : -ENOMEM;

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < n; i++)
		if (cfg->zip)
			zip_entry(b, &entries[i], mtime_s);
		else
			tar_entry(b, &entries[i], mtime_s);
	if (cfg->zip)
		zip_end(b, entries, n, mtime_s);
	else
		tar_end(b);
	return b->no_memory ? -ENOMEM : 0;
}

int hive_bundle_new(const struct hive_bundle_cfg *cfg, struct hive_bundle **ret, struct skep_err *err)
{
	SKEP_CLEANUP(bag_clear) struct bag bag = { 0 };
	struct hive_bundle *b = calloc(1, sizeof(*b));
	char word[128];
	int r;

	if (!b) {
		close(cfg->folder);
		return skep_err_set(err, -ENOMEM, "out of memory");
	}
	b->folder = cfg->folder;
	b->open_fd = b->open_file = -1;
	b->stored = calloc(cfg->n_files + 1, sizeof(*b->stored));
	r = b->stored ? write_bag(cfg, &bag) : -ENOMEM;
	if (r == 0)
		r = lay_out(b, cfg, &bag);
	if (r < 0) {
		hive_bundle_free(b);
		return skep_err_set(err, r, "%s: the bundle cannot be laid out: %s", cfg->top, strerror(-r));
	}
	/* The tag manifest covers everything in the bag; the length tells layouts apart. */
	sha256_of(bag.tags.text, bag.tags.n, b->etag);
	snprintf(word, sizeof(word), "%s %s %" PRIu64, cfg->zip ? "zip" : "tar", b->etag, b->bytes);
	sha256_of(word, strlen(word), b->etag);
	*ret = b;
	return 0;
}

void hive_bundle_free(void *bundle)
{
	struct hive_bundle *b = bundle;

	if (!b)
		return;
	for (uint32_t i = 0; i < b->n_stored; i++)
		free(b->stored[i].name);
	free(b->stored);
	free(b->pieces);
	free(b->meta);
	skep_closep(&b->folder);
	skep_closep(&b->open_fd);
	free(b);
}

uint64_t hive_bundle_bytes(const struct hive_bundle *bundle)
{
	return bundle->bytes;
}

const char *hive_bundle_etag(const struct hive_bundle *bundle)
{
	return bundle->etag;
}

static const struct piece *piece_at(const struct hive_bundle *b, uint64_t at)
{
	uint32_t low = 0, high = b->n_pieces;

	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;

		if (b->pieces[mid].at <= at)
			low = mid;
		else
			high = mid;
	}
	return &b->pieces[low];
}

static int open_stored(struct hive_bundle *b, int32_t file)
{
	if (b->open_file == file)
		return 0;
	skep_closep(&b->open_fd);
	b->open_file = -1;
	b->open_fd = openat(b->folder, b->stored[file].name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (b->open_fd < 0)
		return -errno;
	b->open_file = file;
	return 0;
}

ssize_t hive_bundle_read(void *bundle, uint64_t at, void *buf, size_t max)
{
	struct hive_bundle *b = bundle;
	const struct piece *piece;
	uint64_t within;
	size_t n;
	ssize_t k;
	int r;

	if (at >= b->bytes)
		return 0;
	piece = piece_at(b, at);
	within = at - piece->at;
	n = (size_t)SKEP_MIN((uint64_t)max, piece->bytes - within);
	if (piece->file < 0) {
		memcpy(buf, b->meta + piece->offset + within, n);
		return (ssize_t)n;
	}
	r = open_stored(b, piece->file);
	if (r < 0)
		return r;
	do
		k = pread(b->open_fd, buf, n, (off_t)within);
	while (k < 0 && errno == EINTR);
	return k < 0 ? -errno : k;
}
