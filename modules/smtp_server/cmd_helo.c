/*
 * cmd_helo.c - HELO and EHLO.
 *
 * Called by command.c.  Either begins anew: the transaction is forgotten (RFC 5321
 * 4.1.4).  The name is checked for its syntax alone; whether it resolves is no
 * reason to refuse.  After HELO there are no extensions.
 */
#include <stdlib.h>
#include <string.h>

#include "session.h"

static void
remember(struct smtpd_session *s, struct ga_str name)
{
	char *p = (char *)(uintptr_t)s->helo.p;

	if (name.n > s->helo_room) {
		p = ga_xrealloc(p, name.n);
		s->helo_room = name.n;
	}
	if (name.n > 0)
		memcpy(p, name.p, name.n);
	s->helo = (struct ga_str){ p, name.n };
}

static void
forget_name(struct smtpd_session *s)
{
	s->helo.n = 0;
}

void
smtpd_introduced(struct smtpd_session *s, struct ga_str name, bool esmtp)
{
	smtpd_reset(s, GA_END_ABORTED);
	remember(s, name);
	s->esmtp = esmtp && name.n > 0;
}

static void
answered(struct smtpd_session *s, enum ga_verdict v)
{
	if (smtpd_refused(s, v)) {
		forget_name(s);
		return;
	}
	if (!s->esmtp)
		smtpd_say_str(s, s->gen->helo);
	else if (s->gen->tls != NULL && s->gen->conf->starttls_offer && !s->tls)
		smtpd_say_ehlo(s, s->gen->ehlo_tls);
	else
		smtpd_say_ehlo(s, s->gen->ehlo);
}

static void
hello(struct smtpd_session *s, struct ga_str name, bool esmtp)
{
	if (name.n == 0 || !ga_mail_helo_valid(name)) {
		smtpd_say(s, "501 5.5.4 A domain name or address literal is needed");
		return;
	}
	smtpd_reset(s, GA_END_ABORTED);
	remember(s, name);
	s->esmtp = esmtp;
	s->ev.helo = (struct ga_ev_helo){ .s = s->ga, .name = s->helo, .esmtp = esmtp };
	smtpd_ask(s, GA_HOOK_helo, &s->ev.helo, answered);
}

void
smtpd_cmd_helo(struct smtpd_session *s, struct ga_str arg)
{
	hello(s, arg, false);
}

void
smtpd_cmd_ehlo(struct smtpd_session *s, struct ga_str arg)
{
	hello(s, arg, true);
}
