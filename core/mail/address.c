/*
 * address.c - paths and addresses of SMTP (RFC 5321 4.1.2, RFC 6531 3.3).
 *
 * Called for MAIL and RCPT, for every recipient read from the spool, and
 * wherever an address leaves us.  Any thread; nothing is kept or allocated.
 *
 * One grammar, strictly: what is not a Mailbox is refused, so no two programs
 * can disagree about where the domain begins.  In particular the only unquoted
 * '@' of an address is the one before the domain, nothing may follow '>' but a
 * blank, and no control character gets past here, quoted or not.
 *
 * Wider than the RFC in one point: '_' is taken as a letter of a host name,
 * because such names exist and only DNS can say so.  Narrower in two: of the
 * address literals only IPv4 and IPv6 (no other tag was ever registered), and a
 * domain has 253 octets at most, which is what DNS can carry.
 */
#include <arpa/inet.h>
#include <idn2.h>
#include <string.h>

#include "mail/mail.h"

/* RFC 5321 4.5.3.1; a path is the address and <>. */
enum { LOCAL_MAX = 64, DOMAIN_MAX = 253, LABEL_MAX = 63, ADDRESS_MAX = GA_MAIL_ADDRESS };

struct scan {
	const char *p, *end;
	bool utf8;
};

static struct ga_str from_to(const char *from, const char *to)
{
	return (struct ga_str){ from, (size_t)(to - from) };
}

/* Why the octet at the scan's position cannot be where it is. */
static enum ga_mail_error complaint(const struct scan *s)
{
	unsigned char c;

	if (s->p == s->end)
		return GA_MAIL_SYNTAX;
	c = (unsigned char)*s->p;
	if (gac_is_ctl(c))
		return GA_MAIL_CTL;
	if (c < 0x80)
		return GA_MAIL_SYNTAX;
	/* A C1 control is well-formed UTF-8, yet a control. */
	if (c == 0xc2 && s->end - s->p > 1 && (s->p[1] & 0xe0) == 0x80)
		return GA_MAIL_CTL;
	return GA_MAIL_UTF8;
}

static bool is_atext(unsigned char c)
{
	return gac_is_alnum(c) || (c != 0 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* Steps over one character beyond ASCII, if it is one and allowed. */
static bool skip_utf8(struct scan *s)
{
	size_t n;

	if (!s->utf8 || s->p == s->end || (unsigned char)*s->p < 0x80)
		return false;
	n = gac_utf8_octets(s->p, (size_t)(s->end - s->p));
	s->p += n;
	return n > 0;
}

static bool skip_atom(struct scan *s)
{
	const char *start = s->p;

	for (;;) {
		if (s->p < s->end && is_atext((unsigned char)*s->p))
			s->p++;
		else if (!skip_utf8(s))
			return s->p > start;
	}
}

static enum ga_mail_error dot_string(struct scan *s)
{
	for (;;) {
		if (!skip_atom(s))
			return complaint(s);
		if (s->p == s->end || *s->p != '.')
			return GA_MAIL_OK;
		s->p++;
	}
}

static enum ga_mail_error quoted_string(struct scan *s)
{
	s->p++;
	while (s->p < s->end && *s->p != '"') {
		if (*s->p == '\\' && ++s->p == s->end)
			return GA_MAIL_SYNTAX;
		if (*s->p >= 32 && *s->p < 127)
			s->p++;
		else if (!skip_utf8(s))
			return complaint(s);
	}
	if (s->p == s->end)
		return GA_MAIL_SYNTAX;
	s->p++;
	return GA_MAIL_OK;
}

/* A host name in ASCII: labels of letters, digits, '-' and '_'. */
static bool is_hostname(struct ga_str s)
{
	size_t label = 0;

	if (s.n == 0 || s.n > DOMAIN_MAX || s.p[s.n - 1] == '-')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c == '.') {
			if (label == 0 || s.p[i - 1] == '-')
				return false;
			label = 0;
		} else if (!(gac_is_alnum((unsigned char)c) || c == '_' || (c == '-' && label > 0))) {
			return false;
		} else if (++label > LABEL_MAX) {
			return false;
		}
	}
	return label > 0;
}

static bool has_prefix_nocase(struct ga_str s, struct ga_str prefix)
{
	return s.n >= prefix.n && ga_str_caseeq((struct ga_str){ s.p, prefix.n }, prefix);
}

/* "[192.0.2.1]" or "[IPv6:2001:db8::1]" */
static bool is_literal(struct ga_str s)
{
	static const struct ga_str tag = { "IPv6:", 5 };
	char text[INET6_ADDRSTRLEN];
	unsigned char addr[16];
	int family = AF_INET;

	if (s.n < 2 || s.p[0] != '[' || s.p[s.n - 1] != ']')
		return false;
	s = (struct ga_str){ s.p + 1, s.n - 2 };
	if (has_prefix_nocase(s, tag)) {
		s = (struct ga_str){ s.p + tag.n, s.n - tag.n };
		family = AF_INET6;
	}
	if (s.n == 0 || s.n >= sizeof(text) || memchr(s.p, 0, s.n) != NULL)
		return false;
	memcpy(text, s.p, s.n);
	text[s.n] = 0;
	return inet_pton(family, text, addr) == 1;
}

static bool put_lower(struct ga_str s, char *out, size_t room, struct ga_str *domain)
{
	if (s.n > room)
		return false;
	for (size_t i = 0; i < s.n; i++)
		out[i] = (char)gac_lower((unsigned char)s.p[i]);
	*domain = (struct ga_str){ out, s.n };
	return true;
}

/* U-labels to A-labels; the result is checked like any host name, because UTS 46
 * maps some characters to '.', '@' and others. */
static bool put_alabels(struct ga_str s, char *out, size_t room, struct ga_str *domain)
{
	char text[4 * DOMAIN_MAX + 1], *ascii = NULL;
	struct ga_str result;
	bool ok;

	for (size_t i = 0, n; i < s.n; i += n)
		if ((n = gac_utf8_octets(s.p + i, s.n - i)) == 0 || gac_is_ctl((unsigned char)s.p[i]))
			return false;
	if (s.n >= sizeof(text))
		return false;
	memcpy(text, s.p, s.n);
	text[s.n] = 0;
	if (idn2_to_ascii_8z(text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		return false;
	result = ga_str_c(ascii);
	ok = is_hostname(result) && put_lower(result, out, room, domain);
	idn2_free(ascii);
	return ok;
}

static bool is_ascii(struct ga_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
}

bool ga_mail_domain(struct ga_str s, char *out, size_t room, struct ga_str *domain)
{
	*domain = (struct ga_str){ NULL, 0 };
	if (s.n > 0 && s.p[0] == '[')
		return is_literal(s) && put_lower(s, out, room, domain);
	if (s.n > 1 && s.p[s.n - 1] == '.')
		s.n--;
	if (is_ascii(s))
		return is_hostname(s) && put_lower(s, out, room, domain);
	return put_alabels(s, out, room, domain);
}

bool ga_mail_helo_valid(struct ga_str s)
{
	if (s.n > 0 && s.p[0] == '[')
		return is_literal(s);
	return is_hostname(s);
}

static bool ends_domain(char c)
{
	return c == '>' || c == ' ' || c == '@' || c == ',' || c == ':';
}

/* A domain or literal up to what ends it; longer than DNS allows is TOO_LONG. */
static enum ga_mail_error domain_part(struct scan *s, struct ga_str *domain)
{
	const char *start = s->p;
	char out[DOMAIN_MAX];
	struct ga_str normal;

	if (s->p < s->end && *s->p == '[') {
		while (s->p < s->end && *s->p != ']' && *s->p > 32 && *s->p < 127)
			s->p++;
		if (s->p == s->end || *s->p != ']')
			return complaint(s);
		s->p++;
	} else {
		while (s->p < s->end && !ends_domain(*s->p))
			if (*s->p > 32 && *s->p < 127)
				s->p++;
			else if (!skip_utf8(s))
				return complaint(s);
	}
	*domain = from_to(start, s->p);
	if (domain->n > DOMAIN_MAX)
		return GA_MAIL_TOO_LONG;
	if (domain->n == 0 || domain->p[domain->n - 1] == '.' ||
	    !ga_mail_domain(*domain, out, sizeof(out), &normal))
		return GA_MAIL_SYNTAX;
	return GA_MAIL_OK;
}

/* Only this one has an address without a domain. */
static bool is_postmaster(struct ga_str local)
{
	return ga_str_caseeq(local, GA_STR("postmaster"));
}

static enum ga_mail_error mailbox(struct scan *s, struct ga_str *local, struct ga_str *domain)
{
	const char *start = s->p;
	bool quoted = s->p < s->end && *s->p == '"';
	enum ga_mail_error e = quoted ? quoted_string(s) : dot_string(s);

	if (e != GA_MAIL_OK)
		return e;
	*local = from_to(start, s->p);
	if (local->n > LOCAL_MAX)
		return GA_MAIL_TOO_LONG;
	if (s->p == s->end || *s->p != '@')
		return is_postmaster(*local) ? GA_MAIL_OK : complaint(s);
	s->p++;
	e = domain_part(s, domain);
	if (e == GA_MAIL_OK && s->p - start > ADDRESS_MAX)
		e = GA_MAIL_TOO_LONG;
	return e;
}

/* "@one,@two:" before the address: obsolete, to be accepted and ignored. */
static enum ga_mail_error source_route(struct scan *s)
{
	struct ga_str ignored;
	enum ga_mail_error e;

	for (;;) {
		if (s->p == s->end || *s->p != '@')
			return complaint(s);
		s->p++;
		if ((e = domain_part(s, &ignored)) != GA_MAIL_OK)
			return e;
		if (s->p == s->end || (*s->p != ',' && *s->p != ':'))
			return complaint(s);
		if (*s->p++ == ':')
			return GA_MAIL_OK;
	}
}

static enum ga_mail_error inside_brackets(struct scan *s, struct ga_str *address,
    struct ga_str *local, struct ga_str *domain)
{
	enum ga_mail_error e = GA_MAIL_OK;
	const char *start;

	if (s->p < s->end && *s->p == '@')
		e = source_route(s);
	else if (s->p < s->end && *s->p == '>')
		return GA_MAIL_OK;
	if (e != GA_MAIL_OK)
		return e;
	start = s->p;
	e = mailbox(s, local, domain);
	if (e == GA_MAIL_OK)
		*address = from_to(start, s->p);
	return e;
}

enum ga_mail_error ga_mail_path(struct ga_str str, bool utf8, struct ga_str *address,
    struct ga_str *local, struct ga_str *domain, struct ga_str *rest)
{
	struct scan s = { str.p, str.p + str.n, utf8 };
	enum ga_mail_error e;

	*address = *local = *domain = *rest = (struct ga_str){ "", 0 };
	if (s.p == s.end || *s.p != '<')
		return complaint(&s);
	s.p++;
	e = inside_brackets(&s, address, local, domain);
	if (e != GA_MAIL_OK)
		return e;
	if (s.p == s.end || *s.p != '>')
		return complaint(&s);
	s.p++;
	if (s.p < s.end && *s.p != ' ')
		return complaint(&s);
	*rest = from_to(s.p, s.end);
	return GA_MAIL_OK;
}

enum ga_mail_error ga_mail_address(struct ga_str str, bool utf8, struct ga_str *local,
    struct ga_str *domain)
{
	struct scan s = { str.p, str.p + str.n, utf8 };
	enum ga_mail_error e;

	*local = *domain = (struct ga_str){ "", 0 };
	e = mailbox(&s, local, domain);
	if (e == GA_MAIL_OK && s.p < s.end)
		e = complaint(&s);
	return e;
}

/* --- the first address of a header field --- */

struct collect {
	char address[ADDRESS_MAX + 2];	/* one more than fits: then it is none */
	size_t n;
};

static void keep_octet(struct collect *c, char octet)
{
	if (c->n < sizeof c->address)
		c->address[c->n++] = octet;
}

/* "(a (nested) \\) comment)": what follows it. */
static const char *skip_comment(const char *p, const char *end)
{
	unsigned depth = 0;

	for (; p < end; p++) {
		if (*p == '(')
			depth++;
		else if (*p == ')' && --depth == 0)
			return p + 1;
		else if (*p == '\\' && p + 1 < end)
			p++;
	}
	return end;
}

/* A quoted string or a domain literal, kept as it is: what follows it. */
static const char *keep_closed(struct collect *c, const char *p, const char *end, char close)
{
	keep_octet(c, *p++);
	for (; p < end; p++) {
		keep_octet(c, *p);
		if (*p == close)
			return p + 1;
		if (*p == '\\' && p + 1 < end)
			keep_octet(c, *++p);
	}
	return end;
}

/* What stands before `<` is a name, what before `:` a group's name or a source route. */
static void first_address(struct ga_str list, struct collect *c)
{
	const char *p = list.p, *end = list.p + list.n;
	bool angle = false;

	while (p < end) {
		char octet = *p;

		if (octet == '(') {
			p = skip_comment(p, end);
			continue;
		}
		if (octet == '"' || octet == '[') {
			p = keep_closed(c, p, end, octet == '"' ? '"' : ']');
			continue;
		}
		p++;
		if (octet == '<' || octet == ':') {
			c->n = 0;
			angle = angle || octet == '<';
		} else if (octet == '>' || (!angle && (octet == ',' || octet == ';'))) {
			if (octet == '>' || memchr(c->address, '@', c->n) != NULL)
				return;
			c->n = 0;		/* a name with a comma in it, without quotes */
		} else if (octet != ' ' && octet != '\t' && octet != '\r' && octet != '\n') {
			keep_octet(c, octet);
		}
	}
}

/* domain: as it is written. */
static bool collected(struct ga_str list, struct collect *c, struct ga_str *domain)
{
	struct ga_str local;

	c->n = 0;
	first_address(list, c);
	return ga_mail_address((struct ga_str){ c->address, c->n }, true, &local, domain) == GA_MAIL_OK &&
	    domain->n > 0;
}

bool ga_mail_list_domain(struct ga_str list, char *out, size_t room, struct ga_str *domain)
{
	struct collect c;
	struct ga_str written;

	*domain = (struct ga_str){ NULL, 0 };
	return collected(list, &c, &written) && ga_mail_domain(written, out, room, domain);
}

bool ga_mail_list_address(struct ga_str list, char out[GA_MAIL_ADDRESS], struct ga_str *address)
{
	struct collect c;
	struct ga_str written;

	*address = (struct ga_str){ NULL, 0 };
	if (!collected(list, &c, &written))	/* at most ADDRESS_MAX octets */
		return false;
	memcpy(out, c.address, c.n);
	*address = (struct ga_str){ out, c.n };
	return true;
}
