/*
 * inbox.c - lines on their way from whoever logs to the writer thread.
 *
 * A line is one piece of memory, made by who logs and freed by the writer.  It is pushed on a list
 * with one atomic operation; the writer takes the whole list with one and turns it round.  So
 * nobody waits for anybody, and lines of one thread keep their order.
 *
 * What waits is counted in octets of memory, from the push until the line is written, and bounded.
 */
#include "service_log.h"

#include <stdlib.h>
#include <string.h>

#define OVERHEAD (sizeof(struct slog_line) + 16)	/* of a line, with what malloc needs */

static char *
put_stamp(char *p)
{
	char stamp[GA_TAI64N_ROOM];

	memcpy(p, ga_tai64n_format(ga_tai64n_now(), stamp), GA_TAI64N_LEN);
	p[GA_TAI64N_LEN] = ' ';
	return p + GA_TAI64N_LEN + 1;
}

/* One line stays one line. */
static void
blank_out(char *p, size_t n, char c)
{
	char *end = p + n;

	while ((p = memchr(p, c, (size_t)(end - p))) != NULL)
		*p++ = ' ';
}

/* Octets of the line that these parts make. */
static size_t
length(bool stamped, size_t longest, const struct ga_str *parts, size_t n)
{
	size_t octets = stamped ? GA_TAI64N_LEN + 2 : 1;

	for (size_t i = 0; i < n; i++)
		octets += parts[i].n;
	return octets < longest ? octets : longest;
}

/* n octets are all that fits. */
static char *
put_parts(char *p, size_t n, const struct ga_str *parts)
{
	for (; n > 0; parts++) {
		size_t k = parts->n < n ? parts->n : n;

		if (k > 0)
			memcpy(p, parts->p, k);
		p += k;
		n -= k;
	}
	return p;
}

static struct slog_line *
compose(bool stamped, size_t octets, const struct ga_str *parts)
{
	struct slog_line *line = ga_xmalloc(sizeof *line + octets);
	char *text = stamped ? put_stamp(line->text) : line->text;
	size_t n = octets - 1 - (size_t)(text - line->text);

	line->n = (uint32_t)octets;
	line->next = NULL;
	*put_parts(text, n, parts) = '\n';
	blank_out(text, n, '\n');
	blank_out(text, n, '\0');
	return line;
}

static void
push(struct slog_inbox *in, struct slog_line *line)
{
	struct slog_line *newest = atomic_load_explicit(&in->newest, memory_order_relaxed);

	do
		line->next = newest;
	while (!atomic_compare_exchange_weak(&in->newest, &newest, line));
}

/* Several threads at once may overshoot together: then each takes its own back. */
static bool
reserve(struct slog_inbox *in, size_t limit, size_t octets)
{
	if (atomic_fetch_add_explicit(&in->waiting, octets, memory_order_relaxed) + octets <= limit)
		return true;
	atomic_fetch_sub_explicit(&in->waiting, octets, memory_order_relaxed);
	atomic_fetch_add_explicit(&in->dropped_total, 1, memory_order_relaxed);
	atomic_fetch_add(&in->dropped, 1);
	return false;
}

bool
slog_inbox_put(struct slog_inbox *in, size_t limit, bool stamped, size_t longest,
    const struct ga_str *parts, size_t n)
{
	size_t octets = length(stamped, longest, parts, n);

	if (!reserve(in, limit, octets + OVERHEAD))
		return false;
	push(in, compose(stamped, octets, parts));
	return true;
}

struct slog_line *
slog_inbox_own(struct slog_inbox *in, bool stamped, struct ga_str text)
{
	size_t octets = length(stamped, SLOG_LINE_MAX, &text, 1);

	atomic_fetch_add_explicit(&in->waiting, octets + OVERHEAD, memory_order_relaxed);
	return compose(stamped, octets, &text);
}

struct slog_line *
slog_inbox_take(struct slog_inbox *in)
{
	struct slog_line *p = atomic_exchange(&in->newest, NULL), *oldest = NULL, *next;

	for (; p != NULL; p = next) {
		next = p->next;
		p->next = oldest;
		oldest = p;
	}
	return oldest;
}

void
slog_inbox_done(struct slog_inbox *in, struct slog_line *line)
{
	atomic_fetch_sub_explicit(&in->waiting, line->n + OVERHEAD, memory_order_relaxed);
	free(line);
}
