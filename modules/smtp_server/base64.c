/*
 * base64.c - see base64.h.
 *
 * Libraries are lenient here: that of GnuTLS skips blanks and line ends, which in
 * SASL are errors (RFC 4954 4), so these two functions are ours.  What is decoded
 * are passwords: no table is looked up with them, no branch depends on them.
 */
#include "base64.h"

/* 0xff.. when a <= c <= b, else 0. */
static unsigned
between(unsigned c, unsigned a, unsigned b)
{
	return ((a - 1 - c) & (c - b - 1)) >> 31 ? ~0u : 0;
}

/* The six bits of a character; bit 8 is set when it is none of base64's. */
static unsigned
sextet(unsigned c)
{
	unsigned upper = between(c, 'A', 'Z'), lower = between(c, 'a', 'z');
	unsigned digit = between(c, '0', '9'), plus = between(c, '+', '+'), slash = between(c, '/', '/');

	return (upper & (c - 'A')) | (lower & (c - 'a' + 26)) | (digit & (c - '0' + 52)) |
	    (plus & 62) | (slash & 63) | (~(upper | lower | digit | plus | slash) & 0x100);
}

static size_t
padding(struct ga_str text)
{
	if (text.n == 0 || text.p[text.n - 1] != '=')
		return 0;
	return text.p[text.n - 2] == '=' ? 2 : 1;
}

bool
smtpd_base64_decode(struct ga_str text, unsigned char *out, size_t *n)
{
	size_t pad, chars;
	unsigned bits = 0, bad = 0, have = 0;

	*n = 0;
	if (text.n % 4 != 0)
		return false;
	pad = padding(text);
	chars = text.n - pad;
	for (size_t i = 0; i < chars; i++) {
		unsigned v = sextet((unsigned char)text.p[i]);

		bad |= v & 0x100;
		bits = bits << 6 | (v & 63);
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[(*n)++] = (unsigned char)(bits >> have);
			bits &= (1u << have) - 1;
		}
	}
	return bad == 0 && bits == 0;
}

static char
character(unsigned v)
{
	unsigned c = (between(v, 0, 25) & (v + 'A')) | (between(v, 26, 51) & (v - 26 + 'a')) |
	    (between(v, 52, 61) & (v - 52 + '0')) | (between(v, 62, 62) & '+') |
	    (between(v, 63, 63) & '/');

	return (char)c;
}

size_t
smtpd_base64_encode(const unsigned char *p, size_t n, char *out)
{
	size_t o = 0;

	for (size_t i = 0; i < n; i += 3) {
		unsigned v = (unsigned)p[i] << 16;

		v |= i + 1 < n ? (unsigned)p[i + 1] << 8 : 0;
		v |= i + 2 < n ? p[i + 2] : 0;
		out[o++] = character(v >> 18);
		out[o++] = character(v >> 12 & 63);
		out[o++] = i + 1 < n ? character(v >> 6 & 63) : '=';
		out[o++] = i + 2 < n ? character(v & 63) : '=';
	}
	return o;
}
