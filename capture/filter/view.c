/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the IP header is, and what ether type it would have, by link type (tcpdump.org/linktypes.html). Pure
 * functions; any thread.
 */
#include "capture/filter/view.h"

#include "common/util.h"

#define ETHERNET 1
#define IP4 0x0800u
#define IP6 0x86ddu

/* Length of the link header, and where in it the ether type is; -1: nowhere, the IP version says it. */
static const struct {
	int linktype;
	uint32_t l3;
	int type_at;
} kinds[] = {
	{ 0, 4, -1 },	{ 101, 0, -1 }, { 108, 4, -1 }, { 113, 16, 14 },
	{ 228, 0, -1 }, { 229, 0, -1 }, { 276, 20, 0 },
};

bool flt_view_knows(int linktype)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (kinds[i].linktype == linktype)
			return true;
	return linktype == ETHERNET;
}

struct skep_view flt_view_make(int linktype, const uint8_t *bytes, uint32_t len)
{
	struct skep_view v = { .bytes = bytes, .len = len };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		uint32_t l3 = kinds[i].l3;

		if (kinds[i].linktype != linktype)
			continue;
		v.l3 = l3;
		v.type = 0xffff; /* nothing that anybody looks for */
		if (len <= l3)
			break;
		if (kinds[i].type_at >= 0)
			v.type = (uint16_t)(bytes[kinds[i].type_at] << 8 | bytes[kinds[i].type_at + 1]);
		else if (bytes[l3] >> 4 == 4)
			v.type = IP4;
		else if (bytes[l3] >> 4 == 6)
			v.type = IP6;
		if (v.type == 0)
			v.type = 0xffff;
	}
	return v;
}
