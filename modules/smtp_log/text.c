/*
 * text.c - octets from the network as text for a log.
 *
 * Pure.  What has to be escaped goes through ga_escape(), which only the lines that need it
 * pay for; here is found out which do.
 */
#include "smtp_log.h"

#include <string.h>

#include <greenarrow/mail.h>

struct ga_str
slog_cut(struct ga_str s, size_t *cut)
{
	size_t n = s.n;

	if (n > SLOG_TEXT) {
		n = SLOG_TEXT;
		while (n > SLOG_TEXT - 4 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
			n--;
	}
	*cut = s.n - n;
	return (struct ga_str){ s.p, n };
}

bool
slog_is_clean(struct ga_str s)
{
	unsigned char high = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < 0x20 || c == 0x7f || c == '\\')
			return false;
		high |= c;
	}
	return high < 0x80 || ga_utf8_valid(s);
}

static char *
put_hex(char *p, uint64_t v, unsigned digits)
{
	while (digits-- > 0)
		*p++ = "0123456789abcdef"[v >> 4 * digits & 15];
	return p;
}

struct ga_str
slog_hex_row(char room[SLOG_HEX_ROOM], uint64_t offset, struct ga_str octets)
{
	size_t n = octets.n < SLOG_HEX_ROW ? octets.n : SLOG_HEX_ROW;
	char *p = put_hex(room, offset, 8);

	*p++ = ' ';
	for (size_t i = 0; i < SLOG_HEX_ROW; i++) {
		*p++ = ' ';
		if (i < n)
			p = put_hex(p, (unsigned char)octets.p[i], 2);
		else
			p = (char *)memset(p, ' ', 2) + 2;
	}
	*p++ = ' ';
	*p++ = ' ';
	*p++ = '|';
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)octets.p[i];

		*p++ = c >= 0x20 && c < 0x7f && c != '\\' ? (char)c : '.';
	}
	*p++ = '|';
	return (struct ga_str){ room, (size_t)(p - room) };
}
