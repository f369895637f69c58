/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Says what was captured, to programs (one JSON object), to people (a sentence, and how to open the file),
 * and while it runs (a live line). Only formats what it is given: never reads counters, never decides.
 * Control thread.
 */
#include "capture/report.h"

#include "common/format.h"
#include "common/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

/* Below this a line is no use. */
#define WIDTH_MIN 20
#define WIDTH_DEFAULT 80
#define LINE_MAX_BYTES 256

/* ---- JSON ---- */

static json_t *json_count(uint64_t n)
{
	return json_integer((json_int_t)SKEP_MIN(n, (uint64_t)INT64_MAX));
}

/* File names need not be UTF-8, JSON must be: then what is not ASCII becomes '?'. */
static json_t *json_text(const char *text)
{
	json_t *json = json_string(text);
	char *copy;

	if (json)
		return json;
	copy = strdup(text);
	for (char *c = copy; c && *c; c++)
		*c = (unsigned char)*c < 0x80 ? *c : '?';
	json = copy ? json_string(copy) : NULL;
	free(copy);
	return json;
}

static json_t *json_texts(const char *const *texts, uint32_t n)
{
	json_t *list = json_array();

	for (uint32_t i = 0; list && i < n; i++)
		if (json_array_append_new(list, json_text(texts[i]))) {
			json_decref(list);
			return NULL;
		}
	return list;
}

static json_t *json_dropped(const struct cap_report *report)
{
	json_t *object = json_object();

	for (uint32_t i = 0; object && i < report->n_dropped; i++)
		if (report->dropped[i].pkts && json_object_set_new(object, report->dropped[i].name,
								   json_count(report->dropped[i].pkts))) {
			json_decref(object);
			return NULL;
		}
	return object;
}

int cap_report_json(FILE *out, const struct cap_report *r)
{
	_skep_json_ json_t *object = json_object();
	const struct {
		const char *key;
		json_t *value;
	} rows[] = {
		{ "seen", json_count(r->seen) },
		{ "stored", json_count(r->stored) },
		{ "rejected", json_count(r->rejected) },
		{ "dropped", json_dropped(r) },
		{ "bytes_wire", json_count(r->bytes_wire) },
		{ "bytes_raw", json_count(r->bytes_raw) },
		{ "bytes_disk", json_count(r->bytes_disk) },
		{ "duration_ns", json_count(r->duration_ns) },
		{ "files", json_texts(r->files, r->n_files) },
		{ "links", json_texts(r->links, r->n_links) },
		{ "outcome", json_string(r->complete ? "complete" : "incomplete") },
		{ "reasons", json_texts(r->reasons, r->n_reasons) },
		{ "level_last", r->has_level ? json_integer(r->level_last) : json_null() },
	};
	int failed = 0;

	/* Every value is handed over (and freed), also after one has failed. */
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		failed |= json_object_set_new(object, rows[i].key, rows[i].value);
	/* Only where a part of what was rejected was rejected by them. */
	if (r->sampled_out || r->cut_off) {
		failed |= json_object_set_new(object, "sampled_out", json_count(r->sampled_out));
		failed |= json_object_set_new(object, "cut_off", json_count(r->cut_off));
	}
	if (failed)
		return -ENOMEM;
	if (json_dumpf(object, out, JSON_COMPACT | JSON_PRESERVE_ORDER) || fputc('\n', out) == EOF ||
	    fflush(out))
		return errno ? -errno : -EIO;
	return 0;
}

/* ---- words ---- */

static uint64_t sum_dropped(const struct cap_report *report)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < report->n_dropped; i++)
		sum += report->dropped[i].pkts;
	return sum;
}

/* snprintf at *at, which never passes size - 1. */
static void append(char *buf, size_t size, size_t *at, const char *fmt, ...) SKEP_PRINTF(4, 5);
static void append(char *buf, size_t size, size_t *at, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf + *at, size - *at, fmt, ap);
	va_end(ap);
	if (n > 0)
		*at += SKEP_MIN((size_t)n, size - *at - 1);
}

static void append_dropped(const struct cap_report *report, bool all, char *buf, size_t size, size_t *at)
{
	const char *sep = " (";

	if (all)
		append(buf, size, at, ", all dropped");
	else
		append(buf, size, at, ", %" PRIu64 " dropped", sum_dropped(report));
	for (uint32_t i = 0; i < report->n_dropped; i++) {
		if (!report->dropped[i].pkts)
			continue;
		if (all && report->dropped[i].pkts == report->seen)
			append(buf, size, at, "%s%s", sep, report->dropped[i].name);
		else
			append(buf, size, at, "%s%s %" PRIu64, sep, report->dropped[i].name, report->dropped[i].pkts);
		sep = ", ";
	}
	append(buf, size, at, ")");
}

const char *cap_report_sentence(const struct cap_report *report, char *buf, size_t size)
{
	uint64_t dropped = sum_dropped(report);
	size_t at = 0;

	append(buf, size, &at, "%" PRIu64 " packet%s stored: ", report->stored, report->stored == 1 ? "" : "s");
	if (report->seen == 0) {
		append(buf, size, &at, "none was seen");
		return buf;
	}
	append(buf, size, &at, "%" PRIu64 " seen", report->seen);
	if (report->rejected == report->seen)
		append(buf, size, &at, ", all rejected by the filter");
	else if (report->rejected)
		append(buf, size, &at, ", %" PRIu64 " rejected by the filter", report->rejected);
	if (dropped)
		append_dropped(report, dropped == report->seen, buf, size, &at);
	else if (report->rejected != report->seen)
		append(buf, size, &at, ", none dropped");
	return buf;
}

static bool plain_word(const char *text)
{
	return text[0] != '-' && !text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/+,:@%")];
}

/* As the user can paste it into a shell; a path with a quote in it is printed as it is. */
static void print_path(FILE *out, const char *path)
{
	if (plain_word(path) || strchr(path, '\''))
		fputs(path, out);
	else
		fprintf(out, "'%s'", path);
}

static void print_files(FILE *out, const struct cap_report *report)
{
	if (report->n_files == 0)
		return;
	if (report->n_files == 1) {
		fputs("File: ", out);
		print_path(out, report->files[0]);
	} else {
		fprintf(out, "Files: %u, from ", report->n_files);
		print_path(out, report->files[0]);
		fputs(" to ", out);
		print_path(out, report->files[report->n_files - 1]);
	}
	fputs("\nOpen it with: ", out);
	if (report->compressed) {
		fputs("zstd -dc ", out);
		print_path(out, report->files[0]);
		fputs(" | tcpdump -n -r -", out);
	} else {
		fputs("tcpdump -n -r ", out);
		print_path(out, report->files[0]);
	}
	fputs("   or: tshark -r ", out);
	print_path(out, report->files[0]);
	fputc('\n', out);
}

void cap_report_text(FILE *out, const struct cap_report *report)
{
	char wire[SKEP_FORMAT_MAX], raw[SKEP_FORMAT_MAX], disk[SKEP_FORMAT_MAX], time[SKEP_FORMAT_MAX];
	char sentence[1024];

	for (uint32_t i = 0; i < report->n_links; i++)
		fprintf(out, "Link %s\n", report->links[i]);
	for (uint32_t i = 0; i < report->n_reasons; i++)
		fprintf(out, "%s: %s\n", report->complete ? "Note" : "Incomplete", report->reasons[i]);
	if (!report->complete && report->n_reasons == 0)
		fputs("Incomplete\n", out);
	fprintf(out, "%s\n", cap_report_sentence(report, sentence, sizeof(sentence)));
	fprintf(out, "%s on the wire, %s of capture, %s written, in %s\n", skep_format_size(wire, report->bytes_wire),
		skep_format_size(raw, report->bytes_raw), skep_format_size(disk, report->bytes_disk),
		skep_format_duration(time, report->duration_ns));
	print_files(out, report);
	(void)fflush(out);
}

/* ---- the live line ---- */

void cap_report_live_init(struct cap_report_live *live, FILE *out, bool wanted, uint64_t now_ns)
{
	const char *term = getenv("TERM");

	*live = (struct cap_report_live){
		.out = out,
		.on = wanted && isatty(fileno(out)) && !(term && strcmp(term, "dumb") == 0),
		.last_ns = now_ns,
	};
}

const char *cap_report_live_line(const struct cap_report_live *live, const struct cap_report *report,
				 uint64_t now_ns, int width, char *buf, size_t size)
{
	char time[SKEP_FORMAT_MAX], pps[SKEP_FORMAT_MAX], bps[SKEP_FORMAT_MAX], disk[SKEP_FORMAT_MAX],
		pkts[SKEP_FORMAT_MAX];
	double seconds = now_ns > live->last_ns ? (double)(now_ns - live->last_ns) / SKEP_NSEC_PER_SEC : 1.0;
	uint64_t seen = report->seen - SKEP_MIN(report->seen, live->last_seen);
	uint64_t bytes = report->bytes_wire - SKEP_MIN(report->bytes_wire, live->last_bytes_wire);
	size_t at = 0;

	size = SKEP_MIN(size, (size_t)width + 1);
	buf[0] = '\0';
	append(buf, size, &at, "%s  %s stored  %s  %s  %" PRIu64 " dropped  file %s",
	       skep_format_duration(time, report->duration_ns), skep_format_rate(pkts, (double)report->stored, "pkts"),
	       skep_format_rate(pps, (double)seen / seconds, "pkt/s"),
	       skep_format_rate(bps, (double)bytes * 8 / seconds, "bit/s"), sum_dropped(report),
	       skep_format_size(disk, report->bytes_disk));
	if (report->has_level)
		append(buf, size, &at, "  level %d", report->level_last);
	else if (report->compressed)
		append(buf, size, &at, "  level stored");
	return buf;
}

static int terminal_width(FILE *out)
{
	struct winsize ws;

	return ioctl(fileno(out), TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0 ? ws.ws_col : WIDTH_DEFAULT;
}

void cap_report_live(struct cap_report_live *live, const struct cap_report *report, uint64_t now_ns)
{
	char line[LINE_MAX_BYTES];
	int width;

	if (!live->on || now_ns - live->last_ns < SKEP_NSEC_PER_SEC)
		return;
	width = terminal_width(live->out);
	if (width >= WIDTH_MIN) {
		/*
		 * The last column stays free: writing there makes some terminals wrap. Erase what was longer
		 * before.
		 */
		fprintf(live->out, "\r%s\033[K",
			cap_report_live_line(live, report, now_ns, width - 1, line, sizeof(line)));
		(void)fflush(live->out);
		live->drawn = true;
	}
	live->last_ns = now_ns;
	live->last_seen = report->seen;
	live->last_bytes_wire = report->bytes_wire;
}

void cap_report_live_clear(struct cap_report_live *live)
{
	if (!live->drawn)
		return;
	fputs("\r\033[K", live->out);
	(void)fflush(live->out);
	live->drawn = false;
}
