/*
 * reply.c - replies of an SMTP server (RFC 5321 4.2), octet by octet.
 *
 * Called by whoever speaks SMTP to a server, on its loop, with what was just
 * read.  The parser is a part of the caller's session; nothing is allocated.
 *
 * A server is not trusted: the code is three digits, the first 2 to 5, the same
 * on every line; CR stands before LF only; control characters become '?', so the
 * text can go into a log, a bounce or the spool as one line a line.  A lone LF
 * ends a line too: old servers send it, and nothing hides in it here, where no
 * octet is passed on.  Long replies are read to their end, up to OCTETS_MAX.
 */
#include <string.h>

#include "mail/mail.h"

enum { LINE_KEPT = 1024, OCTETS_MAX = 256 * 1024 };

void ga_reply_reset(struct ga_reply_parser *r)
{
	r->code = r->lines = 0;
	r->n = 0;
	r->first_code_ = r->line_code_ = r->line_len_ = r->octets_ = 0;
	r->cr_ = r->last_ = r->full_ = r->complete_ = false;
}

static void keep(struct ga_reply_parser *r, unsigned char c)
{
	if (r->full_ || r->line_len_ >= LINE_KEPT)
		return;
	if (r->n == sizeof(r->text)) {
		r->full_ = true;
		return;
	}
	if (c == '\t')
		c = ' ';
	r->text[r->n++] = (char)(gac_is_ctl(c) ? '?' : c);
}

/* A line is kept only when at least its code and separator fit. */
static void begin_line(struct ga_reply_parser *r)
{
	if (r->lines == GA_REPLY_LINES || sizeof(r->text) - r->n < 5)
		r->full_ = true;
	if (r->full_)
		return;
	if (r->lines++ > 0)
		r->text[r->n++] = '\n';
}

static bool code_octet(struct ga_reply_parser *r, unsigned char c)
{
	if (!gac_is_digit(c) || (r->line_len_ == 0 && (c < '2' || c > '5')))
		return false;
	if (r->line_len_ == 0)
		begin_line(r);
	r->line_code_ = r->line_code_ * 10 + (c - '0');
	keep(r, c);
	return true;
}

static bool line_octet(struct ga_reply_parser *r, unsigned char c)
{
	if (r->line_len_ < 3) {
		if (!code_octet(r, c))
			return false;
	} else if (r->line_len_ == 3) {
		if (c != ' ' && c != '-')
			return false;
		r->last_ = c == ' ';
		keep(r, c);
	} else {
		keep(r, c);
	}
	r->line_len_++;
	return true;
}

/* 1: that was the last line; 0: more to come; -1: not a reply line */
static int end_line(struct ga_reply_parser *r)
{
	if (r->line_len_ < 3)
		return -1;
	if (r->line_len_ == 3)
		r->last_ = true;
	if (r->first_code_ == 0)
		r->first_code_ = r->line_code_;
	if (r->line_code_ != r->first_code_)
		return -1;
	r->line_code_ = r->line_len_ = 0;
	r->cr_ = false;
	if (!r->last_)
		return 0;
	r->code = r->first_code_;
	r->complete_ = true;
	return 1;
}

static int octet(struct ga_reply_parser *r, unsigned char c)
{
	if (++r->octets_ > OCTETS_MAX)
		return -1;
	if (c == '\n')
		return end_line(r);
	if (r->cr_)
		return -1;
	if (c == '\r') {
		r->cr_ = true;
		return 0;
	}
	return line_octet(r, c) ? 0 : -1;
}

size_t ga_reply_feed(struct ga_reply_parser *r, const char *p, size_t n, int *state)
{
	if (r->complete_)
		ga_reply_reset(r);
	*state = 0;
	for (size_t i = 0; i < n; i++) {
		*state = octet(r, (unsigned char)p[i]);
		if (*state != 0)
			return i + 1;
	}
	return n;
}

struct ga_str ga_reply_line(const struct ga_reply_parser *r, unsigned i)
{
	const char *p = r->text, *end = r->text + r->n, *nl;

	if (i >= r->lines)
		return (struct ga_str){ "", 0 };
	while (i-- > 0) {
		nl = memchr(p, '\n', (size_t)(end - p));
		if (nl == NULL)
			return (struct ga_str){ "", 0 };
		p = nl + 1;
	}
	nl = memchr(p, '\n', (size_t)(end - p));
	if (nl != NULL)
		end = nl;
	p = end - p > 4 ? p + 4 : end;
	return (struct ga_str){ p, (size_t)(end - p) };
}

/* One to three digits at s; how many, or 0. */
static size_t number_octets(struct ga_str s, size_t at)
{
	size_t n = 0;

	while (at + n < s.n && n < 4 && gac_is_digit((unsigned char)s.p[at + n]))
		n++;
	return n <= 3 ? n : 0;
}

struct ga_str ga_reply_enhanced(const struct ga_reply_parser *r)
{
	struct ga_str line = ga_reply_line(r, 0), none = { "", 0 };
	size_t subject, detail, n;

	if (line.n < 5 || (line.p[0] != '2' && line.p[0] != '4' && line.p[0] != '5') || line.p[1] != '.' ||
	    (unsigned)(line.p[0] - '0') != r->code / 100)
		return none;
	subject = number_octets(line, 2);
	if (subject == 0 || 2 + subject >= line.n || line.p[2 + subject] != '.')
		return none;
	detail = number_octets(line, 3 + subject);
	n = 3 + subject + detail;
	if (detail == 0 || (n < line.n && line.p[n] != ' '))
		return none;
	return (struct ga_str){ line.p, n };
}
