/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs one fuzz target over its corpus, without libFuzzer: each file as it is, then cut at every length (at
 * most CUTS), then MUTATIONS times with a few bytes changed by a generator with a fixed seed. TAP: one case
 * per file. A crash, a failed assertion or a sanitizer's report ends the program, and so fails the suite. One
 * thread.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"

#define CUTS 512
#define MUTATIONS 1000
#define INPUT_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* On the heap and of the exact size, so that a sanitizer sees one byte too far. */
static void run_copy(const uint8_t *data, size_t size, uint64_t *random)
{
	_skep_free_ uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	if (size)
		memcpy(copy, data, size);
	for (uint64_t n = random && size ? 1 + next_random(random) % 4 : 0; n > 0; n--)
		copy[next_random(random) % size] = (uint8_t)next_random(random);
	LLVMFuzzerTestOneInput(copy, size);
}

static int digit(int c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place; returns the number of bytes, SIZE_MAX if it is not hexadecimal. */
static size_t decode_hex(uint8_t *data, size_t size)
{
	size_t digits = 0;

	for (size_t i = 0; i < size; i++) {
		const int d = digit(data[i]);

		if (d < 0 && data[i] != '\n' && data[i] != ' ')
			return SIZE_MAX;
		if (d < 0)
			continue;
		data[digits / 2] = (uint8_t)(digits % 2 ? data[digits / 2] << 4 | d : d);
		digits++;
	}
	return digits % 2 ? SIZE_MAX : digits / 2;
}

/* The bytes of one input; SIZE_MAX: it cannot be read. */
static size_t load(const char *path, uint8_t *data, size_t room)
{
	FILE *file = fopen(path, "rb");
	const size_t length = strlen(path);
	size_t size;

	if (!file)
		return SIZE_MAX;
	size = fread(data, 1, room, file);
	fclose(file);
	return length > 4 && strcmp(path + length - 4, ".hex") == 0 ? decode_hex(data, size) : size;
}

static int export(const char *path, const char *to)
{
	static uint8_t data[INPUT_MAX];
	const size_t size = load(path, data, sizeof(data));
	FILE *file = size == SIZE_MAX ? NULL : fopen(to, "wb");
	int r;

	if (!file)
		return -1;
	r = fwrite(data, 1, size, file) == size ? 0 : -1;
	return fclose(file) == 0 ? r : -1;
}

static int replay(const char *path)
{
	static uint8_t data[INPUT_MAX];
	uint64_t random = 1;
	const size_t size = load(path, data, sizeof(data));
	size_t step;

	if (size == SIZE_MAX)
		return -1;
	run_copy(data, size, NULL);
	step = size / CUTS + 1;
	for (size_t cut = 0; cut < size; cut += step)
		run_copy(data, cut, NULL);
	for (int i = 0; i < MUTATIONS; i++)
		run_copy(data, size, &random);
	return 0;
}

static int is_input(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
	struct dirent **entries;
	int n, failed = 0;

	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: %s CORPUS_FOLDER [FOLDER_FOR_BYTES]\n", argv[0]);
		return 2;
	}
	n = scandir(argv[1], &entries, is_input, alphasort);
	if (n <= 0) {
		fprintf(stderr, "%s: no input in %s\n", argv[0], argv[1]);
		return 1;
	}
	printf("1..%d\n", n);
	for (int i = 0; i < n; i++) {
		char path[4096], to[4096];
		int r;

		snprintf(path, sizeof(path), "%s/%s", argv[1], entries[i]->d_name);
		snprintf(to, sizeof(to), "%s/%s", argc > 2 ? argv[2] : "", entries[i]->d_name);
		r = argc > 2 ? export(path, to) : replay(path);
		failed += r != 0;
		printf("%s %d - %s\n", r ? "not ok" : "ok", i + 1, entries[i]->d_name);
		fflush(stdout);
		free(entries[i]);
	}
	free(entries);
	return failed ? 1 : 0;
}
