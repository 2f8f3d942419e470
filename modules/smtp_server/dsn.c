/*
 * dsn.c - the parameters of delivery status notifications (RFC 3461, RFC 6533).
 *
 * Called by params.c.  Pure.  What is kept is decoded: whoever sends it on or prints it
 * encodes it again.  Nothing decodes to a control character (ga_xtext_decode).
 */
#include <stdio.h>
#include <string.h>

#include "params.h"

/* RFC 3461 4.4, 4.2: octets as they are written. */
#define ENVID_MAX 100u
#define ORCPT_MAX 500u

struct ga_str
smtpd_param_ret(const struct smtpd_session *s, struct smtpd_params *p, struct ga_str value)
{
	if (ga_str_caseeq(value, GA_STR("FULL")))
		p->ret = GA_STR("FULL");
	else if (ga_str_caseeq(value, GA_STR("HDRS")))
		p->ret = GA_STR("HDRS");
	else
		return SMTPD_PARAM_WRONG;
	return SMTPD_PARAM_OK;
}

struct ga_str
smtpd_param_envid(const struct smtpd_session *s, struct smtpd_params *p, struct ga_str value)
{
	if (value.n == 0 || value.n > ENVID_MAX || !ga_xtext_decode(p->pool, value, &p->envid))
		return SMTPD_PARAM_WRONG;
	return SMTPD_PARAM_OK;
}

/* --- NOTIFY --- */

static uint32_t
notify_bit(struct ga_str word)
{
	static const struct { struct ga_str word; uint32_t bit; } words[] = {
		{ GA_STR("NEVER"), GA_NOTIFY_NEVER },
		{ GA_STR("SUCCESS"), GA_NOTIFY_SUCCESS },
		{ GA_STR("FAILURE"), GA_NOTIFY_FAILURE },
		{ GA_STR("DELAY"), GA_NOTIFY_DELAY },
	};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (ga_str_caseeq(words[i].word, word))
			return words[i].bit;
	return 0;
}

/* NEVER alone, or others in any order, each once. */
struct ga_str
smtpd_param_notify(const struct smtpd_session *s, struct smtpd_params *p, struct ga_str value)
{
	const char *at = value.p, *end = value.p + value.n;

	for (;;) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		const char *stop = comma != NULL ? comma : end;
		uint32_t bit = notify_bit((struct ga_str){ at, (size_t)(stop - at) });

		if (bit == 0 || (p->notify & bit))
			return SMTPD_PARAM_WRONG;
		p->notify |= bit;
		if (comma == NULL)
			break;
		at = comma + 1;
	}
	if ((p->notify & GA_NOTIFY_NEVER) && p->notify != GA_NOTIFY_NEVER)
		return SMTPD_PARAM_WRONG;
	return SMTPD_PARAM_OK;
}

/* --- ORCPT --- */

/* addr-type is an atom; of those registered none has more than letters, digits, '-'. */
static bool
is_type(struct ga_str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-'))
			return false;
	}
	return s.n > 0;
}

/* The code point at *at, which is well-formed; moves behind it. */
static unsigned
next_char(const char **at)
{
	const unsigned char *u = (const unsigned char *)*at;
	unsigned more = u[0] < 0x80 ? 0 : u[0] < 0xe0 ? 1 : u[0] < 0xf0 ? 2 : 3;
	unsigned c = more == 0 ? u[0] : u[0] & (0x3fu >> more);

	for (unsigned i = 1; i <= more; i++)
		c = c << 6 | (u[i] & 0x3f);
	*at += more + 1;
	return c;
}

/*
 * RFC 6533 3: with SMTPUTF8 an address of type utf-8 may be written as it is.  It is kept
 * in the form that goes on to anybody, with \x{HEX} for a character beyond ASCII.
 */
static bool
take_unitext(struct ga_pool *pool, struct ga_str s, struct ga_str *out)
{
	const char *at = s.p, *end = s.p + s.n;
	size_t room = 6 * s.n + 1, n = 0;	/* \x{7FF} for two octets is the worst */
	char *to = ga_alloc(pool, room);

	if (memchr(s.p, '+', s.n) != NULL || !ga_utf8_valid(s))
		return false;
	while (at < end) {
		unsigned c = next_char(&at);

		if (c < 0x80)
			to[n++] = (char)c;
		else
			n += (size_t)snprintf(to + n, room - n, "\\x{%X}", c);
	}
	*out = (struct ga_str){ to, n };
	return true;
}

struct ga_str
smtpd_param_orcpt(const struct smtpd_session *s, struct smtpd_params *p, struct ga_str value)
{
	const char *semicolon = value.n > 0 ? memchr(value.p, ';', value.n) : NULL;
	struct ga_str type, address, decoded;
	bool utf8, ok;

	if (semicolon == NULL || value.n > ORCPT_MAX)
		return SMTPD_PARAM_WRONG;
	type = (struct ga_str){ value.p, (size_t)(semicolon - value.p) };
	address = (struct ga_str){ semicolon + 1, value.n - type.n - 1 };
	utf8 = p->utf8 && ga_str_caseeq(type, GA_STR("utf-8")) && !smtpd_is_ascii(address);
	ok = utf8 ? take_unitext(p->pool, address, &decoded) :
	    ga_xtext_decode(p->pool, address, &decoded);
	if (!ok || decoded.n == 0 || !is_type(type))
		return SMTPD_PARAM_WRONG;
	/* grown out of what a RCPT can carry, it could not be passed on; nothing needs it */
	if (type.n + 1 + decoded.n > ORCPT_MAX)
		return SMTPD_PARAM_OK;
	p->orcpt = ga_fmt(p->pool, "%.*s;%.*s", (int)type.n, type.p, (int)decoded.n, decoded.p);
	return SMTPD_PARAM_OK;
}
