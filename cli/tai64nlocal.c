/*
 * tai64nlocal.c - stamps at the beginning of lines as local time
 *
 *	tail -F log/rspawn-limiter/current | tai64nlocal | grep ...
 *
 * Standard input to standard output, octet for octet what tai64nlocal of daemontools writes:
 * where a line begins with '@', that and all hexadecimal digits behind it (lower case, any
 * number) become `YYYY-MM-DD HH:MM:SS.nnnnnnnnn`.  All that was read is written before the
 * next read, but for a stamp whose end has not come yet; when it never comes, it is dropped.
 * Where daemontools crashes, at a year that no calendar has, the stamp stays as it is.
 * Operands are ignored, as there.
 *
 * localtime(3) is asked once a minute of log time, not once a line.
 *
 * Exit codes: 0 end of input, 111 reading or writing failed, 2 wrong usage.
 */
#include "config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <greenarrow/tai64.h>

#include "cli_options.h"

#define FAILED 111
#define ROOM 131072		/* of input and of output: a pipe gives 64 KiB at a time */
#define STAMP_ROOM 64		/* 20 digits of a year and 10 of nanoseconds at most */
#define STAMP_DIGITS 24		/* digits before these have no part in the time */

/* A minute of local time: seconds first to last differ in nothing but the seconds. */
struct minute {
	time_t first, last;
	unsigned second;	/* of `first` */
	size_t n;
	char text[32];		/* "2024-10-17 14:08:" */
};

struct stream {
	struct minute minute;
	bool in_line;		/* what comes next does not begin a line */
	size_t nin, nout;
	char in[ROOM], out[ROOM];
};

/* --- output --- */

static bool
flush(struct stream *s)
{
	for (size_t done = 0; done < s->nout;) {
		ssize_t n = write(STDOUT_FILENO, s->out + done, s->nout - done);

		if (n < 0 && errno != EINTR)
			return false;
		done += n > 0 ? (size_t)n : 0;
	}
	s->nout = 0;
	return true;
}

/* n octets, no more than ROOM. */
static bool
put(struct stream *s, const char *p, size_t n)
{
	if (n > ROOM - s->nout && !flush(s))
		return false;
	memcpy(s->out + s->nout, p, n);
	s->nout += n;
	return true;
}

/* --- time --- */

static bool
same_minute(const struct tm *a, const struct tm *b)
{
	return a->tm_min == b->tm_min && a->tm_hour == b->tm_hour && a->tm_mday == b->tm_mday &&
	    a->tm_mon == b->tm_mon && a->tm_year == b->tm_year;
}

/* The minute around `at` when its both ends say that it is one of 60 seconds without a change of
 * the zone, else that second alone.  False: no calendar has it. */
static bool
find_minute(struct minute *m, time_t at)
{
	struct tm tm, first, last;
	time_t from, to;

	if (localtime_r(&at, &tm) == NULL)
		return false;
	from = at - tm.tm_sec;
	to = from + 59;
	*m = (struct minute){ .first = at, .last = at, .second = (unsigned)tm.tm_sec };
	if (localtime_r(&from, &first) != NULL && localtime_r(&to, &last) != NULL && first.tm_sec == 0 &&
	    last.tm_sec == 59 && same_minute(&first, &tm) && same_minute(&last, &tm)) {
		m->first = from;
		m->last = to;
		m->second = 0;
	}
	m->n = (size_t)snprintf(m->text, sizeof m->text, "%lu-%02d-%02d %02d:%02d:",
	    (unsigned long)(1900L + tm.tm_year), tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min);
	return true;
}

/* At least `width` digits, zeros before them; returns behind. */
static char *
digits(char *to, uint32_t value, unsigned width)
{
	char text[10];
	unsigned i = sizeof text;

	for (; value > 0 || width > 0; value /= 10, width -= width > 0)
		text[--i] = (char)('0' + value % 10);
	memcpy(to, text + i, sizeof text - i);
	return to + (sizeof text - i);
}

/* A stamp, or its own text when it is of no calendar. */
static bool
put_time(struct stream *s, const struct timespec *at, struct ga_str stamp)
{
	struct minute *m = &s->minute;
	char text[STAMP_ROOM], *p;

	if ((m->n == 0 || at->tv_sec < m->first || at->tv_sec > m->last) && !find_minute(m, at->tv_sec))
		return put(s, stamp.p, stamp.n);
	memcpy(text, m->text, m->n);
	p = digits(text + m->n, m->second + (uint32_t)(at->tv_sec - m->first), 2);
	*p++ = '.';
	p = digits(p, (uint32_t)at->tv_nsec, 9);
	return put(s, text, (size_t)(p - text));
}

/* --- lines --- */

/* A stamp that reaches to the end of what was read: it stays, with no more digits than count. */
static void
keep_stamp(struct stream *s, struct ga_str stamp)
{
	size_t extra = stamp.n > 1 + STAMP_DIGITS ? stamp.n - 1 - STAMP_DIGITS : 0;

	s->nin = stamp.n - extra;
	memmove(s->in + 1, stamp.p + 1 + extra, s->nin - 1);
	s->in[0] = '@';
}

static bool
convert(struct stream *s)
{
	struct ga_str rest = { s->in, s->nin };

	for (s->nin = 0; rest.n > 0;) {
		struct timespec at;
		size_t n = s->in_line ? 0 : ga_tai64n_scan(rest, &at);
		const char *end;

		if (n == rest.n) {
			keep_stamp(s, rest);
			break;
		}
		if (n > 0 && !put_time(s, &at, (struct ga_str){ rest.p, n }))
			return false;
		end = memchr(rest.p + n, '\n', rest.n - n);
		s->in_line = end == NULL;
		rest.p += n;
		rest.n -= n;
		n = end == NULL ? rest.n : (size_t)(end + 1 - rest.p);
		if (!put(s, rest.p, n))
			return false;
		rest.p += n;
		rest.n -= n;
	}
	return flush(s);
}

static int
fatal(const char *argv0, const char *what)
{
	fprintf(stderr, "%s: fatal: unable to %s: %s\n", argv0, what, strerror(errno));
	return FAILED;
}

static int
run(const char *argv0, struct stream *s)
{
	ssize_t n;

	while ((n = read(STDIN_FILENO, s->in + s->nin, ROOM - s->nin)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fatal(argv0, "read input");
		s->nin += (size_t)n;
		if (!convert(s))
			return fatal(argv0, "write output");
	}
	return 0;
}

int
main(int argc, char **argv)
{
	static struct stream stream;
	const struct cli_usage usage = {
		(const char *const[]){ "< LOG", NULL },
		"This tool copies its input and turns TAI64N stamps, as log directories have them at\n"
		"the beginning of lines, into local time (TZ).",
		NULL, 0
	};
	int code, first;

	cli_without_config();
	first = cli_parse(&usage, argc, argv, &code);
	if (first < 0)
		return code;
	tzset();
	return run(argv[0], &stream);
}
