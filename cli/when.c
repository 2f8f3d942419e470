/*
 * when.c - times and periods on a command line: see when.h.
 *
 * Used by logdir_select_time and hvmail_report, so that both have one grammar.  A text is read from left to right by a
 * cursor; where it stops making sense is what the message names.
 */
#include "config.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

#include "base/logtime.h"
#include "cli_options.h"
#include "when.h"

#define NOT_TIME "is expected to be an epoch time, @TAI64N, or YYYY-MM-DD[ HH:MM[:SS]]"
#define TOO_LARGE "is too large"
#define NANO_DIGITS 9
#define SECONDS_MAX (INT64_MAX / GAC_LOG_NS_S)

struct cursor {
	const char *p;
};

/* --- pieces --- */

/* A whole number of least to most digits; false: not there, the cursor is at what is wrong. */
static bool
number(struct cursor *c, size_t least, size_t most, int64_t *out)
{
	size_t n = 0;

	for (*out = 0; n < most && isdigit((unsigned char)*c->p); n++)
		*out = *out * 10 + (*c->p++ - '0');
	return n >= least;
}

/* ".17386" or nothing, as nanoseconds. */
static bool
fraction(struct cursor *c, int64_t *ns)
{
	size_t places = 0;

	*ns = 0;
	if (*c->p != '.')
		return true;
	for (c->p++; isdigit((unsigned char)*c->p); c->p++, places++)
		if (places < NANO_DIGITS)
			*ns = *ns * 10 + (*c->p - '0');
	if (places == 0)
		return false;
	for (; places < NANO_DIGITS; places++)
		*ns *= 10;
	return true;
}

static void
blanks(struct cursor *c)
{
	while (isspace((unsigned char)*c->p))
		c->p++;
}

static bool
take(struct cursor *c, char wanted)
{
	if (*c->p != wanted)
		return false;
	c->p++;
	return true;
}

static bool
in_ns(int64_t seconds, int64_t fraction_ns, int64_t *ns)
{
	return !__builtin_mul_overflow(seconds, GAC_LOG_NS_S, ns) && !__builtin_add_overflow(*ns, fraction_ns, ns);
}

/* --- points in time --- */

static const char *
epoch(struct cursor *c, int64_t *ns)
{
	int64_t seconds, nano;

	if (!number(c, 1, 12, &seconds) || !fraction(c, &nano))
		return NOT_TIME;
	if (isdigit((unsigned char)*c->p) || !in_ns(seconds, nano, ns))
		return TOO_LARGE;
	return NULL;
}

static const char *
stamp(struct cursor *c, int64_t *ns)
{
	struct ga_str s = ga_str_c(c->p);

	if (!gac_log_time(s, ns))
		return "is expected to be @ and 24 hexadecimal digits";
	c->p += 25;
	return NULL;
}

struct field {
	char before;
	size_t digits;
	int64_t least, most;
	const char *wrong;
};

/* Fields with what separates them; on failure the cursor is at the one that is wrong. */
static const char *
fields(struct cursor *c, const struct field *f, size_t n, int64_t *values)
{
	for (size_t i = 0; i < n; i++) {
		const char *begin;

		if (f[i].before != '\0' && !take(c, f[i].before))
			return NOT_TIME;
		begin = c->p;
		if (!number(c, f[i].digits, f[i].digits, &values[i]))
			return NOT_TIME;
		if (values[i] < f[i].least || values[i] > f[i].most) {
			c->p = begin;
			return f[i].wrong;
		}
	}
	return NULL;
}

static int64_t
days_of(int64_t year, int64_t month)
{
	static const int64_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[month - 1] + (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
}

static const char *
date(struct cursor *c, struct tm *tm)
{
	static const struct field f[] = {
		{ '\0', 4, 1970, 9999, "is no year from 1970 on" },
		{ '-', 2, 1, 12, "is no month" },
		{ '-', 2, 1, 31, "is no day" },
	};
	const char *why;
	int64_t v[3];

	why = fields(c, f, 3, v);
	if (why != NULL)
		return why;
	if (v[2] > days_of(v[0], v[1])) {
		c->p -= 2;
		return "is no day of that month";
	}
	*tm = (struct tm){ .tm_year = (int)v[0] - 1900, .tm_mon = (int)v[1] - 1, .tm_mday = (int)v[2], .tm_isdst = -1 };
	return NULL;
}

/* HH:MM, then :SS and a fraction when they are there. */
static const char *
clock_time(struct cursor *c, struct tm *tm, int64_t *nano)
{
	static const struct field f[] = {
		{ '\0', 2, 0, 23, "is no hour" },
		{ ':', 2, 0, 59, "is no minute" },
		{ ':', 2, 0, 60, "is no second" },
	};
	const char *why;
	int64_t v[3] = { 0, 0, 0 };

	why = fields(c, f, 2, v);
	if (why == NULL && *c->p == ':')
		why = fields(c, f + 2, 1, v + 2);
	if (why == NULL && !fraction(c, nano))
		why = NOT_TIME;
	tm->tm_hour = (int)v[0];
	tm->tm_min = (int)v[1];
	tm->tm_sec = (int)v[2];
	return why;
}

/* Z or +02:00 or +0200: *local is false, seconds east of Greenwich. */
static const char *
zone(struct cursor *c, bool *local, int64_t *east)
{
	static const struct field f[] = { { '\0', 2, 0, 23, "is no hour" }, { '\0', 2, 0, 59, "is no minute" } };
	char sign = *c->p;
	const char *why;
	int64_t v[2];

	*local = sign != 'Z' && sign != '+' && sign != '-';
	*east = 0;
	if (*local)
		return NULL;
	c->p++;
	if (sign == 'Z')
		return NULL;
	why = fields(c, f, 1, v);
	if (why == NULL)
		take(c, ':');
	if (why == NULL)
		why = fields(c, f + 1, 1, v + 1);
	*east = (v[0] * 3600 + v[1] * 60) * (sign == '-' ? -1 : 1);
	return why;
}

static const char *
calendar(struct cursor *c, int64_t *ns)
{
	struct tm tm;
	const char *why = date(c, &tm);
	int64_t nano = 0, east = 0;
	bool local = true;

	if (why == NULL && (take(c, 'T') || (isspace((unsigned char)c->p[0]) && isdigit((unsigned char)c->p[1]) && take(c, ' ')))) {
		why = clock_time(c, &tm, &nano);
		if (why == NULL)
			why = zone(c, &local, &east);
	}
	if (why == NULL && !in_ns((local ? mktime(&tm) : timegm(&tm)) - east, nano, ns))
		why = TOO_LARGE;
	return why;
}

/* "2024-" and not "1726063521" */
static bool
looks_like_date(const char *p)
{
	return strspn(p, "0123456789") == 4 && p[4] == '-';
}

const char *
when_time(const char *text, int64_t *ns, size_t *at)
{
	struct cursor c = { text };
	const char *why;

	blanks(&c);
	if (*c.p == '@')
		why = stamp(&c, ns);
	else
		why = looks_like_date(c.p) ? calendar(&c, ns) : epoch(&c, ns);
	if (why == NULL)
		blanks(&c);
	*at = (size_t)(c.p - text);
	return why == NULL && *c.p != '\0' ? NOT_TIME : why;
}

/* --- periods --- */

static const struct {
	const char *name;
	int64_t seconds;
} units[] = {
	{ "s", 1 }, { "sec", 1 }, { "secs", 1 }, { "second", 1 }, { "seconds", 1 },
	{ "m", 60 }, { "min", 60 }, { "mins", 60 }, { "minute", 60 }, { "minutes", 60 },
	{ "h", 3600 }, { "hr", 3600 }, { "hrs", 3600 }, { "hour", 3600 }, { "hours", 3600 },
	{ "d", 86400 }, { "day", 86400 }, { "days", 86400 },
	{ "w", 604800 }, { "week", 604800 }, { "weeks", 604800 },
};

/* 0: none of ours. */
static int64_t
unit(struct cursor *c)
{
	size_t n = 0;

	while (isalpha((unsigned char)c->p[n]))
		n++;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (strlen(units[i].name) == n && strncasecmp(units[i].name, c->p, n) == 0) {
			c->p += n;
			return units[i].seconds;
		}
	return 0;
}

/* "10 minutes" */
static const char *
part(struct cursor *c, int64_t *ns)
{
	int64_t whole, part_ns, seconds;

	if (!number(c, 1, 10, &whole) || !fraction(c, &part_ns))
		return "is expected to be a number with a unit, as in `10 minutes`, `2h` or `1 day 3 hours`";
	blanks(c);
	if (*c->p == '\0')
		return "lacks a unit: seconds, minutes, hours, days or weeks";
	seconds = unit(c);
	if (seconds == 0)
		return "is no unit: seconds, minutes, hours, days, weeks, or s, m, h, d, w";
	/* a fraction is less than 1, so that times a week it is no more than a week */
	return in_ns(whole * seconds, part_ns * seconds, ns) ? NULL : TOO_LARGE;
}

const char *
when_period(const char *text, int64_t *ns, size_t *at)
{
	struct cursor c = { text };
	const char *why;
	int64_t more;

	*ns = 0;
	blanks(&c);
	do {
		const char *begin = c.p;

		why = part(&c, &more);
		if (why == NULL && __builtin_add_overflow(*ns, more, ns)) {
			c.p = begin;
			why = TOO_LARGE;
		}
		if (why == NULL)
			blanks(&c);
	} while (why == NULL && *c.p != '\0');
	*at = (size_t)(c.p - text);
	return why;
}

/* --- the window --- */

static int
refuse(const char *argv0, const char *option, const char *text, size_t at, const char *why)
{
	if (text[at] == '\0')
		return cli_wrong_usage(argv0, "--%s: `%s`: the end, character %zu: %s", option, text, at + 1, why);
	return cli_wrong_usage(argv0, "--%s: `%s`: `%s`, character %zu: %s", option, text, text + at, at + 1, why);
}

int
when_window(const char *argv0, const struct when_given *given, struct gac_log_window *w)
{
	struct timespec now;
	const char *why = NULL;
	int64_t period_ns;
	size_t at;

	*w = (struct gac_log_window){ INT64_MIN, INT64_MAX };
	if (given->last != NULL && (given->start != NULL || given->end != NULL))
		return cli_wrong_usage(argv0, "--last does not go with --start or --end");
	if (given->start != NULL && (why = when_time(given->start, &w->start_ns, &at)) != NULL)
		return refuse(argv0, "start", given->start, at, why);
	if (given->end != NULL && (why = when_time(given->end, &w->end_ns, &at)) != NULL)
		return refuse(argv0, "end", given->end, at, why);
	if (given->last != NULL) {
		why = when_period(given->last, &period_ns, &at);
		if (why != NULL)
			return refuse(argv0, "last", given->last, at, why);
		clock_gettime(CLOCK_REALTIME, &now);
		if (period_ns < now.tv_sec * GAC_LOG_NS_S)
			w->start_ns = now.tv_sec * GAC_LOG_NS_S + now.tv_nsec - period_ns;
	}
	if (w->start_ns > w->end_ns)
		return cli_wrong_usage(argv0, "--start %s is after --end %s", given->start, given->end);
	return 0;
}
