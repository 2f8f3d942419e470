/*
 * escape.c - text from outside, made fit for a line of a log.
 *
 * Called wherever a peer's words are printed; any thread.  A backslash is
 * doubled, so what is printed can be turned back and nobody can write our
 * escapes for us.
 */
#include <string.h>

#include "mail/mail.h"

static bool is_plain(unsigned char c)
{
	return c >= 32 && c < 127 && c != '\\';
}

static size_t escaped_octets(struct ga_str s)
{
	size_t n = s.n;

	for (size_t i = 0; i < s.n; i++)
		if (!is_plain((unsigned char)s.p[i]))
			n += s.p[i] == '\\' ? 1 : 3;
	return n;
}

struct ga_str ga_escape(struct ga_pool *pool, struct ga_str s)
{
	static const char digits[] = "0123456789abcdef";
	size_t total = escaped_octets(s), n = 0;
	char *to;

	if (total == s.n)
		return ga_dup(pool, s);
	to = ga_alloc(pool, total + 1);
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (is_plain(c)) {
			to[n++] = (char)c;
			continue;
		}
		to[n++] = '\\';
		if (c == '\\') {
			to[n++] = '\\';
			continue;
		}
		to[n++] = 'x';
		to[n++] = digits[c >> 4];
		to[n++] = digits[c & 15];
	}
	return (struct ga_str){ to, n };
}
