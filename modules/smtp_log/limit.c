/*
 * limit.c - log_smtp_max_rate: lines a second, and what was left out.
 *
 * One limit for each block that has the directive (and direction), shared by all loops
 * of the instance.  Each line that passes moves the time at which the next is due by one gap, in one
 * atomic word; what is not used is saved up for a second.  Lines that do not pass are
 * counted; the loop that kept one out says so a second later, in one line.
 */
#include "smtp_log.h"

#include <inttypes.h>
#include <stdio.h>

#define SAVED_US 1000000u

bool
slog_limit_take(struct slog_limit *l, size_t n)
{
	uint64_t now = ga_mono_us(), next = atomic_load_explicit(&l->next_us, memory_order_relaxed), due;
	uint64_t saved = l->gap_us > SAVED_US ? l->gap_us : SAVED_US;	/* one line at least */

	do {
		due = now > saved && next < now - saved ? now - saved : next;
		if (due + l->gap_us > now) {
			atomic_fetch_add_explicit(&l->lines, 1, memory_order_relaxed);
			atomic_fetch_add_explicit(&l->octets, n, memory_order_relaxed);
			return false;
		}
	} while (!atomic_compare_exchange_weak_explicit(&l->next_us, &next, due + l->gap_us,
	    memory_order_relaxed, memory_order_relaxed));
	return true;
}

void
slog_limit_tell(struct slog_limit *l, const struct ga_log_sink *sink)
{
	uint64_t lines = atomic_exchange_explicit(&l->lines, 0, memory_order_relaxed);
	uint64_t octets = atomic_exchange_explicit(&l->octets, 0, memory_order_relaxed);
	char text[400];
	struct ga_str line = { text, 0 };
	int n;

	if (lines == 0)
		return;
	n = snprintf(text, sizeof text, "%s: * left out %" PRIu64 " lines (%" PRIu64 " octets): log_smtp_max_rate %.*s (%s)",
	    l->incoming ? "smtpd" : "remote_smtp", lines, octets, (int)l->text.n, l->text.p, l->where);
	line.n = n < (int)sizeof text ? (size_t)n : sizeof text - 1;
	if (l->dir != NULL)
		sink->write(l->dir, &line, 1);
}
