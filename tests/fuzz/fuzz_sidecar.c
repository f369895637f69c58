/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes given to the sidecar's parser: never a bad access; a sidecar whose every text and number can be
 * looked at, or a refusal in words.
 */
#include "capture/sidecar.h"

#include <assert.h>
#include <string.h>

static size_t length(const char *text)
{
	return text ? strlen(text) : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cap_sidecar_free_ struct cap_sidecar *sc = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	volatile uint64_t sum = 0;

	if (cap_sidecar_parse((const char *)data, size, &sc, &err)) {
		assert(!sc && err.text[0]);
		return 0;
	}
	sum += length(sc->segment) + length(sc->job) + length(sc->link) + length(sc->filter) +
	       length(sc->sha256);
	for (size_t i = 0; i < sc->account.n_dropped; i++)
		sum += length(sc->account.dropped[i].name) + sc->account.dropped[i].pkts;
	for (size_t i = 0; i < sc->n_reasons; i++)
		sum += length(sc->reasons[i]);
	for (size_t i = 0; i < sc->n_index; i++)
		sum += sc->index[i].file_offset;
	(void)sum;
	return 0;
}
