/*
 * trace.c - writing our Received field.
 *
 * Called by commit.c once a message, hence without printf.  The `for` clause is only
 * there for a message with one recipient: with more it would tell each of them
 * about another (RFC 5321 7.6).  It is not ASCII only in a message that was declared
 * SMTPUTF8, whose header may be UTF-8 (RFC 6531 3.7.3).
 */
#include <string.h>

#include "trace.h"

static void
put(char **to, struct ga_str s)
{
	if (s.n > 0)
		memcpy(*to, s.p, s.n);
	*to += s.n;
}

static void
put_hex32(char **to, uint32_t v)
{
	for (int shift = 28; shift >= 0; shift -= 4)
		*(*to)++ = "0123456789abcdef"[(v >> shift) & 15];
}

static void
put_from(char **to, const struct smtpd_trace *t)
{
	put(to, GA_STR("from "));
	put(to, t->helo);
	put(to, t->client_is_ipv6 ? GA_STR(" ([IPv6:") : GA_STR(" (["));
	put(to, t->client);
	put(to, GA_STR("])\r\n\t"));
}

struct ga_str
smtpd_trace_field(struct ga_pool *pool, const struct smtpd_trace *t)
{
	/* the words between the clauses are far under 128 octets */
	size_t room = t->helo.n + t->client.n + t->hostname.n + t->with.n + t->only_rcpt.n +
	    t->date.n + 128;
	char *field = ga_alloc(pool, room), *p = field;

	put(&p, GA_STR("Received: "));
	if (!t->hides)
		put_from(&p, t);
	put(&p, GA_STR("by "));
	put(&p, t->hostname);
	put(&p, GA_STR(" with "));
	put(&p, t->with);
	put(&p, GA_STR(" id "));
	put_hex32(&p, t->id);
	if (t->only_rcpt.n > 0) {
		put(&p, GA_STR("\r\n\tfor <"));
		put(&p, t->only_rcpt);
		put(&p, GA_STR(">"));
	}
	put(&p, GA_STR(";\r\n\t"));
	put(&p, t->date);
	put(&p, GA_STR("\r\n"));
	return (struct ga_str){ field, (size_t)(p - field) };
}
