/*
 * param.c - ESMTP parameters (RFC 5321 4.1.2) and xtext (RFC 3461 4).
 *
 * Called for MAIL and RCPT, and when such a parameter is sent on.  Any thread.
 * xtext is how a line break would be smuggled through ENVID, ORCPT or AUTH into
 * whatever prints them, so what decodes to a control character is refused.
 */
#include "mail/mail.h"

static size_t keyword_octets(struct ga_str s)
{
	size_t n = 0;

	if (s.n == 0 || !gac_is_alnum((unsigned char)s.p[0]))
		return 0;
	while (n < s.n && (gac_is_alnum((unsigned char)s.p[n]) || s.p[n] == '-'))
		n++;
	return n;
}

/* esmtp-value, with the characters that RFC 6531 3.3 adds. */
static size_t value_octets(struct ga_str s)
{
	size_t n = 0, more;

	while (n < s.n && s.p[n] != '=' && s.p[n] != ' ' && !gac_is_ctl((unsigned char)s.p[n]) &&
	    (more = gac_utf8_octets(s.p + n, s.n - n)) > 0)
		n += more;
	return n;
}

static struct ga_str after(struct ga_str s, size_t n)
{
	return (struct ga_str){ s.p + n, s.n - n };
}

bool ga_mail_param(struct ga_str *rest, struct ga_param *param, bool *bad)
{
	struct ga_str s = *rest;
	size_t blanks = 0, n;

	*bad = false;
	param->key = param->value = (struct ga_str){ "", 0 };
	while (blanks < s.n && s.p[blanks] == ' ')
		blanks++;
	if (blanks == s.n)
		return false;
	s = after(s, blanks);
	*bad = true;
	if (blanks == 0 || (n = keyword_octets(s)) == 0)
		return false;
	param->key = (struct ga_str){ s.p, n };
	s = after(s, n);
	if (s.n > 0 && s.p[0] == '=') {
		s = after(s, 1);
		if ((n = value_octets(s)) == 0)
			return false;
		param->value = (struct ga_str){ s.p, n };
		s = after(s, n);
	}
	if (s.n > 0 && s.p[0] != ' ')
		return false;
	*rest = s;
	*bad = false;
	return true;
}

static int hex_value(unsigned char c)
{
	if (gac_is_digit(c))
		return c - '0';
	c = gac_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The octet "+XX" at p stands for; -1 unless it is printable ASCII. */
static int hexchar(const char *p, size_t n)
{
	int high, low, c;

	if (n < 3 || (high = hex_value((unsigned char)p[1])) < 0 ||
	    (low = hex_value((unsigned char)p[2])) < 0)
		return -1;
	c = high << 4 | low;
	return c >= 32 && c < 127 ? c : -1;
}

bool ga_xtext_decode(struct ga_pool *pool, struct ga_str s, struct ga_str *out)
{
	char *to = ga_alloc(pool, s.n + 1);
	size_t n = 0;

	*out = (struct ga_str){ "", 0 };
	for (size_t i = 0; i < s.n; i++) {
		int c = (unsigned char)s.p[i];

		if (c == '+') {
			c = hexchar(s.p + i, s.n - i);
			i += 2;
		} else if (c <= 32 || c >= 127 || c == '=') {
			c = -1;
		}
		if (c < 0)
			return false;
		to[n++] = (char)c;
	}
	*out = (struct ga_str){ to, n };
	return true;
}

struct ga_str ga_xtext_encode(struct ga_pool *pool, struct ga_str s)
{
	static const char digits[] = "0123456789ABCDEF";
	char *to = ga_alloc(pool, 3 * s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c > 32 && c < 127 && c != '+' && c != '=') {
			to[n++] = (char)c;
			continue;
		}
		to[n++] = '+';
		to[n++] = digits[c >> 4];
		to[n++] = digits[c & 15];
	}
	return (struct ga_str){ to, n };
}
