/*
 * line.c - see line.h.
 *
 * Called by the formats for each attempt, on the loop of the event; nothing is allocated.
 */
#include "line.h"

#include <string.h>
#include <time.h>

#include <greenarrow/mail.h>

void
dl_raw(struct dl_line *l, struct ga_str s)
{
	if (s.n == 0 || s.n > l->room - l->n)
		return;
	memcpy(l->p + l->n, s.p, s.n);
	l->n += s.n;
}

void
dl_char(struct dl_line *l, char c)
{
	if (l->n < l->room)
		l->p[l->n++] = c;
}

/* At most max octets, no character of UTF-8 cut through. */
static struct ga_str
clipped(struct ga_str s, size_t max)
{
	if (s.n <= max)
		return s;
	while (max > 0 && ((unsigned char)s.p[max] & 0xc0) == 0x80)
		max--;
	s.n = max;
	return s;
}

/* Octet i of s as the line has it; 0: not at all. */
static char
cleaned(struct ga_str s, size_t i, bool utf8, bool lower)
{
	unsigned char c = (unsigned char)s.p[i];

	if (c >= 0x80)
		return utf8 ? (char)c : '?';
	if (lower && c >= 'A' && c <= 'Z')
		return (char)(c + 'a' - 'A');
	if (c >= ' ' && c != 0x7f)
		return (char)c;
	if (c == '\r' && i + 1 < s.n && s.p[i + 1] == '\n')
		return 0;
	if (c == '\n' && i + 1 < s.n && (s.p[i + 1] == ' ' || s.p[i + 1] == '\t'))
		return 0;
	return c == '\t' || c == '\n' || c == '\r' ? ' ' : '?';
}

static bool
needs_quotes(struct ga_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == ',' || s.p[i] == '"')
			return true;
	return s.n > 0 && (s.p[0] <= ' ' || s.p[s.n - 1] <= ' ');
}

static bool
doubled(char c, enum dl_quote quote)
{
	return c == '"' ? quote == DL_JSON_STRING || quote == DL_CSV_FIELD : c == '\\' && quote == DL_JSON_STRING;
}

void
dl_text(struct dl_line *l, struct ga_str s, size_t max, enum dl_quote quote)
{
	bool utf8, quotes, lower = (quote & DL_LOWER) != 0;

	quote &= ~(unsigned)DL_LOWER;
	s = clipped(s, max);
	utf8 = ga_utf8_valid(s);
	quotes = quote == DL_JSON_STRING || (quote == DL_CSV_FIELD && needs_quotes(s));
	if (2 * s.n + 2 > l->room - l->n)
		s.n = 0;
	if (quotes)
		dl_char(l, '"');
	for (size_t i = 0; i < s.n; i++) {
		char c = cleaned(s, i, utf8, lower);

		if (c == 0)
			continue;
		if (doubled(c, quote))
			l->p[l->n++] = quote == DL_JSON_STRING ? '\\' : '"';
		l->p[l->n++] = c;
	}
	if (quotes)
		dl_char(l, '"');
}

/* At least `width` digits, with zeros before them. */
static void
digits_of(struct dl_line *l, uint64_t v, unsigned width)
{
	char buf[24];
	size_t at = sizeof buf;

	do {
		buf[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	while (sizeof buf - at < width)
		buf[--at] = '0';
	dl_raw(l, (struct ga_str){ buf + at, sizeof buf - at });
}

void
dl_number(struct dl_line *l, uint64_t v)
{
	digits_of(l, v, 1);
}

static uint64_t
power(unsigned digits)
{
	uint64_t p = 1;

	while (digits-- > 0)
		p *= 10;
	return p;
}

void
dl_decimal(struct dl_line *l, uint64_t v, unsigned scale, unsigned digits)
{
	digits_of(l, v / power(scale), 1);
	dl_char(l, '.');
	digits_of(l, v % power(scale) / power(scale - digits), digits);
}

void
dl_time(struct dl_line *l, uint64_t seconds)
{
	static _Thread_local struct { uint64_t seconds; size_t n; char text[40]; } known[2];
	unsigned at = seconds & 1;
	time_t t = (time_t)seconds;
	struct tm tm;

	if (known[at].n == 0 || known[at].seconds != seconds) {
		localtime_r(&t, &tm);
		known[at].seconds = seconds;
		known[at].n = strftime(known[at].text, sizeof known[at].text, "%Y-%m-%d %H:%M:%S%z", &tm);
	}
	dl_raw(l, (struct ga_str){ known[at].text, known[at].n });
}
