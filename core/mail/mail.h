/*
 * mail.h - what the files of core/mail/ share: character classes, UTF-8.
 *
 * Private to core/mail/.  Tables instead of <ctype.h>: the daemon's idea of a
 * letter must not depend on a locale, and plain char may be signed.
 */
#ifndef GA_CORE_MAIL_MAIL_H
#define GA_CORE_MAIL_MAIL_H

#include <greenarrow/mail.h>

static inline bool gac_is_alpha(unsigned char c)
{
	return (c | 32) >= 'a' && (c | 32) <= 'z';
}

static inline bool gac_is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

static inline bool gac_is_alnum(unsigned char c)
{
	return gac_is_alpha(c) || gac_is_digit(c);
}

static inline bool gac_is_ctl(unsigned char c)
{
	return c < 32 || c == 127;
}

static inline unsigned char gac_lower(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c + 32) : c;
}

/*
 * Octets of the well-formed UTF-8 sequence (RFC 3629) at p, or 0: not well
 * formed, or a C1 control (U+0080..U+009F), which is nobody's name.
 */
size_t gac_utf8_octets(const char *p, size_t n);

#endif
