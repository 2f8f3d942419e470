/*
 * when.h - times and periods on a command line: what is asked of a log
 */
#ifndef CLI_WHEN_H
#define CLI_WHEN_H

#include <stddef.h>
#include <stdint.h>

#include "base/logdir.h"

/*
 * A point in time, as nanoseconds since 1970:
 *
 *	1726063521.17386		epoch, with or without a fraction
 *	@4000000066e1a5eb0a5f8e2c	TAI64N
 *	2024-09-11T14:05:21.173Z	ISO 8601; Z, +02:00, +0200, or nothing for local time
 *	2024-09-11 14:05[:21[.173]]	the same with a blank
 *	2024-09-11			midnight
 *
 * NULL, or what is wrong, with *at the offset of the octet where it is.
 */
const char *when_time(const char *text, int64_t *ns, size_t *at);

/* "10 minutes", "2h", "1 day 3 hours", "1.5h": numbers with units, added up.  As when_time(). */
const char *when_period(const char *text, int64_t *ns, size_t *at);

/* What --start, --end and --last were given; NULL: not. */
struct when_given {
	const char *start, *end, *last;
};

/* 0, or 2 after saying on stderr what does not parse or not go together. */
int when_window(const char *argv0, const struct when_given *, struct gac_log_window *);

#endif
