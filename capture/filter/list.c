/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Address lists: reads the files, and merges all lists of a context into one table of prefixes whose masks
 * say which lists an address is in. A prefix has the bits of every shorter prefix around it too, so that one
 * longest-prefix look-up answers for all lists at once, in the kernel (lengths.c) as here.
 *
 * Never asks the DNS, and never opens anything but regular files: what a filter names may come from a form.
 * One thread per context; ranges are immutable.
 */
#include "capture/filter/list.h"

#include "capture/filter/limits.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct list {
	uint32_t refs;
	char *name; /* NULL: free */
	bool has_file;
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec modified;
	struct flt_prefix *v; /* sorted, different; mask unused */
	size_t n;
	struct flt_list_info info;
};

struct flt_lists {
	struct list lists[FLT_MAX_LISTS];
	uint64_t version;
};

/* A list while it is read. */
struct reading {
	const char *name;
	uint32_t line;
	struct flt_prefix *v;
	size_t n, cap;
	struct skep_err *err;
};

int flt_lists_new(struct flt_lists **ret, struct skep_err *err)
{
	struct flt_lists *l = calloc(1, sizeof(*l));

	if (!l)
		return skep_err_set(err, -ENOMEM, "no memory for address lists");
	*ret = l;
	return 0;
}

static void forget(struct list *list)
{
	free(list->name);
	free(list->v);
	memset(list, 0, sizeof(*list));
}

struct flt_lists *flt_lists_free(struct flt_lists *l)
{
	for (uint32_t i = 0; l && i < FLT_MAX_LISTS; i++)
		forget(&l->lists[i]);
	free(l);
	return NULL;
}

/* Refuses the line. It is shown only if it looks like an address: the file may be anything, and secret. */
static int refuse(const struct reading *r, const char *word, size_t len, const char *why)
{
	char shown[52] = "this";
	size_t n = 0;

	while (n < len && strchr("0123456789abcdefABCDEF.:/", word[n]) && word[n])
		n++;
	if (n == len && len < sizeof(shown) - 2)
		(void)snprintf(shown, sizeof(shown), "\"%.*s\"", (int)len, word);
	(void)skep_err_set(r->err, SKEP_E_USAGE, "%.200s:%u: %s %s", r->name, r->line, shown, why);
	(void)skep_err_hint(r->err,
			    "One address or prefix a line, as in 192.0.2.0/24 or 2001:db8::1; # begins a "
			    "comment");
	return SKEP_E_USAGE;
}

static bool parse_bits(const char *s, size_t n, unsigned max, uint8_t *ret)
{
	unsigned bits = 0;

	if (n == 0 || n > 3 || (n > 1 && s[0] == '0'))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		bits = bits * 10 + (unsigned)(s[i] - '0');
	}
	*ret = (uint8_t)bits;
	return bits <= max;
}

static bool has_host_bits(const struct flt_prefix *p)
{
	unsigned bytes = p->version == 4 ? 4 : 16;

	for (unsigned i = p->bits / 8; i < bytes; i++) {
		uint8_t host = i == p->bits / 8u ? (uint8_t)(0xff >> p->bits % 8) : 0xff;

		if (p->addr[i] & host)
			return true;
	}
	return false;
}

static int take_word(struct reading *r, const char *word, size_t len)
{
	const char *slash = memchr(word, '/', len);
	size_t n = slash ? (size_t)(slash - word) : len;
	struct flt_prefix p = { 0 };
	char addr[64];

	if (n >= sizeof(addr) || memchr(word, '\0', len))
		return refuse(r, word, len, "is not an address");
	memcpy(addr, word, n);
	addr[n] = '\0';
	if (inet_pton(AF_INET, addr, p.addr) == 1)
		p.version = 4;
	else if (inet_pton(AF_INET6, addr, p.addr) == 1)
		p.version = 6;
	else
		return refuse(r, word, len, "is not an address (names are not looked up)");
	p.bits = p.version == 4 ? 32 : 128;
	if (slash && !parse_bits(slash + 1, len - n - 1, p.bits, &p.bits))
		return refuse(r, word, len, "has a prefix length that is not a number of its bits");
	if (has_host_bits(&p))
		return refuse(r, word, len, "has bits set behind its prefix length");
	if (r->n == FLT_MAX_LIST_ENTRIES)
		return skep_err_set(r->err, SKEP_E_USAGE, "%.200s:%u: a list has at most %u addresses",
				    r->name, r->line, FLT_MAX_LIST_ENTRIES);
	if (r->n == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 1024;
		struct flt_prefix *v = realloc(r->v, cap * sizeof(*v));

		if (!v)
			return skep_err_set(r->err, -ENOMEM, "no memory for the addresses of %.200s",
					    r->name);
		r->v = v;
		r->cap = cap;
	}
	r->v[r->n++] = p;
	return 0;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static int take_line(struct reading *r, const char *s, size_t n)
{
	const char *comment = memchr(s, '#', n);
	size_t from = 0, to = comment ? (size_t)(comment - s) : n;

	r->line++;
	while (from < to && is_space(s[from]))
		from++;
	while (to > from && is_space(s[to - 1]))
		to--;
	return from < to ? take_word(r, s + from, to - from) : 0;
}

static int compare(const void *a, const void *b)
{
	const struct flt_prefix *p = a, *q = b;
	int c = (int)p->version - (int)q->version;

	if (c == 0)
		c = memcmp(p->addr, q->addr, sizeof(p->addr));
	return c ? c : (int)p->bits - (int)q->bits;
}

size_t flt_list_sort(struct flt_prefix *v, size_t n)
{
	size_t kept = 0;

	if (n > 0)
		qsort(v, n, sizeof(*v), compare);
	for (size_t i = 0; i < n; i++) {
		if (kept > 0 && compare(&v[kept - 1], &v[i]) == 0)
			v[kept - 1].mask |= v[i].mask;
		else
			v[kept++] = v[i];
	}
	return kept;
}

static int read_text(const char *name, const char *text, size_t n, struct list *ret, struct skep_err *err)
{
	struct reading r = { .name = name, .err = err };
	struct list list = { 0 };
	int failed = 0;

	while (n > 0 && !failed) {
		const char *end = memchr(text, '\n', n);
		size_t len = end ? (size_t)(end - text) : n;

		failed = take_line(&r, text, len);
		text += end ? len + 1 : len;
		n -= end ? len + 1 : len;
	}
	if (!failed && r.n == 0) {
		failed = skep_err_set(err, SKEP_E_USAGE, "%.200s: there is no address in this list", name);
		(void)skep_err_hint(err, "A filter with an empty list can never be true; leave the term out");
	}
	list.name = failed ? NULL : strdup(name);
	if (!failed && !list.name)
		failed = skep_err_set(err, -ENOMEM, "no memory for the name of a list");
	if (failed) {
		free(r.v);
		return failed;
	}
	list.info = (struct flt_list_info){ .name = list.name, .entries = (uint32_t)r.n };
	list.v = r.v;
	list.n = flt_list_sort(r.v, r.n);
	for (size_t i = 0; i < list.n; i++)
		*(list.v[i].version == 4 ? &list.info.ip4 : &list.info.ip6) += 1;
	*ret = list;
	return 0;
}

/* A place for a new list, best a free one; NULL and a refusal if all are in use. */
static struct list *new_place(struct flt_lists *l, struct skep_err *err)
{
	for (uint32_t i = 0; i < FLT_MAX_LISTS; i++)
		if (!l->lists[i].name)
			return &l->lists[i];
	for (uint32_t i = 0; i < FLT_MAX_LISTS; i++)
		if (l->lists[i].refs == 0)
			return &l->lists[i];
	(void)skep_err_set(err, SKEP_E_NO_SPACE, "there are %u address lists already", FLT_MAX_LISTS);
	(void)skep_err_hint(err, "Join lists into one file, or end a job that uses others");
	return NULL;
}

int flt_lists_add(struct flt_lists *l, const char *name, const char *text, size_t n, uint32_t *ret_index,
		  struct skep_err *err)
{
	struct list *place = new_place(l, err);
	struct list list;
	int r;

	if (!place)
		return SKEP_E_NO_SPACE;
	r = read_text(name, text, n, &list, err);
	if (r)
		return r;
	forget(place);
	l->version++;
	*place = list;
	place->refs = 1;
	*ret_index = (uint32_t)(place - l->lists);
	return 0;
}

static struct list *find_same(struct flt_lists *l, const char *path, const struct stat *st)
{
	for (uint32_t i = 0; i < FLT_MAX_LISTS; i++) {
		struct list *k = &l->lists[i];

		if (k->has_file && k->dev == st->st_dev && k->ino == st->st_ino && k->size == st->st_size &&
		    k->modified.tv_sec == st->st_mtim.tv_sec && k->modified.tv_nsec == st->st_mtim.tv_nsec &&
		    strcmp(k->name, path) == 0)
			return k;
	}
	return NULL;
}

/* The whole file; one that grows meanwhile is cut where it ended. */
static int slurp(int fd, const char *path, size_t size, char **ret, size_t *ret_n, struct skep_err *err)
{
	_skep_free_ char *text = malloc(size + 1);
	size_t n = 0;

	if (!text)
		return skep_err_set(err, -ENOMEM, "no memory to read %.200s", path);
	while (n < size) {
		ssize_t k = read(fd, text + n, size - n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return skep_err_set(err, -errno, "%.200s: %s", path, strerror(errno));
		if (k == 0)
			break;
		n += (size_t)k;
	}
	*ret = TAKE_PTR(text);
	*ret_n = n;
	return 0;
}

static int refuse_file(const char *path, const struct stat *st, struct skep_err *err)
{
	if (!S_ISREG(st->st_mode))
		return skep_err_set(err, SKEP_E_USAGE, "%.200s: an address list must be a regular file",
				    path);
	if ((uint64_t)st->st_size > FLT_MAX_LIST_BYTES)
		return skep_err_set(err, SKEP_E_USAGE, "%.200s: an address list has at most %lu bytes", path,
				    FLT_MAX_LIST_BYTES);
	return 0;
}

int flt_lists_open(struct flt_lists *l, const char *path, uint32_t *ret_index, struct skep_err *err)
{
	/* Not blocking: a FIFO must be refused, not waited for. */
	_skep_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	_skep_free_ char *text = NULL;
	struct list *list;
	struct stat st;
	size_t n = 0;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return skep_err_set(err, errno == ENOENT ? SKEP_E_NOT_FOUND : -errno,
				    "the address list %.200s cannot be read: %s", path, strerror(errno));
	r = refuse_file(path, &st, err);
	if (r)
		return r;
	list = find_same(l, path, &st);
	if (list) {
		list->refs++;
		*ret_index = (uint32_t)(list - l->lists);
		return 0;
	}
	r = slurp(fd, path, (size_t)st.st_size, &text, &n, err);
	if (r == 0)
		r = flt_lists_add(l, path, text, n, ret_index, err);
	if (r)
		return r;
	list = &l->lists[*ret_index];
	list->has_file = true;
	list->dev = st.st_dev;
	list->ino = st.st_ino;
	list->size = st.st_size;
	list->modified = st.st_mtim;
	return 0;
}

void flt_lists_hold(struct flt_lists *l, uint32_t mask)
{
	for (uint32_t i = 0; i < FLT_MAX_LISTS; i++)
		if (mask >> i & 1) {
			assert(l->lists[i].refs > 0);
			l->lists[i].refs++;
		}
}

void flt_lists_release(struct flt_lists *l, uint32_t mask)
{
	for (uint32_t i = 0; i < FLT_MAX_LISTS; i++)
		if (mask >> i & 1) {
			assert(l->lists[i].refs > 0);
			l->lists[i].refs--;
		}
}

bool flt_lists_sweep(struct flt_lists *l)
{
	bool any = false;

	for (uint32_t i = 0; i < FLT_MAX_LISTS; i++)
		if (l->lists[i].name && l->lists[i].refs == 0) {
			forget(&l->lists[i]);
			l->version++;
			any = true;
		}
	return any;
}

uint64_t flt_lists_version(const struct flt_lists *l)
{
	return l->version;
}

uint32_t flt_lists_mask(const struct flt_lists *l)
{
	uint32_t mask = 0;

	for (uint32_t i = 0; i < FLT_MAX_LISTS; i++)
		mask |= l->lists[i].refs > 0 ? 1u << i : 0;
	return mask;
}

const struct flt_list_info *flt_lists_info(const struct flt_lists *l, uint32_t index)
{
	return index < FLT_MAX_LISTS && l->lists[index].refs > 0 ? &l->lists[index].info : NULL;
}

bool flt_list_covers(const struct flt_prefix *p, const struct flt_prefix *q)
{
	unsigned whole = p->bits / 8u, rest = p->bits % 8u;

	if (p->version != q->version || p->bits > q->bits || memcmp(p->addr, q->addr, whole) != 0)
		return false;
	return rest == 0 || (p->addr[whole] ^ q->addr[whole]) >> (8 - rest) == 0;
}

int flt_lists_table(const struct flt_lists *l, struct flt_prefix **ret, size_t *ret_n, struct skep_err *err)
{
	const struct flt_prefix *around[129]; /* prefixes that hold the one at hand, each the one before it */
	size_t total = 0, n = 0, depth = 0, kept = 0;
	struct flt_prefix *v;

	for (uint32_t i = 0; i < FLT_MAX_LISTS; i++)
		total += l->lists[i].n;
	v = calloc(total + 1, sizeof(*v));
	if (!v)
		return skep_err_set(err, -ENOMEM, "no memory to join %zu addresses", total);
	for (uint32_t i = 0; i < FLT_MAX_LISTS; i++)
		for (size_t k = 0; k < l->lists[i].n; k++) {
			v[n] = l->lists[i].v[k];
			v[n++].mask = 1u << i;
		}
	n = flt_list_sort(v, n);
	for (size_t i = 0; i < n; i++) {
		while (depth > 0 && !flt_list_covers(around[depth - 1], &v[i]))
			depth--;
		if (depth > 0) {
			uint32_t outer = around[depth - 1]->mask;

			if ((v[i].mask | outer) == outer)
				continue; /* says nothing that the prefix around it does not say */
			v[i].mask |= outer;
		}
		v[kept] = v[i]; /* kept <= i: what is overwritten was dropped or is this one */
		around[depth++] = &v[kept++];
	}
	*ret = v;
	*ret_n = kept;
	return 0;
}

typedef unsigned __int128 flt_wide;

/* From `start` to the next entry's start the mask is this. IPv4 addresses are in the low 32 bits. */
struct flt_ranges {
	size_t n4, n6;
	uint32_t *start4, *mask4;
	flt_wide *start6;
	uint32_t *mask6;
};

static flt_wide wide(const uint8_t *addr, unsigned bytes)
{
	flt_wide w = 0;

	for (unsigned i = 0; i < bytes; i++)
		w = w << 8 | addr[i];
	return w;
}

static flt_wide last_of(const struct flt_prefix *p)
{
	unsigned all = p->version == 4 ? 32 : 128, host = all - p->bits;

	return wide(p->addr, all / 8) | (host == 128 ? ~(flt_wide)0 : ((flt_wide)1 << host) - 1);
}

/* An open list of ranges that is written in order of start. */
struct cuts {
	flt_wide *start;
	uint32_t *mask;
	size_t n;
};

static void cut(struct cuts *c, flt_wide start, uint32_t mask)
{
	if (c->n > 0 && c->start[c->n - 1] == start)
		c->n--;
	c->start[c->n] = start;
	c->mask[c->n++] = mask;
}

/* Nested prefixes to ranges, each begun and ended once. */
static void make_cuts(const struct flt_prefix *v, size_t n, struct cuts *c)
{
	struct {
		flt_wide last;
		uint32_t mask;
	} around[130];
	flt_wide all = v[0].version == 4 ? (flt_wide)UINT32_MAX : ~(flt_wide)0;
	size_t depth = 0;

	cut(c, 0, 0);
	for (size_t i = 0; i <= n; i++) {
		flt_wide start = i < n ? wide(v[i].addr, v[i].version == 4 ? 4 : 16) : all;

		while (depth > 0 && (i == n || around[depth - 1].last < start)) {
			flt_wide last = around[--depth].last;

			if (last < all)
				cut(c, last + 1, depth > 0 ? around[depth - 1].mask : 0);
		}
		if (i == n)
			break;
		cut(c, start, v[i].mask);
		around[depth].last = last_of(&v[i]);
		around[depth++].mask = v[i].mask;
	}
}

struct flt_ranges *flt_ranges_free(struct flt_ranges *r)
{
	if (!r)
		return NULL;
	free(r->start4);
	free(r->mask4);
	free(r->start6);
	free(r->mask6);
	free(r);
	return NULL;
}

static int fill(struct flt_ranges *r, const struct flt_prefix *v, size_t n)
{
	size_t n4 = 0;
	struct cuts c4 = { 0 }, c6 = { 0 };

	while (n4 < n && v[n4].version == 4)
		n4++;
	c4.start = calloc(2 * n4 + 1, sizeof(*c4.start));
	c4.mask = r->mask4 = calloc(2 * n4 + 1, sizeof(*c4.mask));
	c6.start = r->start6 = calloc(2 * (n - n4) + 1, sizeof(*c6.start));
	c6.mask = r->mask6 = calloc(2 * (n - n4) + 1, sizeof(*c6.mask));
	r->start4 = calloc(2 * n4 + 1, sizeof(*r->start4));
	if (!c4.start || !c4.mask || !c6.start || !c6.mask || !r->start4) {
		free(c4.start);
		return -ENOMEM;
	}
	if (n4 > 0)
		make_cuts(v, n4, &c4);
	if (n > n4)
		make_cuts(v + n4, n - n4, &c6);
	for (size_t i = 0; i < c4.n; i++)
		r->start4[i] = (uint32_t)c4.start[i];
	free(c4.start);
	r->n4 = c4.n;
	r->n6 = c6.n;
	return 0;
}

int flt_ranges_new(const struct flt_lists *l, struct flt_ranges **ret, struct skep_err *err)
{
	_skep_free_ struct flt_prefix *v = NULL;
	struct flt_ranges *r;
	size_t n = 0;
	int failed = flt_lists_table(l, &v, &n, err);

	if (failed)
		return failed;
	r = calloc(1, sizeof(*r));
	if (!r || fill(r, v, n) < 0) {
		flt_ranges_free(r);
		return skep_err_set(err, -ENOMEM, "no memory for %zu prefixes", n);
	}
	*ret = r;
	return 0;
}

uint32_t flt_ranges_find(const struct flt_ranges *r, uint8_t version, const void *addr)
{
	size_t low = 0, high = version == 4 ? r->n4 : r->n6; /* start[low] <= addr < start[high] */
	flt_wide w;

	if (high == 0)
		return 0;
	w = wide(addr, version == 4 ? 4 : 16);
	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if ((version == 4 ? (flt_wide)r->start4[mid] : r->start6[mid]) <= w)
			low = mid;
		else
			high = mid;
	}
	return version == 4 ? r->mask4[low] : r->mask6[low];
}
