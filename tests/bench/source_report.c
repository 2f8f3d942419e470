/*
 * source_report.c - what became of each message of ga_smtp_source, and the
 * figures at the end.
 *
 * Called by source_session.c with each outcome and by source.c at the end.  Owns
 * the table of failures.  An id is written to the log of acknowledged messages
 * with one write(2) as soon as its 250 has been read: the log is complete however
 * the server, or this program, ends.
 *
 * Every message begun is counted once: accepted, failed (refused, or the
 * connection was lost before its end was sent), or unknown (lost between the end
 * of DATA and the reply: the server may have taken it).
 */
#include "source.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
log_id(const struct source *s, int fd, uint64_t seq)
{
	char line[SRC_ID_MAX + 1];
	size_t len;

	if (fd < 0)
		return;
	src_id(s, seq, line);
	len = strlen(line);
	line[len++] = '\n';
	if (write(fd, line, len) != (ssize_t)len) {
		fprintf(stderr, "ga_smtp_source: write a log of ids: %s\n", strerror(errno));
		exit(1);
	}
}

void
src_accepted(struct source *s, const struct src_txn *t)
{
	s->last_us = wire_now_us();
	hist_add(&s->latency, s->last_us - t->eod_us);
	s->accepted++;
	s->recipients += t->ok_rcpts;
	s->bytes += s->content.size;
	log_id(s, s->acked_fd, t->seq);
}

void
src_unknown(struct source *s, const struct src_txn *t)
{
	s->unknown++;
	log_id(s, s->unknown_fd, t->seq);
}

void
src_problem(struct source *s, unsigned code, const char *stage, const char *text)
{
	struct src_failure *f;
	char key[sizeof f->key];

	if (code)
		snprintf(key, sizeof key, "%u %s", code, stage);
	else
		snprintf(key, sizeof key, "%s", stage);
	HASH_FIND_STR(s->failures, key, f);
	if (!f) {
		f = calloc(1, sizeof *f);
		if (!f)
			abort();
		strcpy(f->key, key);
		snprintf(f->first, sizeof f->first, "%s", text);
		HASH_ADD_STR(s->failures, key, f);
	}
	f->count++;
}

void
src_failed(struct source *s, unsigned code, const char *stage, const char *text)
{
	s->failed++;
	src_problem(s, code, stage, text);
}

static double
seconds_busy(const struct source *s)
{
	return s->last_us > s->first_us ? (double)(s->last_us - s->first_us) / 1e6 : 0;
}

static double
rate(const struct source *s)
{
	double busy = seconds_busy(s);

	return busy > 0 ? (double)s->accepted / busy : 0;
}

static void
add(json_object *to, const char *name, uint64_t value)
{
	json_object_object_add(to, name, json_object_new_int64((int64_t)value));
}

static json_object *
latency_json(const struct hist *h)
{
	json_object *o = json_object_new_object();

	add(o, "mean", h->count ? h->sum / h->count : 0);
	add(o, "p50", hist_percentile(h, 50));
	add(o, "p90", hist_percentile(h, 90));
	add(o, "p99", hist_percentile(h, 99));
	add(o, "max", h->max);
	return o;
}

static json_object *
failures_json(const struct source *s)
{
	json_object *all = json_object_new_object();

	for (struct src_failure *f = s->failures; f; f = f->hh.next) {
		json_object *one = json_object_new_object();

		add(one, "count", f->count);
		json_object_object_add(one, "first", json_object_new_string(f->first));
		json_object_object_add(all, f->key, one);
	}
	return all;
}

static void
report_json(const struct source *s, FILE *f)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "run_id", json_object_new_string(s->opt.run_id));
	add(o, "accepted", s->accepted);
	add(o, "failed", s->failed);
	add(o, "unknown", s->unknown);
	json_object_object_add(o, "rate", json_object_new_double(rate(s)));
	json_object_object_add(o, "seconds", json_object_new_double(seconds_busy(s)));
	add(o, "recipients", s->recipients);
	add(o, "refused_recipients", s->refused_recipients);
	add(o, "bytes", s->bytes);
	add(o, "message_size", s->content.size);
	add(o, "first_us", s->first_us);
	add(o, "last_us", s->last_us);
	add(o, "connections", s->connections);
	add(o, "peak_open", s->peak);
	json_object_object_add(o, "latency_us", latency_json(&s->latency));
	json_object_object_add(o, "failures", failures_json(s));
	fprintf(f, "%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
		JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}

static void
report_text(const struct source *s, FILE *f)
{
	const struct hist *h = &s->latency;

	fprintf(f, "accepted      %" PRIu64 " messages of %zu bytes, %" PRIu64 " recipients\n",
		s->accepted, s->content.size, s->recipients);
	fprintf(f, "rate          %.0f messages/s over %.2f s\n", rate(s), seconds_busy(s));
	fprintf(f, "latency       p50 %.2f  p90 %.2f  p99 %.2f  max %.2f ms, end of DATA to reply\n",
		(double)hist_percentile(h, 50) / 1e3, (double)hist_percentile(h, 90) / 1e3,
		(double)hist_percentile(h, 99) / 1e3, (double)h->max / 1e3);
	fprintf(f, "connections   %" PRIu64 ", most at once %" PRIu64 "\n", s->connections, s->peak);
	fprintf(f, "failed        %" PRIu64 " messages, %" PRIu64 " of unknown fate, %" PRIu64
		" recipients refused\n", s->failed, s->unknown, s->refused_recipients);
	for (const struct src_failure *x = s->failures; x; x = x->hh.next)
		fprintf(f, "  %-12s%" PRIu64 " x, first: %s\n", x->key, x->count, x->first);
}

void
src_report(struct source *s, FILE *f)
{
	if (s->opt.json)
		report_json(s, f);
	else
		report_text(s, f);
	fflush(f);
}
