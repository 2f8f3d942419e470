/*
 * logtime.c - when a line of a log directory was written, from the line itself.
 *
 * Implements logtime.h.  Pure functions, any thread.  Called for every line that the tools
 * read, so what comes first is what decides: the first octet tells the shapes apart.
 */
#include "config.h"

#include <string.h>

#include <greenarrow/tai64.h>

#include "base/logtime.h"

#define EPOCH_MIN_DIGITS 9	/* 1973; shorter numbers begin other lines */
#define EPOCH_MAX_DIGITS 11
#define NANO_DIGITS 9
#define JSON_TIME "{\"timestamp\":"

static int64_t
nanoseconds(int64_t seconds, long nano)
{
	int64_t ns;

	if (__builtin_mul_overflow(seconds, GAC_LOG_NS_S, &ns) || __builtin_add_overflow(ns, nano, &ns))
		return seconds < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

static bool
stamp(struct ga_str s, int64_t *at_ns)
{
	struct timespec at;

	if (!ga_tai64n_parse(s, &at) || (s.n > GA_TAI64N_LEN && s.p[GA_TAI64N_LEN] != ' '))
		return false;
	*at_ns = nanoseconds(at.tv_sec, at.tv_nsec);
	return true;
}

static bool
digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "1726063521.17386" at the beginning of s; the octets it has, 0: none. */
static size_t
epoch(struct ga_str s, int64_t *at_ns)
{
	int64_t seconds = 0, nano = 0;
	size_t i = 0, places = 0;

	for (; i < s.n && i <= EPOCH_MAX_DIGITS && digit(s.p[i]); i++)
		seconds = seconds * 10 + (s.p[i] - '0');
	if (i < EPOCH_MIN_DIGITS || i > EPOCH_MAX_DIGITS)
		return 0;
	if (i < s.n && s.p[i] == '.')
		for (i++; i < s.n && digit(s.p[i]); i++)
			if (places < NANO_DIGITS) {
				nano = nano * 10 + (s.p[i] - '0');
				places++;
			}
	for (; places < NANO_DIGITS; places++)
		nano *= 10;
	*at_ns = nanoseconds(seconds, (long)nano);
	return i;
}

static bool
column(struct ga_str s, int64_t *at_ns)
{
	int64_t ns;
	size_t n = epoch(s, &ns);

	if (n == 0 || n == s.n || s.p[n] != '\t')
		return false;
	*at_ns = ns;
	return true;
}

static bool
json(struct ga_str s, int64_t *at_ns)
{
	size_t i = sizeof JSON_TIME - 1, n;
	int64_t ns;

	if (!ga_str_starts(s, GA_STR(JSON_TIME)))
		return false;
	while (i < s.n && s.p[i] == ' ')
		i++;
	i += i < s.n && s.p[i] == '"';
	n = epoch((struct ga_str){ s.p + i, s.n - i }, &ns);
	if (n == 0 || i + n == s.n)
		return false;
	*at_ns = ns;
	return true;
}

bool
gac_log_time(struct ga_str s, int64_t *at_ns)
{
	if (s.n == 0)
		return false;
	if (s.p[0] == '@')
		return stamp(s, at_ns);
	return s.p[0] == '{' ? json(s, at_ns) : column(s, at_ns);
}
