/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads and writes a segment's sidecar. One table names the fields for both directions. The only file of
 * capture/ that knows how a sidecar looks as JSON; never touches the segment. Control or packer thread: it
 * allocates and waits for the disk.
 *
 * The index is an array of arrays, its columns named once: an object per entry would be three times the size.
 */
#include "capture/sidecar.h"

#include "capture/sidecar_rows.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum kind { TEXT, NUM, NUM32, SIGNED, FLAG };

struct field {
	const char *group; /* NULL: top level */
	const char *name;
	enum kind kind;
	size_t offset;
};

#define FIELD(kind, name)                                                                                    \
	{                                                                                                    \
		NULL, #name, kind, offsetof(struct cap_sidecar, name)                                        \
	}
#define MEMBER(kind, group, name)                                                                            \
	{                                                                                                    \
#group, #name, kind, offsetof(struct cap_sidecar, group.name)                                \
	}

static const struct field fields[] = {
	FIELD(TEXT, segment),
	FIELD(TEXT, job),
	FIELD(TEXT, link),
	FIELD(NUM, queue),
	FIELD(NUM, seq),
	FIELD(TEXT, format),
	FIELD(TEXT, compression),
	FIELD(NUM32, linktype),
	FIELD(NUM32, snaplen),
	FIELD(TEXT, filter),
	FIELD(TEXT, level),
	FIELD(TEXT, source),
	FIELD(TEXT, driver),
	FIELD(TEXT, nic),
	FIELD(TEXT, kernel),
	FIELD(TEXT, hostname),
	FIELD(TEXT, software),
	FIELD(TEXT, timestamps),
	MEMBER(FLAG, clock, known),
	MEMBER(FLAG, clock, synchronised),
	MEMBER(NUM, clock, error_ns),
	MEMBER(SIGNED, clock, tai_offset_s),
	FIELD(NUM, started_ns),
	FIELD(NUM, first_ns),
	FIELD(NUM, last_ns),
	MEMBER(NUM, account, seen_pkts),
	MEMBER(NUM, account, stored_pkts),
	MEMBER(NUM, account, rejected_pkts),
	FIELD(NUM, bytes_wire),
	FIELD(NUM, bytes_raw),
	FIELD(NUM, bytes_disk),
	FIELD(FLAG, complete),
	FIELD(FLAG, recovered),
	FIELD(TEXT, sha256),
};

static const char *const columns[] = {
	"file_offset", "raw_offset", "file_bytes", "raw_bytes", "pkts", "ts_first_ns", "ts_last_ns",
};
#define N_COLUMNS ARRAY_LEN(columns)
_Static_assert(N_COLUMNS == CAP_SIDECAR_COLUMNS, "each has a name");

/* What cap_sidecar_read returns; the strings of `sc` live in `root`. */
struct owner {
	struct cap_sidecar sc;
	json_t *root;
	struct cap_sidecar_entry *index;
	struct cap_sidecar_count *dropped;
	const char **reasons;
};

static void decrefp(json_t **v)
{
	json_decref(*v);
}
#define _json_ SKEP_CLEANUP(decrefp)

/* ---- writing ---- */

static json_t *text_or_null(const char *text)
{
	_skep_free_ char *copy = NULL;
	json_t *v;

	if (!text)
		return json_null();
	v = json_string(text);
	if (v)
		return v;
	/* Not UTF-8 (or no memory, which the second try tells). */
	copy = strdup(text);
	if (!copy)
		return NULL;
	for (char *c = copy; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	return json_string(copy);
}

static json_t *num_or_null(uint64_t v)
{
	return v > INT64_MAX ? json_null() : json_integer((json_int_t)v);
}

static json_t *field_value(const struct cap_sidecar *sc, const struct field *f)
{
	const void *p = (const char *)sc + f->offset;

	switch (f->kind) {
	case TEXT:
		return text_or_null(*(const char *const *)p);
	case NUM:
		return num_or_null(*(const uint64_t *)p);
	case NUM32:
		return json_integer(*(const uint32_t *)p);
	case SIGNED:
		return json_integer(*(const int64_t *)p);
	case FLAG:
		return json_boolean(*(const bool *)p);
	}
	return NULL;
}

/* Sets are checked once at the end: a failed json_object_set_new leaves the object without the field. */
static int add_fields(json_t *root, const struct cap_sidecar *sc)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		const struct field *f = &fields[i];
		json_t *to = root;

		if (f->group) {
			to = json_object_get(root, f->group);
			if (!to) {
				to = json_object();
				r |= json_object_set_new(root, f->group, to);
			}
		}
		r |= json_object_set_new(to, f->name, field_value(sc, f));
	}
	return r ? -ENOMEM : 0;
}

static int add_dropped(json_t *account, const struct cap_sidecar *sc)
{
	json_t *dropped = json_object();
	int r = json_object_set_new(account, "dropped", dropped);

	for (size_t i = 0; i < sc->account.n_dropped; i++)
		r |= json_object_set_new(dropped, sc->account.dropped[i].name,
					 num_or_null(sc->account.dropped[i].pkts));
	return r ? -ENOMEM : 0;
}

static int add_reasons(json_t *root, const struct cap_sidecar *sc)
{
	json_t *reasons = json_array();
	int r = json_object_set_new(root, "reasons", reasons);

	for (size_t i = 0; i < sc->n_reasons; i++)
		r |= json_array_append_new(reasons, text_or_null(sc->reasons[i]));
	return r ? -ENOMEM : 0;
}

static int add_index(json_t *root, const struct cap_sidecar *sc)
{
	json_t *names = json_array();
	json_t *rows = json_array();
	int r = json_object_set_new(root, "index_columns", names) | json_object_set_new(root, "index", rows);

	for (size_t c = 0; c < N_COLUMNS; c++)
		r |= json_array_append_new(names, json_string(columns[c]));
	for (size_t i = 0; i < sc->n_index && !r; i++) {
		const uint64_t *v = (const uint64_t *)&sc->index[i];
		json_t *row = json_array();

		for (size_t c = 0; c < N_COLUMNS; c++)
			r |= json_array_append_new(row, num_or_null(v[c]));
		r |= json_array_append_new(rows, row);
	}
	return r ? -ENOMEM : 0;
}

static json_t *build(const struct cap_sidecar *sc)
{
	_json_ json_t *root = json_object();

	if (!root ||
	    json_object_set_new(root, "skep_segment", json_integer(CAP_SIDECAR_FORMAT_VERSION)) < 0 ||
	    add_fields(root, sc) < 0 || add_dropped(json_object_get(root, "account"), sc) < 0 ||
	    add_reasons(root, sc) < 0 || add_index(root, sc) < 0)
		return NULL;
	return TAKE_PTR(root);
}

/* jansson hands over every token by itself: a million index entries would be tens of millions of writes. */
struct dump {
	int fd;
	size_t n;
	char buf[16384];
};

static int dump_flush(struct dump *d)
{
	for (size_t done = 0; done < d->n;) {
		const ssize_t w = write(d->fd, d->buf + done, d->n - done);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return -1;
		done += (size_t)w;
	}
	d->n = 0;
	return 0;
}

static int dump_token(const char *data, size_t n, void *arg)
{
	struct dump *d = arg;

	while (n > 0) {
		const size_t part = SKEP_MIN(n, sizeof(d->buf) - d->n);

		memcpy(d->buf + d->n, data, part);
		d->n += part;
		data += part;
		n -= part;
		if (d->n == sizeof(d->buf) && dump_flush(d) < 0)
			return -1;
	}
	return 0;
}

/* Writes (and syncs) the temporary file; it is removed by the caller if this fails. */
static int write_temporary(int dirfd, const char *name, json_t *root, bool durable)
{
	_skep_close_ int fd = -1;
	struct dump dump;

	/* Left by a writer that died: its name is ours. */
	if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	dump.fd = fd;
	dump.n = 0;
	errno = 0;
	if (json_dump_callback(root, dump_token, &dump, JSON_COMPACT) < 0)
		return errno ? -errno : -ENOMEM;
	if (dump_token("\n", 1, &dump) < 0 || dump_flush(&dump) < 0 || (durable && fsync(fd) < 0))
		return -errno;
	return 0;
}

/* SEGMENT.json, and ".SEGMENT.json.tmp" for the time of writing. */
static int make_names(const char *segment, char **ret_name, char **ret_tmp)
{
	_skep_free_ char *name = NULL;

	if (asprintf(&name, "%s" CAP_SIDECAR_SUFFIX, segment) < 0) {
		name = NULL;
		return -ENOMEM;
	}
	if (ret_tmp && asprintf(ret_tmp, ".%s.tmp", name) < 0) {
		*ret_tmp = NULL;
		return -ENOMEM;
	}
	*ret_name = TAKE_PTR(name);
	return 0;
}

static int write_named(int dirfd, const char *segment, const struct cap_sidecar *sc, bool durable)
{
	_json_ json_t *root = build(sc);
	_skep_free_ char *name = NULL;
	_skep_free_ char *tmp = NULL;
	int r;

	if (!root)
		return -ENOMEM;
	r = make_names(segment, &name, &tmp);
	if (r < 0)
		return r;
	r = write_temporary(dirfd, tmp, root, durable);
	if (r == 0 && renameat(dirfd, tmp, dirfd, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dirfd, tmp, 0);
		return r;
	}
	/* Some file systems cannot sync a directory; the rename has happened all the same. */
	if (durable && fsync(dirfd) < 0 && errno != EINVAL)
		return -errno;
	return 0;
}

int cap_sidecar_write(int dirfd, const char *segment, const struct cap_sidecar *sc)
{
	return write_named(dirfd, segment, sc, true);
}

int cap_sidecar_note(int dirfd, const char *part, const struct cap_sidecar *facts)
{
	static const char *const reasons[] = { "it is being written" };
	struct cap_sidecar sc = *facts;

	sc.segment = part;
	sc.complete = false;
	sc.reasons = reasons;
	sc.n_reasons = 1;
	return write_named(dirfd, part, &sc, false);
}

void cap_sidecar_drop_note(int dirfd, const char *part)
{
	_skep_free_ char *name = NULL;

	if (make_names(part, &name, NULL) == 0)
		(void)unlinkat(dirfd, name, 0);
}

/* ---- reading ---- */

static const struct cap_sidecar nothing = CAP_SIDECAR_NULL;

static int bad_field(struct skep_err *err, const char *group, const char *name, const char *want)
{
	return skep_err_set(err, SKEP_E_BAD_DATA, "sidecar: /%s%s%s is not %s", group ? group : "",
			    group ? "/" : "", name, want);
}

/* Not negative, or null. */
static bool get_num(const json_t *v, uint64_t *ret)
{
	if (json_is_null(v)) {
		*ret = CAP_SIDECAR_UNKNOWN;
		return true;
	}
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return false;
	*ret = (uint64_t)json_integer_value(v);
	return true;
}

static int read_field(struct cap_sidecar *sc, const struct field *f, const json_t *v, struct skep_err *err)
{
	void *p = (char *)sc + f->offset;
	uint64_t n;

	switch (f->kind) {
	case TEXT:
		if (!json_is_string(v) && !json_is_null(v))
			return bad_field(err, f->group, f->name, "a text");
		*(const char **)p = json_string_value(v);
		return 0;
	case NUM:
		if (!get_num(v, p))
			return bad_field(err, f->group, f->name, "a number of 0 or more");
		return 0;
	case NUM32:
		if (!get_num(v, &n) || n > UINT32_MAX)
			return bad_field(err, f->group, f->name, "a number below 2^32");
		*(uint32_t *)p = (uint32_t)n;
		return 0;
	case SIGNED:
		if (!json_is_integer(v))
			return bad_field(err, f->group, f->name, "a number");
		*(int64_t *)p = json_integer_value(v);
		return 0;
	case FLAG:
		if (!json_is_boolean(v))
			return bad_field(err, f->group, f->name, "true or false");
		*(bool *)p = json_is_true(v);
		return 0;
	}
	return 0;
}

static int read_fields(struct cap_sidecar *sc, const json_t *root, struct skep_err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		const struct field *f = &fields[i];
		const json_t *from = f->group ? json_object_get(root, f->group) : root;
		const json_t *v;
		int r;

		if (from && !json_is_object(from))
			return bad_field(err, NULL, f->group, "an object");
		v = from ? json_object_get(from, f->name) : NULL;
		if (!v)
			continue;
		r = read_field(sc, f, v, err);
		if (r)
			return r;
	}
	return 0;
}

static int read_dropped(struct owner *o, const json_t *account, struct skep_err *err)
{
	json_t *dropped = json_object_get(account, "dropped");
	const char *name;
	json_t *v;

	if (!dropped)
		return 0;
	if (!json_is_object(dropped))
		return bad_field(err, "account", "dropped", "an object");
	o->dropped = calloc(json_object_size(dropped) + 1, sizeof(*o->dropped));
	if (!o->dropped)
		return -ENOMEM;
	o->sc.account.dropped = o->dropped;
	json_object_foreach(dropped, name, v)
	{
		struct cap_sidecar_count *c = &o->dropped[o->sc.account.n_dropped++];

		c->name = name;
		if (!get_num(v, &c->pkts))
			return bad_field(err, "account/dropped", name, "a number of 0 or more");
	}
	return 0;
}

static int read_reasons(struct owner *o, struct skep_err *err)
{
	const json_t *reasons = json_object_get(o->root, "reasons");
	const size_t n = json_array_size(reasons);

	if (!reasons)
		return 0;
	if (!json_is_array(reasons))
		return bad_field(err, NULL, "reasons", "an array");
	o->reasons = calloc(n + 1, sizeof(*o->reasons));
	if (!o->reasons)
		return -ENOMEM;
	o->sc.reasons = o->reasons;
	for (size_t i = 0; i < n; i++) {
		const json_t *v = json_array_get(reasons, i);

		if (!json_is_string(v))
			return bad_field(err, NULL, "reasons", "an array of texts");
		o->reasons[o->sc.n_reasons++] = json_string_value(v);
	}
	return 0;
}

static int read_row(struct cap_sidecar_entry *e, const json_t *row, size_t i, struct skep_err *err)
{
	uint64_t *v = (uint64_t *)e;

	if (json_array_size(row) != N_COLUMNS)
		return skep_err_set(err, SKEP_E_BAD_DATA, "sidecar: /index/%zu has not %zu columns", i,
				    N_COLUMNS);
	for (size_t c = 0; c < N_COLUMNS; c++)
		if (!get_num(json_array_get(row, c), &v[c]))
			return skep_err_set(err, SKEP_E_BAD_DATA,
					    "sidecar: /index/%zu/%zu is not a number of 0 or more", i, c);
	return 0;
}

static int read_index(struct owner *o, struct skep_err *err)
{
	const json_t *names = json_object_get(o->root, "index_columns");
	const json_t *rows = json_object_get(o->root, "index");
	const size_t n = json_array_size(rows);

	if (!rows)
		return 0;
	if (!json_is_array(rows))
		return bad_field(err, NULL, "index", "an array");
	if (json_array_size(names) != N_COLUMNS)
		return bad_field(err, NULL, "index_columns", "the columns of this version");
	for (size_t c = 0; c < N_COLUMNS; c++) {
		const char *name = json_string_value(json_array_get(names, c));

		if (!name || strcmp(name, columns[c]) != 0)
			return bad_field(err, NULL, "index_columns", "the columns of this version");
	}
	o->index = calloc(n + 1, sizeof(*o->index));
	if (!o->index)
		return -ENOMEM;
	o->sc.index = o->index;
	for (size_t i = 0; i < n; i++) {
		const int r = read_row(&o->index[i], json_array_get(rows, i), i, err);

		if (r)
			return r;
		o->sc.n_index++;
	}
	return 0;
}

static int read_all(struct owner *o, struct skep_err *err)
{
	const json_t *version = json_object_get(o->root, "skep_segment");
	int r;

	if (!json_is_integer(version))
		return skep_err_set(err, SKEP_E_BAD_DATA,
				    "sidecar: not one of ours (no number at /skep_segment)");
	if (json_integer_value(version) != CAP_SIDECAR_FORMAT_VERSION)
		return skep_err_set(err, SKEP_E_UNSUPPORTED, "sidecar: version %lld, this program knows %d",
				    (long long)json_integer_value(version), CAP_SIDECAR_FORMAT_VERSION);
	o->sc = nothing;
	o->sc.owner = o;
	r = read_fields(&o->sc, o->root, err);
	if (r == 0)
		r = read_dropped(o, json_object_get(o->root, "account"), err);
	if (r == 0)
		r = read_reasons(o, err);
	if (r == 0)
		r = read_index(o, err);
	return r;
}

/* What is before the rows, with an empty index. */
static json_t *load_head(const char *text, size_t n, json_error_t *where)
{
	_skep_free_ char *head = malloc(n + 2);

	if (!head)
		return NULL;
	memcpy(head, text, n);
	memcpy(head + n, "]}", 2);
	return json_loadb(head, n + 2, JSON_REJECT_DUPLICATES, where);
}

static void take_rows(struct owner *o, struct cap_sidecar_rows *rows)
{
	free(o->index);
	o->index = TAKE_PTR(rows->v);
	o->sc.index = o->index;
	o->sc.n_index = rows->n;
}

int cap_sidecar_parse(const char *text, size_t n, struct cap_sidecar **ret, struct skep_err *err)
{
	struct owner *o = calloc(1, sizeof(*o));
	struct cap_sidecar_rows rows = { .v = NULL };
	json_error_t where = { .text = "no memory" };
	bool split;
	int r;

	if (!o)
		return -ENOMEM;
	o->sc.owner = o;
	split = cap_sidecar_rows_read(text, n, &rows);
	o->root = split ? load_head(text, rows.at, &where)
			: json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
	if (!o->root)
		r = skep_err_set(err, SKEP_E_BAD_DATA, "sidecar: line %d, column %d: %s", where.line,
				 where.column, where.text);
	else if (!json_is_object(o->root))
		r = skep_err_set(err, SKEP_E_BAD_DATA, "sidecar: not a JSON object");
	else
		r = read_all(o, err);
	if (r == 0 && split)
		take_rows(o, &rows);
	free(rows.v);
	if (r) {
		cap_sidecar_free(&o->sc);
		return r;
	}
	*ret = &o->sc;
	return 0;
}

static int read_text(int dirfd, const char *name, char **ret, size_t *ret_n, struct skep_err *err)
{
	_skep_close_ int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	_skep_free_ char *text = NULL;
	struct stat st;
	size_t n = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return skep_err_set(err, SKEP_E_BAD_DATA, "%s: not a regular file", name);
	if (st.st_size > (off_t)CAP_SIDECAR_MAX_BYTES)
		return skep_err_set(err, SKEP_E_BAD_DATA, "%s: longer than %u bytes", name,
				    CAP_SIDECAR_MAX_BYTES);
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	while (n < (size_t)st.st_size) {
		const ssize_t got = read(fd, text + n, (size_t)st.st_size - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	*ret = TAKE_PTR(text);
	*ret_n = n;
	return 0;
}

int cap_sidecar_read(int dirfd, const char *segment, struct cap_sidecar **ret, struct skep_err *err)
{
	_skep_free_ char *name = NULL;
	_skep_free_ char *text = NULL;
	size_t n = 0;
	int r;

	r = make_names(segment, &name, NULL);
	if (r == 0)
		r = read_text(dirfd, name, &text, &n, err);
	return r ? r : cap_sidecar_parse(text, n, ret, err);
}

struct cap_sidecar *cap_sidecar_free(struct cap_sidecar *sc)
{
	struct owner *o = sc ? sc->owner : NULL;

	if (!o)
		return NULL;
	json_decref(o->root);
	free(o->index);
	free(o->dropped);
	free(o->reasons);
	free(o);
	return NULL;
}
