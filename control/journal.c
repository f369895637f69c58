/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One record is one line: 32 hexadecimal digits of BLAKE2b-128 over the text, a blank, the text (JSON without
 * line ends). A line whose digest is wrong was never acknowledged if it is the last; before that, the disk
 * has lost something. Never trusts a length, never leaves half a record: what could not be written and synced
 * is truncated away again.
 *
 * Invariant: `end` is the length of the file up to which every line is good.
 */
#include "control/journal.h"

#include "common/json.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DIGEST_BYTES 16u
#define DIGEST_TEXT (2 * DIGEST_BYTES)
#define LONG_BYTES (1u << 20)
#define JOURNAL_MAX_BYTES (256u << 20)

struct ctl_journal {
	int dir_fd, fd;
	uint64_t end, rewritten; /* rewritten: length after the last rewriting */
};

static void digest_of(const char *text, size_t len, char ret[static DIGEST_TEXT + 1])
{
	uint8_t digest[DIGEST_BYTES];

	crypto_generichash(digest, sizeof(digest), (const unsigned char *)text, len, NULL, 0);
	sodium_bin2hex(ret, DIGEST_TEXT + 1, digest, sizeof(digest));
}

/* line[0..len) without its end. NULL: damaged. The caller's. */
static json_t *parse_line(const char *line, size_t len)
{
	char digest[DIGEST_TEXT + 1];
	json_t *record;

	if (len < DIGEST_TEXT + 2 || line[DIGEST_TEXT] != ' ')
		return NULL;
	digest_of(line + DIGEST_TEXT + 1, len - DIGEST_TEXT - 1, digest);
	if (memcmp(digest, line, DIGEST_TEXT) != 0)
		return NULL;
	if (skep_json_load("journal", line + DIGEST_TEXT + 1, len - DIGEST_TEXT - 1, &record, NULL))
		return NULL;
	return record;
}

static int read_text(int fd, char **ret, size_t *ret_len)
{
	struct stat st;
	char *text;
	size_t n = 0;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size > (off_t)JOURNAL_MAX_BYTES)
		return -EFBIG;
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	while (n < (size_t)st.st_size) {
		ssize_t got = pread(fd, text + n, (size_t)st.st_size - n, (off_t)n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			free(text);
			return got < 0 ? -errno : -EIO;
		}
		n += (size_t)got;
	}
	*ret = text;
	*ret_len = n;
	return 0;
}

/* Records of the text; ret_good: length of the good lines at its start; ret_holes: damaged lines before good
 * ones. */
static json_t *parse(const char *text, size_t len, uint64_t *ret_good, unsigned *ret_holes)
{
	json_t *records = json_array();
	unsigned bad = 0;
	size_t at = 0;

	*ret_good = 0;
	*ret_holes = 0;
	while (at < len) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t n = (end ? (size_t)(end - text) : len) - at;
		json_t *record = end ? parse_line(text + at, n) : NULL;

		at += n + 1;
		if (!record) {
			bad++;
			continue;
		}
		json_array_append_new(records, record);
		*ret_holes += bad;
		bad = 0;
		if (*ret_holes == 0)
			*ret_good = at;
	}
	return records;
}

static int write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The line of a record, the caller's; NULL: no memory. */
static char *line_of(const json_t *record, size_t *ret_len)
{
	_skep_free_ char *text = json_dumps(record, JSON_COMPACT);
	char digest[DIGEST_TEXT + 1], *line;
	int n;

	if (!text)
		return NULL;
	digest_of(text, strlen(text), digest);
	n = asprintf(&line, "%s %s\n", digest, text);
	if (n < 0)
		return NULL;
	*ret_len = (size_t)n;
	return line;
}

int ctl_journal_rewrite(struct ctl_journal *journal, const json_t *records)
{
	_skep_close_ int fd = openat(journal->dir_fd, ".journal.tmp",
				     O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_APPEND, 0600);
	uint64_t total = 0;
	json_t *record;
	size_t i;

	if (fd < 0)
		return -errno;
	json_array_foreach(records, i, record)
	{
		size_t n = 0;
		_skep_free_ char *line = line_of(record, &n);
		int r = line ? write_all(fd, line, n) : -ENOMEM;

		if (r)
			return r;
		total += n;
	}
	if (fsync(fd) < 0 || renameat(journal->dir_fd, ".journal.tmp", journal->dir_fd, "journal") < 0 ||
	    fsync(journal->dir_fd) < 0)
		return -errno;
	skep_closep(&journal->fd);
	journal->fd = TAKE_FD(fd);
	journal->end = journal->rewritten = total;
	return 0;
}

/* Makes the file good again after reading it. */
static int mend(struct ctl_journal *journal, const json_t *records, uint64_t good, unsigned holes, size_t len)
{
	journal->end = good;
	if (holes) {
		skep_log(SKEP_LOG_ERROR, "journal: %u damaged records in the middle; kept as journal.damaged",
			 holes);
		(void)unlinkat(journal->dir_fd, "journal.damaged", 0);
		if (linkat(journal->dir_fd, "journal", journal->dir_fd, "journal.damaged", 0) < 0)
			return -errno;
		return ctl_journal_rewrite(journal, records);
	}
	if (good == len)
		return 0;
	skep_log(SKEP_LOG_WARNING, "journal: %llu bytes of a record that was never acknowledged are cut off",
		 (unsigned long long)(len - good));
	return ftruncate(journal->fd, (off_t)good) < 0 || fsync(journal->fd) < 0 ? -errno : 0;
}

int ctl_journal_open(const char *dir, void (*on_record)(const json_t *record, void *arg), void *arg,
		     struct ctl_journal **ret, struct skep_err *err)
{
	struct ctl_journal *journal = calloc(1, sizeof(*journal));
	_skep_free_ char *text = NULL;
	_skep_json_ json_t *records = NULL;
	uint64_t good = 0;
	unsigned holes = 0;
	size_t len = 0, i;
	json_t *record;
	int r;

	if (!journal)
		return skep_err_set(err, -ENOMEM, "no memory for the journal");
	journal->fd = -1;
	journal->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (journal->dir_fd >= 0)
		journal->fd =
			openat(journal->dir_fd, "journal", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	r = journal->fd < 0 || fsync(journal->dir_fd) < 0 ? -errno : read_text(journal->fd, &text, &len);
	if (r == 0) {
		records = parse(text, len, &good, &holes);
		r = mend(journal, records, good, holes, len);
	}
	if (r) {
		(void)ctl_journal_close(journal);
		return skep_err_set(err, r, "%s/journal: cannot be used: %s", dir, strerror(-r));
	}
	json_array_foreach(records, i, record) on_record(record, arg);
	*ret = journal;
	return 0;
}

struct ctl_journal *ctl_journal_close(struct ctl_journal *journal)
{
	if (!journal)
		return NULL;
	skep_closep(&journal->fd);
	skep_closep(&journal->dir_fd);
	free(journal);
	return NULL;
}

int ctl_journal_append(struct ctl_journal *journal, const json_t *record)
{
	size_t n = 0;
	_skep_free_ char *line = line_of(record, &n);
	int r = line ? write_all(journal->fd, line, n) : -ENOMEM;

	if (r == 0 && fdatasync(journal->fd) < 0)
		r = -errno;
	if (r == 0)
		journal->end += n;
	else if (ftruncate(journal->fd, (off_t)journal->end) < 0)
		skep_log(SKEP_LOG_ERROR, "journal: half a record could not be removed: %s", strerror(errno));
	return r;
}

bool ctl_journal_is_long(const struct ctl_journal *journal)
{
	return journal->end > LONG_BYTES && journal->end > 4 * journal->rewritten;
}
