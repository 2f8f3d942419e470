/*
 * ehlo.c - the reply to EHLO.
 *
 * Called by cmd_helo.c.  The lines that every client gets are made with the generation
 * (service.c); those that depend on who the client is and what it has done go in
 * behind the first of them.
 */
#include <stdio.h>
#include <string.h>

#include "auth.h"

struct ehlo {
	char text[2048];
	size_t n;
};

static void
put(struct ehlo *e, struct ga_str s)
{
	if (s.n > sizeof e->text - e->n)
		s.n = sizeof e->text - e->n;	/* never: 2048 is more than all there is */
	if (s.n > 0)
		memcpy(e->text + e->n, s.p, s.n);
	e->n += s.n;
}

static struct ga_str
last_line(struct ga_str text)
{
	const char *lf = text.n > 0 ? memrchr(text.p, '\n', text.n - 1) : NULL;
	size_t before = lf != NULL ? (size_t)(lf - text.p) + 1 : 0;

	return (struct ga_str){ text.p + before, text.n - before };
}

static void
put_auth(struct ehlo *e, const struct smtpd_session *s)
{
	char room[SMTPD_SHOWN];
	struct ga_str mechs = smtpd_auth_mechs(s, room);

	if (mechs.n == 0)
		return;
	put(e, GA_STR("250-AUTH "));
	put(e, mechs);
	put(e, GA_STR("\r\n"));
}

static void
put_xclient(struct ehlo *e, const struct smtpd_session *s)
{
	if (s->xclient)
		put(e, GA_STR("250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n"));
}

/* The last line of all is SIZE, with max_message_size. */
static void
put_size(struct ehlo *e, const struct smtpd_session *s, struct ga_str last)
{
	char line[40];
	int n;

	if (s->max_size == (uint64_t)s->gen->conf->max_message_size) {
		put(e, last);
		return;
	}
	n = snprintf(line, sizeof line, "250 SIZE %llu\r\n", (unsigned long long)s->max_size);
	put(e, (struct ga_str){ line, (size_t)n });
}

void
smtpd_say_ehlo(struct smtpd_session *s, struct ga_str common)
{
	struct ga_str last = last_line(common);
	const char *lf = memchr(common.p, '\n', common.n);
	size_t first = lf != NULL ? (size_t)(lf - common.p) + 1 : 0;
	struct ehlo e = { .n = 0 };

	common.n -= last.n;
	put(&e, (struct ga_str){ common.p, first });
	put_auth(&e, s);
	put_xclient(&e, s);
	if (s->tls)
		put(&e, GA_STR("250-REQUIRETLS\r\n"));
	put(&e, (struct ga_str){ common.p + first, common.n - first });
	put_size(&e, s, last);
	smtpd_say_str(s, (struct ga_str){ e.text, e.n });
}
