/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sketches of blocks. While a block's packets are added, every group has a filter of the largest size; at its
 * end each is folded (the halves laid over one another) as long as at most a quarter of the bits is set, so
 * that a block with few flows costs little and a wrong "perhaps" is one in 256. A group that fills even the
 * largest filter by more than half is left out: it would say "perhaps" to everything.
 *
 * Bloom, "Space/Time Trade-offs in Hash Coding with Allowable Errors" (1970); four bits for each value, each
 * from 16 bits of one hash. What has a 64-bit hash in common collides, which costs a block that is read in
 * vain.
 *
 * Never on the packet path: the digest thread makes sketches of whole segments, and readers use them. Files
 * are hostile to the reader: nothing is looked at that the size does not cover, and a checksum guards what is
 * honest but torn.
 */
#include "capture/sketch.h"

#include "capture/sidecar.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FORMAT_VERSION 1u
#define PROBES 4u
#define MAX_WORDS (1u << (CAP_SKETCH_MAX_LOG2 - 6))
/* As many blocks as a sidecar may list (CAP_SIDECAR_MAX_BYTES). */
#define MAX_BLOCKS (1u << 21)

static const uint8_t magic[8] = { 's', 'k', 'e', 'p', 's', 'k', 'c', 'h' };

/* All numbers little endian. The checksum is over all that follows it. */
struct file_head {
	uint8_t magic[8];
	uint64_t sum;
	uint32_t version;
	uint32_t n_blocks;
	uint64_t segment; /* identity_of its sidecar */
	uint64_t words;	  /* 64-bit words of filters, behind the rows */
};

struct file_row {
	uint64_t file_offset;		      /* of the block in the segment */
	uint32_t word;			      /* its first filter's first word */
	uint8_t log2_bits[CAP_SKETCH_GROUPS]; /* 0: no filter, anything is possible */
	uint8_t zero[2];
	uint32_t reserved;
};
_Static_assert(sizeof(struct file_head) == 40 && sizeof(struct file_row) == 24, "as they lie in the file");

/* ---- values to bits ---- */

/* The finalizer of splitmix64 (Steele, Lea, Flood, 2014). */
static uint64_t mix(uint64_t h)
{
	h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
	h = (h ^ h >> 27) * 0x94d049bb133111ebu;
	return h ^ h >> 31;
}

/* What a value is, beside its bytes. */
enum kind { K_CLASS = 1, K_TYPE, K_PROTO, K_ADDRESS, K_PORT };

static uint64_t kind_of(enum kind kind, uint32_t a, uint32_t b)
{
	return (uint64_t)kind << 56 | (uint64_t)a << 48 | (uint64_t)b << 40;
}

struct cap_sketch_key cap_sketch_of_class(enum cap_sketch_class class)
{
	return (struct cap_sketch_key){ CAP_SKETCH_TYPES, mix(kind_of(K_CLASS, class, 0)) };
}

struct cap_sketch_key cap_sketch_of_short_ip6(void)
{
	return (struct cap_sketch_key){ CAP_SKETCH_TYPES, mix(kind_of(K_CLASS, CAP_SKETCH_IP6, 1)) };
}

struct cap_sketch_key cap_sketch_of_type(uint16_t type)
{
	return (struct cap_sketch_key){ CAP_SKETCH_TYPES, mix(kind_of(K_TYPE, 0, 0) | type) };
}

struct cap_sketch_key cap_sketch_of_proto(enum cap_sketch_class class, uint8_t proto)
{
	return (struct cap_sketch_key){ CAP_SKETCH_TYPES, mix(kind_of(K_PROTO, class, 0) | proto) };
}

struct cap_sketch_key cap_sketch_of_port(bool dst, uint16_t port)
{
	return (struct cap_sketch_key){ dst ? CAP_SKETCH_DPORTS : CAP_SKETCH_SPORTS,
					mix(kind_of(K_PORT, 0, 0) | port) };
}

static const uint8_t prefixes4[] = { 32, 24, 16, 8 };
static const uint8_t prefixes6[] = { 128, 64, 48, 32 };

uint32_t cap_sketch_prefix(enum cap_sketch_class class, uint32_t prefix)
{
	const uint8_t *known = class == CAP_SKETCH_IP6 ? prefixes6 : prefixes4;

	for (size_t i = 0; i < ARRAY_LEN(prefixes4); i++)
		if (known[i] <= prefix)
			return known[i];
	return 0;
}
_Static_assert(ARRAY_LEN(prefixes4) == ARRAY_LEN(prefixes6), "one loop serves both");

/* The first bits of an address as a number; all prefixes that are kept are whole bytes. */
struct cap_sketch_key cap_sketch_of_address(enum cap_sketch_class class, bool dst, const uint8_t *address,
					    uint32_t prefix)
{
	uint32_t full = class == CAP_SKETCH_IP6 ? 128 : 32;
	uint64_t high = 0, low = 0;
	struct cap_sketch_key key;

	for (uint32_t i = 0; i < prefix / 8; i++)
		*(i < 8 ? &high : &low) |= (uint64_t)address[i] << (56 - 8 * (i % 8));
	key.hash = mix(mix(mix(kind_of(K_ADDRESS, class, prefix) | dst) ^ high) + low);
	key.group = prefix < full ? CAP_SKETCH_NETS : dst ? CAP_SKETCH_DST : CAP_SKETCH_SRC;
	return key;
}

/* Bit number `probe` of a filter of 2^log2 bits. */
static uint32_t bit_of(uint64_t hash, uint32_t probe, uint32_t log2)
{
	return (uint32_t)(hash >> 16 * probe) & ((1u << log2) - 1);
}

/* ---- the checksum ---- */

/*
 * Four lanes, each word multiplied into one of them: at the speed of memory, where a cryptographic digest
 * would take longer than the look at the filters. It tells torn files from whole ones, not lies from truth.
 */
struct sum {
	uint64_t lane[4];
	uint64_t n;
};

static uint64_t sum_word(uint64_t lane, uint64_t word)
{
	lane = (lane ^ le64toh(word)) * 0x9e3779b97f4a7c15u;
	return lane ^ lane >> 29;
}

static void sum_words(struct sum *s, const uint64_t *words, size_t n)
{
	uint64_t a, b, c, d;
	size_t i = 0;

	for (; i < n && s->n % 4; i++, s->n++)
		s->lane[s->n % 4] = sum_word(s->lane[s->n % 4], words[i]);
	a = s->lane[0], b = s->lane[1], c = s->lane[2], d = s->lane[3];
	for (; i + 4 <= n; i += 4, s->n += 4) {
		a = sum_word(a, words[i]);
		b = sum_word(b, words[i + 1]);
		c = sum_word(c, words[i + 2]);
		d = sum_word(d, words[i + 3]);
	}
	s->lane[0] = a, s->lane[1] = b, s->lane[2] = c, s->lane[3] = d;
	for (; i < n; i++, s->n++)
		s->lane[s->n % 4] = sum_word(s->lane[s->n % 4], words[i]);
}

static void sum_begin(struct sum *s, const struct file_head *head)
{
	uint64_t words[3];

	_Static_assert(sizeof(*head) - offsetof(struct file_head, version) == sizeof(words),
		       "what follows the sum");
	memcpy(words, &head->version, sizeof(words));
	*s = (struct sum){ .lane = { 1, 2, 3, 4 } };
	sum_words(s, words, ARRAY_LEN(words));
}

static uint64_t sum_end(const struct sum *s)
{
	uint64_t h = s->n;

	for (int i = 0; i < 4; i++)
		h = mix(h + s->lane[i]);
	return h;
}

/*
 * Which segment it is: another one may have had its name, its size, and packets of the same sizes, but not at
 * the same nanoseconds.
 */
static uint64_t identity_of(const struct cap_sidecar *sc)
{
	const uint64_t facts[] = { sc->bytes_disk, sc->started_ns, sc->n_index };
	struct sum s = { .lane = { 5, 6, 7, 8 } };

	for (size_t i = 0; i < ARRAY_LEN(facts); i++)
		sum_words(&s, &(uint64_t){ htole64(facts[i]) }, 1);
	for (size_t i = 0; i < sc->n_index; i++) {
		const struct cap_sidecar_entry *e = &sc->index[i];
		const uint64_t row[] = { htole64(e->file_offset), htole64(e->pkts), htole64(e->ts_first_ns),
					 htole64(e->ts_last_ns) };

		sum_words(&s, row, ARRAY_LEN(row));
	}
	return sum_end(&s);
}

/* ---- making ---- */

struct block {
	uint64_t file_offset;
	uint32_t word;
	uint8_t log2_bits[CAP_SKETCH_GROUPS];
};

struct cap_sketch_maker {
	uint64_t now[CAP_SKETCH_GROUPS][MAX_WORDS]; /* the current block's filters, of the largest size */
	struct block *blocks;
	size_t n_blocks, room_blocks;
	uint64_t *words;
	size_t n_words, room_words;
};

struct cap_sketch_maker *cap_sketch_maker_new(void)
{
	return calloc(1, sizeof(struct cap_sketch_maker));
}

struct cap_sketch_maker *cap_sketch_maker_free(struct cap_sketch_maker *m)
{
	if (!m)
		return NULL;
	free(m->blocks);
	free(m->words);
	free(m);
	return NULL;
}

static void put(struct cap_sketch_maker *m, struct cap_sketch_key key)
{
	for (uint32_t i = 0; i < PROBES; i++) {
		uint32_t bit = bit_of(key.hash, i, CAP_SKETCH_MAX_LOG2);

		m->now[key.group][bit / 64] |= 1ull << bit % 64;
	}
}

static void put_address(struct cap_sketch_maker *m, enum cap_sketch_class class, bool dst,
			const uint8_t *address)
{
	const uint8_t *known = class == CAP_SKETCH_IP6 ? prefixes6 : prefixes4;

	for (size_t i = 0; i < ARRAY_LEN(prefixes4); i++)
		put(m, cap_sketch_of_address(class, dst, address, known[i]));
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* Each field that is there completely: cBPF rejects where it reads behind the end. */
static void put_ports(struct cap_sketch_maker *m, const uint8_t *bytes, uint32_t len, uint32_t at)
{
	if (len >= at + 2)
		put(m, cap_sketch_of_port(false, get16(bytes + at)));
	if (len >= at + 4)
		put(m, cap_sketch_of_port(true, get16(bytes + at + 2)));
}

static void add_ip4(struct cap_sketch_maker *m, const uint8_t *bytes, uint32_t len)
{
	if (len >= 24)
		put(m, cap_sketch_of_proto(CAP_SKETCH_IP4, bytes[23]));
	if (len >= 30)
		put_address(m, CAP_SKETCH_IP4, false, bytes + 26);
	if (len >= 34)
		put_address(m, CAP_SKETCH_IP4, true, bytes + 30);
	if (len >= 24 && cap_sketch_has_ports(bytes[23]) && (get16(bytes + 20) & 0x1fff) == 0)
		put_ports(m, bytes, len, 14 + 4u * (bytes[14] & 15));
}

static void add_ip6(struct cap_sketch_maker *m, const uint8_t *bytes, uint32_t len)
{
	if (len >= 21)
		put(m, cap_sketch_of_proto(CAP_SKETCH_IP6, bytes[20]));
	if (len >= 38)
		put_address(m, CAP_SKETCH_IP6, false, bytes + 22);
	if (len >= 54)
		put_address(m, CAP_SKETCH_IP6, true, bytes + 38);
	else
		put(m, cap_sketch_of_short_ip6());
	if (len >= 21 && cap_sketch_has_ports(bytes[20]))
		put_ports(m, bytes, len, 54);
}

void cap_sketch_add(struct cap_sketch_maker *m, const uint8_t *bytes, uint32_t len)
{
	uint16_t type = len >= 14 ? get16(bytes + 12) : 0;
	enum cap_sketch_class class = CAP_SKETCH_OTHER;

	if (len >= 14) /* else none, which belongs to the others */
		put(m, cap_sketch_of_type(type));
	switch (type) {
	case 0x0800:
		class = CAP_SKETCH_IP4;
		add_ip4(m, bytes, len);
		break;
	case 0x86dd:
		class = CAP_SKETCH_IP6;
		add_ip6(m, bytes, len);
		break;
	case 0x0806:
	case 0x8035:
		class = CAP_SKETCH_ARP;
		if (len >= 32)
			put_address(m, class, false, bytes + 28);
		if (len >= 42)
			put_address(m, class, true, bytes + 38);
		break;
	}
	put(m, cap_sketch_of_class(class));
}

static uint32_t bits_set(const uint64_t *words, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (uint32_t)__builtin_popcountll(words[i]);
	return sum;
}

/* Folds in place; returns the log2 of the bits that are left, or 0 if the filter is of no use. */
static uint32_t fold(uint64_t *words)
{
	uint32_t log2 = CAP_SKETCH_MAX_LOG2;
	uint64_t half[MAX_WORDS / 2];

	if (bits_set(words, MAX_WORDS) > 1u << (log2 - 1))
		return 0;
	while (log2 > CAP_SKETCH_MIN_LOG2) {
		size_t n = 1u << (log2 - 7);

		for (size_t i = 0; i < n; i++)
			half[i] = words[i] | words[n + i];
		if (bits_set(half, n) > 1u << (log2 - 3))
			break;
		memcpy(words, half, n * sizeof(*half));
		log2--;
	}
	return log2;
}

/* Room for one block more, and for its filters. */
static int make_room(struct cap_sketch_maker *m)
{
	size_t most = CAP_SKETCH_GROUPS * MAX_WORDS;

	if (m->n_blocks == m->room_blocks) {
		size_t room = m->room_blocks ? 2 * m->room_blocks : 256;
		struct block *more = reallocarray(m->blocks, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		m->blocks = more;
		m->room_blocks = room;
	}
	if (m->room_words - m->n_words < most) {
		size_t room = SKEP_MAX(2 * m->room_words, 16 * most);
		uint64_t *more = reallocarray(m->words, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		m->words = more;
		m->room_words = room;
	}
	return m->n_blocks < MAX_BLOCKS && m->n_words < UINT32_MAX - most ? 0 : -ENOMEM;
}

int cap_sketch_end_block(struct cap_sketch_maker *m, uint64_t file_offset)
{
	int r = make_room(m);
	struct block *b;

	if (r)
		return r;
	b = &m->blocks[m->n_blocks++];
	*b = (struct block){ .file_offset = file_offset, .word = (uint32_t)m->n_words };
	for (size_t g = 0; g < CAP_SKETCH_GROUPS; g++) {
		uint32_t log2 = fold(m->now[g]);

		b->log2_bits[g] = (uint8_t)log2;
		for (size_t i = 0; log2 && i < 1u << (log2 - 6); i++)
			m->words[m->n_words++] = htole64(m->now[g][i]);
	}
	memset(m->now, 0, sizeof(m->now));
	return 0;
}

/* The whole file in one piece; NULL: no memory. */
static uint8_t *serialize(const struct cap_sketch_maker *m, const struct cap_sidecar *sc, size_t *ret_n)
{
	size_t n = sizeof(struct file_head) + m->n_blocks * sizeof(struct file_row) + 8 * m->n_words;
	uint8_t *bytes = calloc(1, n);
	struct file_head head = {
		.version = htole32(FORMAT_VERSION),
		.n_blocks = htole32((uint32_t)m->n_blocks),
		.segment = htole64(identity_of(sc)),
		.words = htole64(m->n_words),
	};
	struct file_row *rows = (struct file_row *)(bytes + sizeof(head));
	struct sum sum;

	if (!bytes)
		return NULL;
	for (size_t i = 0; i < m->n_blocks; i++) {
		rows[i].file_offset = htole64(m->blocks[i].file_offset);
		rows[i].word = htole32(m->blocks[i].word);
		memcpy(rows[i].log2_bits, m->blocks[i].log2_bits, CAP_SKETCH_GROUPS);
	}
	if (m->n_words)
		memcpy(rows + m->n_blocks, m->words, 8 * m->n_words);
	memcpy(head.magic, magic, sizeof(magic));
	sum_begin(&sum, &head);
	sum_words(&sum, (const uint64_t *)rows, (n - sizeof(head)) / 8);
	head.sum = htole64(sum_end(&sum));
	memcpy(bytes, &head, sizeof(head));
	*ret_n = n;
	return bytes;
}

static int write_all(int fd, const uint8_t *bytes, size_t n)
{
	while (n > 0) {
		ssize_t k = write(fd, bytes, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		bytes += k;
		n -= (size_t)k;
	}
	return 0;
}

/* SEGMENT.sketch, and ".SEGMENT.sketch.tmp" for the time of writing (NULL: not wanted). */
static int make_names(const char *segment, char **ret_name, char **ret_tmp)
{
	_skep_free_ char *name = NULL;

	if (asprintf(&name, "%s" CAP_SKETCH_SUFFIX, segment) < 0) {
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

/*
 * Not synced: the rename orders it behind its bytes only on file systems that say so, and a file that a power
 * failure has spoilt is known by its checksum and passed over.
 */
int cap_sketch_write(struct cap_sketch_maker *m, int dirfd, const char *segment, const struct cap_sidecar *sc)
{
	_skep_free_ uint8_t *bytes = NULL;
	_skep_free_ char *name = NULL, *tmp = NULL;
	_skep_close_ int fd = -1;
	size_t n = 0;
	int r = make_names(segment, &name, &tmp);

	if (r)
		return r;
	bytes = serialize(m, sc, &n);
	if (!bytes)
		return -ENOMEM;
	(void)unlinkat(dirfd, tmp, 0); /* left by a writer that died: its name is ours */
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	r = write_all(fd, bytes, n);
	if (r == 0 && renameat(dirfd, tmp, dirfd, name) < 0)
		r = -errno;
	if (r)
		(void)unlinkat(dirfd, tmp, 0);
	return r;
}

void cap_sketch_remove(int dirfd, const char *segment)
{
	_skep_free_ char *name = NULL;

	if (make_names(segment, &name, NULL) == 0)
		(void)unlinkat(dirfd, name, 0);
}

/* ---- reading ---- */

/* Piece by piece, so that megabytes of filters pass through memory that stays in the cache. */
struct reader {
	int fd;
	uint64_t *buf; /* BUF_WORDS */
	size_t n;      /* words in it */
	struct sum sum;
};

/* A block's filters are in one piece. */
#define BUF_WORDS (4 * CAP_SKETCH_GROUPS * MAX_WORDS)

static int read_all(int fd, void *to, size_t n)
{
	while (n > 0) {
		ssize_t k = read(fd, to, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return k < 0 ? -errno : SKEP_E_NOT_FOUND;
		to = (uint8_t *)to + k;
		n -= (size_t)k;
	}
	return 0;
}

/* The next block's filters; what the rows say of their size is checked. */
static int read_block(struct reader *r, const struct file_row *row, size_t *at, uint64_t left,
		      size_t *ret_words)
{
	size_t words = 0, more;
	int e;

	for (size_t g = 0; g < CAP_SKETCH_GROUPS; g++) {
		uint32_t log2 = row->log2_bits[g];

		if (log2 && (log2 < CAP_SKETCH_MIN_LOG2 || log2 > CAP_SKETCH_MAX_LOG2))
			return SKEP_E_NOT_FOUND;
		words += log2 ? 1u << (log2 - 6) : 0;
	}
	if (words > left)
		return SKEP_E_NOT_FOUND;
	*ret_words = words;
	if (words <= r->n - *at)
		return 0;
	memmove(r->buf, r->buf + *at, 8 * (r->n - *at));
	r->n -= *at;
	*at = 0;
	more = SKEP_MIN(BUF_WORDS - r->n, left - r->n);
	e = read_all(r->fd, r->buf + r->n, 8 * more);
	sum_words(&r->sum, r->buf + r->n, more);
	r->n += more;
	return e;
}

static int scan_blocks(struct reader *r, const struct file_head *head, const struct file_row *rows,
		       cap_sketch_look *look, void *arg)
{
	uint64_t left = le64toh(head->words), done = 0;
	size_t at = 0, words = 0;
	int e = 0;

	for (size_t i = 0; i < le32toh(head->n_blocks); i++) {
		struct cap_sketch_block b;

		e = le32toh(rows[i].word) == done ? read_block(r, &rows[i], &at, left, &words)
						  : SKEP_E_NOT_FOUND;
		if (e)
			return e;
		b.words = r->buf + at;
		memcpy(b.log2_bits, rows[i].log2_bits, sizeof(b.log2_bits));
		look(arg, i, &b);
		at += words;
		left -= words;
		done += words;
	}
	return left == 0 && sum_end(&r->sum) == le64toh(head->sum) ? 0 : SKEP_E_NOT_FOUND;
}

/* The head and the rows, and that they are of this segment. */
static int read_rows(struct reader *r, const struct cap_sidecar *sc, struct file_head *head,
		     struct file_row **ret)
{
	size_t n = sc->n_index * sizeof(**ret);
	struct stat st;
	int e;

	if (fstat(r->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return SKEP_E_NOT_FOUND; /* reading a folder fails, a pipe waits */
	e = read_all(r->fd, head, sizeof(*head));
	if (e)
		return e;
	if ((uint64_t)st.st_size < sizeof(*head) + n || memcmp(head->magic, magic, sizeof(magic)) != 0 ||
	    le32toh(head->version) != FORMAT_VERSION || le64toh(head->segment) != identity_of(sc) ||
	    le32toh(head->n_blocks) != sc->n_index ||
	    le64toh(head->words) != ((uint64_t)st.st_size - sizeof(*head) - n) / 8)
		return SKEP_E_NOT_FOUND;
	*ret = malloc(n);
	if (!*ret)
		return -ENOMEM;
	e = read_all(r->fd, *ret, n);
	for (size_t i = 0; e == 0 && i < sc->n_index; i++)
		if (le64toh((*ret)[i].file_offset) != sc->index[i].file_offset)
			e = SKEP_E_NOT_FOUND;
	sum_begin(&r->sum, head);
	sum_words(&r->sum, (const uint64_t *)*ret, n / 8);
	return e;
}

int cap_sketch_scan(const char *path, const struct cap_sidecar *sc, cap_sketch_look *look, void *arg)
{
	_skep_free_ char *name = NULL;
	_skep_free_ uint64_t *buf = NULL;
	_skep_free_ struct file_row *rows = NULL;
	_skep_close_ int fd = -1;
	struct reader reader;
	struct file_head head;
	int r = make_names(path, &name, NULL);

	if (r)
		return r;
	fd = open(name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? SKEP_E_NOT_FOUND : -errno;
	buf = malloc(8 * BUF_WORDS);
	if (!buf)
		return -ENOMEM;
	reader = (struct reader){ .fd = fd, .buf = buf };
	r = read_rows(&reader, sc, &head, &rows);
	return r ? r : scan_blocks(&reader, &head, rows, look, arg);
}

bool cap_sketch_may_hold(const struct cap_sketch_block *b, const struct cap_sketch_key *key)
{
	const uint64_t *words = b->words;
	uint32_t log2 = b->log2_bits[key->group];

	if (log2 == 0)
		return true;
	for (size_t g = 0; g < key->group; g++)
		words += b->log2_bits[g] ? 1u << (b->log2_bits[g] - 6) : 0;
	for (uint32_t i = 0; i < PROBES; i++) {
		uint32_t bit = bit_of(key->hash, i, log2);

		if (!(le64toh(words[bit / 64]) >> bit % 64 & 1))
			return false;
	}
	return true;
}
