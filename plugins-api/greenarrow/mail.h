/*
 * mail.h - addresses, headers, dates, replies: parsed in one place.  Level strict.
 * Pure functions; any thread; nothing is allocated unless a pool is given.
 */
#ifndef GREENARROW_MAIL_H
#define GREENARROW_MAIL_H

#include <time.h>

#include <greenarrow/ga_hook.h>

GA_BEGIN

enum ga_mail_error {
	GA_MAIL_OK = 0,
	GA_MAIL_SYNTAX,		/* 501 5.1.3 / 5.1.7 */
	GA_MAIL_TOO_LONG,	/* local part > 64, domain > 253, path > 256 octets */
	GA_MAIL_CTL,		/* control character, bare CR or LF, NUL */
	GA_MAIL_UTF8		/* not ASCII, and utf8 was not allowed, or invalid UTF-8 */
};

/*
 * Path of MAIL FROM: or RCPT TO: (RFC 5321 4.1.2): s begins at '<'.  The source
 * route is skipped.  address: without <>; empty for <>.  local, domain: as
 * written; domain is what follows the last unquoted '@' and empty for
 * <postmaster>, the only address without one; ga_mail_domain() takes it.  rest:
 * what follows '>', empty or beginning with a blank.  Address literals (IPv4 and
 * IPv6 only) are kept with brackets.
 */
GA_EXPORT enum ga_mail_error ga_mail_path(struct ga_str s, bool utf8, struct ga_str *address,
    struct ga_str *local, struct ga_str *domain, struct ga_str *rest);
/* The same for an address without <>, as in headers' addr-spec or the queue. */
GA_EXPORT enum ga_mail_error ga_mail_address(struct ga_str s, bool utf8, struct ga_str *local,
    struct ga_str *domain);
/* Lower case, A-label (libidn2), no trailing dot; literals unchanged in lower
 * case.  False: not a domain name, or no room (253 octets are always enough). */
GA_EXPORT bool ga_mail_domain(struct ga_str s, char *out, size_t room, struct ga_str *domain);
/* Domain, as ga_mail_domain() puts it, of the first address of a header field's list
 * (RFC 5322 3.4; not unfolded, comments and display names allowed).  False: none found. */
GA_EXPORT bool ga_mail_list_domain(struct ga_str list, char *out, size_t room,
    struct ga_str *domain);
/* That address as it is written, without its name, comments and blanks: at most
 * GA_MAIL_ADDRESS octets.  False: none found. */
#define GA_MAIL_ADDRESS 254
GA_EXPORT bool ga_mail_list_address(struct ga_str list, char out[GA_MAIL_ADDRESS],
    struct ga_str *address);
/* EHLO/HELO argument: domain or address literal. */
GA_EXPORT bool ga_mail_helo_valid(struct ga_str s);
/* "KEY" or "KEY=value" after the path; false at the end, *bad set on bad syntax. */
GA_EXPORT bool ga_mail_param(struct ga_str *rest, struct ga_param *, bool *bad);
/* RFC 3461 xtext.  False: not xtext, or other than printable ASCII in it. */
GA_EXPORT bool ga_xtext_decode(struct ga_pool *, struct ga_str, struct ga_str *out);
GA_EXPORT struct ga_str ga_xtext_encode(struct ga_pool *, struct ga_str);

/* RFC 5322 date, "Wed, 25 Nov 2026 17:49:39 +0000"; local zone.  Returns octets. */
#define GA_DATE_ROOM 40
GA_EXPORT size_t ga_mail_date(time_t, char buf[GA_DATE_ROOM]);
/* RFC 3339, "2026-11-25T17:49:39.500+00:00"; local zone.  Wall clock ms.  Returns buf. */
GA_EXPORT const char *ga_date_rfc3339(uint64_t wall_ms, char buf[GA_DATE_ROOM]);

/*
 * Replies (RFC 5321 4.2), fed octet by octet as they come.  A parser holds one
 * reply at most: at most GA_REPLY_LINES lines and GA_REPLY_TEXT octets are kept,
 * the rest of a longer reply is read and dropped.
 */
#define GA_REPLY_LINES 200
#define GA_REPLY_TEXT 4096
struct ga_reply_parser {
	unsigned code;			/* of the complete reply */
	unsigned lines;
	size_t n;			/* octets in text: the lines joined by LF, codes kept */
	char text[GA_REPLY_TEXT];
	/* private */
	unsigned first_code_, line_code_, line_len_, octets_;
	bool cr_, last_, full_, complete_;
};
GA_EXPORT void ga_reply_reset(struct ga_reply_parser *);
/* Consumes octets up to the end of one reply: returns how many; *state 1 = a
 * reply is complete, 0 = more is needed, -1 = not SMTP (bad code, bare CR, codes
 * differ, over 256 KiB).  The next call after a complete reply begins a new one.
 * Control characters in the text become '?', tabs blanks; of a line over 1024
 * octets the rest is dropped. */
GA_EXPORT size_t ga_reply_feed(struct ga_reply_parser *, const char *p, size_t n, int *state);
/* Line i of a complete reply without code and separator. */
GA_EXPORT struct ga_str ga_reply_line(const struct ga_reply_parser *, unsigned i);
/* Enhanced code at the head of the text ("5.1.1"), only when its class equals the
 * reply's first digit; else empty. */
GA_EXPORT struct ga_str ga_reply_enhanced(const struct ga_reply_parser *);

/* Well-formed UTF-8 (RFC 3629) without C1 controls (U+0080..U+009F); ASCII of any kind,
 * NUL and other controls too, is. */
GA_EXPORT bool ga_utf8_valid(struct ga_str);
/* Escapes control characters and non-ASCII as \xNN, and doubles a backslash, for
 * a log line; into the pool. */
GA_EXPORT struct ga_str ga_escape(struct ga_pool *, struct ga_str);

GA_END

#endif
