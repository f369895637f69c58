/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * --inside in user space: the shared parser over bytes in one piece, and each packet it finds as an Ethernet
 * frame that libpcap's interpreter can be given. An inner frame that lies together is judged where it lies;
 * one whose tags are left out, or an IP packet that gets an Ethernet header, is put together first.
 *
 * Any thread; no state.
 */
#include "capture/filter/inside.h"

#include "capture/filter/front.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	uint32_t kind;
} kinds_by_name[] = {
	{ "vlan", SKEP_INNER_VLAN }, { "qinq", SKEP_INNER_QINQ },     { "mpls", SKEP_INNER_MPLS },
	{ "gre", SKEP_INNER_GRE },   { "erspan", SKEP_INNER_ERSPAN }, { "vxlan", SKEP_INNER_VXLAN },
};

static uint32_t kind_of(const char *name, size_t len, uint32_t allowed)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds_by_name); i++)
		if (strlen(kinds_by_name[i].name) == len && memcmp(kinds_by_name[i].name, name, len) == 0)
			return kinds_by_name[i].kind & allowed;
	return 0;
}

int flt_inside_parse(const char *option, const char *list, uint32_t allowed, uint32_t *ret_kinds,
		     struct skep_err *err)
{
	uint32_t kinds = 0;
	char names[64];

	for (const char *word = list;; word++) {
		size_t len = strcspn(word, ",");
		uint32_t kind = kind_of(word, len, allowed);

		if (!kind) {
			flt_inside_text(allowed, names, sizeof(names));
			(void)skep_err_set(err, SKEP_E_USAGE, "%s: \"%.*s\" is no kind of packet in a packet",
					   option, (int)SKEP_MIN(len, 40u), word);
			(void)skep_err_hint(err, "Name some of %s, with commas between", names);
			return SKEP_E_USAGE;
		}
		kinds |= kind;
		word += len;
		if (*word == '\0')
			break;
	}
	*ret_kinds = kinds;
	return 0;
}

void flt_inside_text(uint32_t kinds, char *out, size_t size)
{
	size_t len = 0;

	out[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(kinds_by_name) && len < size; i++)
		if (kinds & kinds_by_name[i].kind)
			len += (size_t)snprintf(out + len, size - len, "%s%s", len ? "," : "",
						kinds_by_name[i].name);
}

static int get(const void *frame, uint32_t off, void *out, uint32_t n)
{
	const struct flt_piece *f = frame;

	if (off > f->cap_len || f->cap_len - off < n)
		return 1;
	memcpy(out, f->bytes + off, n);
	return 0;
}

uint32_t flt_inside_find(const uint8_t *bytes, uint32_t len, uint32_t kinds,
			 struct skep_inner ret[SKEP_MAX_INNER])
{
	const struct flt_piece frame = { .bytes = bytes, .cap_len = len };
	struct skep_inner_walk w;

	if (!skep_inner_possible(get, &frame))
		return 0;
	skep_inner_begin(&w, (uint8_t)kinds);
	for (int i = 0; i < SKEP_INNER_STEPS && !skep_inner_step(&w, get, &frame); i++)
		;
	memcpy(ret, w.inner, w.n * sizeof(*ret));
	return w.n;
}

struct flt_piece flt_inside_piece(const struct flt_piece *frame, const struct skep_inner *inner,
				  uint8_t *room)
{
	struct flt_piece p = {
		.bytes = frame->bytes + inner->off,
		.cap_len = frame->cap_len - inner->off,
		.wire_len = frame->wire_len - inner->off,
	};

	if (!inner->type && inner->mac_off == inner->off)
		return p;
	memcpy(room, frame->bytes + inner->mac_off, 12);
	memcpy(room + 12, p.bytes + 12, p.cap_len - 12);
	if (inner->type) {
		room[12] = (uint8_t)(inner->type >> 8);
		room[13] = (uint8_t)inner->type;
	}
	p.bytes = room;
	return p;
}

uint32_t flt_inside_match(const struct bpf_program *prog, const struct flt_piece *frame, uint32_t kinds,
			  uint8_t *room)
{
	struct skep_inner inner[SKEP_MAX_INNER];
	uint32_t verdict = flt_front_match(prog, frame->bytes, frame->wire_len, frame->cap_len);
	uint32_t n = verdict || !kinds ? 0 : flt_inside_find(frame->bytes, frame->cap_len, kinds, inner);

	for (uint32_t i = 0; i < n && !verdict; i++) {
		struct flt_piece p;

		if (!flt_inside_wanted(&inner[i], kinds))
			continue;
		p = flt_inside_piece(frame, &inner[i], room);
		verdict = flt_front_match(prog, p.bytes, p.wire_len, p.cap_len);
	}
	return verdict;
}
