/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_CAPFILE_PRIV_H
#define CAP_CAPFILE_PRIV_H
/* Shared by capfile.c (buffer, pcap) and capfile_pcapng.c only. */
#include "capture/capfile.h"

#include <byteswap.h>
#include <errno.h>
#include <string.h>

/* In an address sanitizer build, bytes of the buffer that were not fed may not be looked at. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define CAP_CAPFILE_POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define CAP_CAPFILE_UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define CAP_CAPFILE_POISON(p, n) ((void)(p), (void)(n))
#define CAP_CAPFILE_UNPOISON(p, n) ((void)(p), (void)(n))
#endif

/* A pcapng packet block that is larger is refused: the largest packet and 128 KiB of options. */
#define CAP_CAPFILE_BLOCK_MAX (CAP_SNAPLEN_MAX + 128u * CAP_KIB + 64u)
#define CAP_CAPFILE_BUFFER_BYTES CAP_MIB
/* Interfaces of a section; their table is allocated at the start. */
#define CAP_CAPFILE_IFACES_MAX 4096u
_Static_assert(CAP_CAPFILE_BUFFER_BYTES >= 2 * CAP_CAPFILE_BLOCK_MAX, "a whole block always fits");

struct cap_capfile_iface {
	uint64_t units_per_sec;
	int64_t offset_sec;
	uint32_t snaplen;
};

/* What one step of a parser did; negative and positive return codes besides. */
enum { CAP_CAPFILE_STEP_PACKET = 0, CAP_CAPFILE_STEP_OTHER = -EALREADY };

struct cap_capfile {
	const char *name;
	bool strict;
	bool finished;
	bool truncated;
	struct cap_capfile_info info;
	bool head_known;

	uint8_t *buf;
	size_t head; /* buf[head .. tail) is not read yet */
	size_t tail;
	uint64_t base; /* stream offset of buf[0] */
	uint64_t whole;
	uint64_t odd_times;

	/* pcap */
	uint32_t record_header_bytes;
	uint16_t version_major;
	uint16_t version_minor;

	/* pcapng */
	struct cap_capfile_iface *ifaces;
	uint32_t n_ifaces;
	uint32_t skip_total; /* length of the block that is being skipped, 0: none */
	uint32_t skip_left;

	struct skep_err refusal; /* code 0: none */
};

static inline size_t cap_capfile_have(const struct cap_capfile *f)
{
	return f->tail - f->head;
}

static inline uint64_t cap_capfile_at(const struct cap_capfile *f)
{
	return f->base + f->head;
}

static inline uint16_t cap_capfile_u16(const struct cap_capfile *f, const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return f->info.swapped ? bswap_16(v) : v;
}

static inline uint32_t cap_capfile_u32(const struct cap_capfile *f, const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return f->info.swapped ? bswap_32(v) : v;
}

/* Marks the first n unread bytes as read: a whole record, block or header. */
static inline void cap_capfile_take(struct cap_capfile *f, size_t n)
{
	f->head += n;
	f->whole = cap_capfile_at(f);
}

/* Sets the lasting refusal; "NAME: at byte N: " comes first. */
int cap_capfile_refuse(struct cap_capfile *f, const char *fmt, ...) SKEP_PRINTF(2, 3);
/* -EAGAIN, or the refusal of a stream that ends with fewer than want bytes of something. */
int cap_capfile_want(struct cap_capfile *f, size_t want, const char *what);
/* Link types whose packets cannot be carried into another file as they are. */
int cap_capfile_check_linktype(struct cap_capfile *f, uint32_t linktype);
/* Clamps and counts. */
uint64_t cap_capfile_time(struct cap_capfile *f, __int128 ns);

/* One block: STEP_PACKET, STEP_OTHER, -EAGAIN, -ENODATA or a refusal. */
int cap_capfile_pcapng_step(struct cap_capfile *f, struct cap_capfile_packet *ret);

#endif
