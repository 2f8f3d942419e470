/*
 * str.c - comparing, trimming and hashing runs of bytes.
 *
 * Implements the rest of ga_mem.h.  Pure functions, any thread.  "Case" is that
 * of ASCII letters whatever the locale, because protocol text is.
 */
#include "config.h"

#include <string.h>

#include <greenarrow/ga_mem.h>

static unsigned char
fold(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool
ga_str_eq(struct ga_str a, struct ga_str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool
ga_str_caseeq(struct ga_str a, struct ga_str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (fold(a.p[i]) != fold(b.p[i]))
			return false;
	return true;
}

bool
ga_str_starts(struct ga_str s, struct ga_str prefix)
{
	return s.n >= prefix.n && ga_str_eq((struct ga_str){ s.p, prefix.n }, prefix);
}

bool
ga_str_ends(struct ga_str s, struct ga_str suffix)
{
	return s.n >= suffix.n &&
	    ga_str_eq((struct ga_str){ s.p + (s.n - suffix.n), suffix.n }, suffix);
}

struct ga_str
ga_str_c(const char *s)
{
	return (struct ga_str){ s, s != NULL ? strlen(s) : 0 };
}

static bool
blank(char c)
{
	return c == ' ' || c == '\t';
}

struct ga_str
ga_str_trim(struct ga_str s)
{
	while (s.n > 0 && blank(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

uint32_t
ga_str_hash(struct ga_str s, bool fold_case)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < s.n; i++) {
		h ^= fold_case ? fold(s.p[i]) : (unsigned char)s.p[i];
		h *= 16777619u;
	}
	return h;
}
