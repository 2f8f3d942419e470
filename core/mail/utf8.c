/*
 * utf8.c - is this UTF-8?  (RFC 3629)
 *
 * Called by the parsers of core/mail/ on any thread; keeps nothing.  Refuses
 * overlong forms, surrogates, what lies above U+10FFFF, and C1 controls: the last
 * would let a name move the cursor of whoever reads a log.
 */
#include "mail/mail.h"

struct range {
	unsigned char lead_min, lead_max;	/* first octet */
	unsigned char next_min, next_max;	/* second octet; the others are 80..BF */
	unsigned char octets;
};

static const struct range ranges[] = {
	{ 0x00, 0x7f, 0x00, 0x00, 1 },
	{ 0xc2, 0xc2, 0xa0, 0xbf, 2 },		/* without U+0080..U+009F */
	{ 0xc3, 0xdf, 0x80, 0xbf, 2 },
	{ 0xe0, 0xe0, 0xa0, 0xbf, 3 },
	{ 0xe1, 0xec, 0x80, 0xbf, 3 },
	{ 0xed, 0xed, 0x80, 0x9f, 3 },		/* without the surrogates */
	{ 0xee, 0xef, 0x80, 0xbf, 3 },
	{ 0xf0, 0xf0, 0x90, 0xbf, 4 },
	{ 0xf1, 0xf3, 0x80, 0xbf, 4 },
	{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
};

static bool fits(const struct range *r, const unsigned char *u, size_t n)
{
	if (u[0] < r->lead_min || u[0] > r->lead_max || r->octets > n)
		return false;
	if (r->octets > 1 && (u[1] < r->next_min || u[1] > r->next_max))
		return false;
	for (size_t i = 2; i < r->octets; i++)
		if ((u[i] & 0xc0) != 0x80)
			return false;
	return true;
}

size_t gac_utf8_octets(const char *p, size_t n)
{
	if (n == 0)
		return 0;
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		if (fits(&ranges[i], (const unsigned char *)p, n))
			return ranges[i].octets;
	return 0;
}

bool ga_utf8_valid(struct ga_str s)
{
	size_t n;

	for (size_t i = 0; i < s.n; i += n)
		if ((n = gac_utf8_octets(s.p + i, s.n - i)) == 0)
			return false;
	return true;
}
