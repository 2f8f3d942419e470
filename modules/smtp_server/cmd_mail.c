/*
 * cmd_mail.c - MAIL FROM: a transaction begins.
 *
 * Called by command.c.  The transaction exists from here on, for hooks to keep
 * state in, and is thrown away again when the answer is no.
 */
#include <netinet/in.h>

#include "auth.h"
#include "params.h"

static bool
take_path(struct smtpd_session *s, struct ga_str arg, struct ga_str *rest)
{
	struct ga_str from, local, domain;

	if (arg.n < 5 || !ga_str_caseeq((struct ga_str){ arg.p, 5 }, GA_STR("FROM:"))) {
		smtpd_say(s, "501 5.5.4 Syntax: MAIL FROM:<address>");
		return false;
	}
	arg = ga_str_trim((struct ga_str){ arg.p + 5, arg.n - 5 });
	switch (ga_mail_path(arg, true, &from, &local, &domain, rest)) {
	case GA_MAIL_OK:
		break;
	case GA_MAIL_UTF8:
		smtpd_say(s, "501 5.1.7 Sender address is not UTF-8");
		return false;
	default:
		smtpd_say(s, "501 5.1.7 Sender address is not valid");
		return false;
	}
	if (from.n > 0 && domain.n == 0) {
		smtpd_say(s, "501 5.1.7 Sender address has no domain");
		return false;
	}
	s->txn->sender = ga_dup(s->txn->pool, from);
	return true;
}

/* RFC 6531 3.5 */
static bool
may_be_utf8(struct smtpd_session *s, const struct smtpd_params *p)
{
	if ((p->flags & GA_MSG_SMTPUTF8) || smtpd_is_ascii(s->txn->sender))
		return true;
	smtpd_say(s, "550 5.6.7 Sender address is not ASCII, and SMTPUTF8 was not said");
	return false;
}

static bool
has_room(struct smtpd_session *s, const struct smtpd_params *p)
{
	if (p->size > s->max_size) {
		smtpd_say(s, "552 5.3.4 Message is too large");
		return false;
	}
	if (s->w->intake->room(p->size) != 0) {
		smtpd_say(s, "452 4.3.1 No room for mail now, try again later");
		return false;
	}
	return true;
}

static void
begin(struct smtpd_session *s)
{
	struct ga_txn *t = ga_txn_new(s->w->loop, s->ga, s->gen->settings);
	bool v6 = s->peer.u.sa.sa_family == AF_INET6;

	s->txn = t;
	ga_attrs_put(&t->attrs, GA_ATTR_CLIENT_ADDR, ga_str_c(s->peer_text));
	ga_attrs_put(&t->attrs, GA_ATTR_CLIENT_FAMILY, v6 ? GA_STR("inet6") : GA_STR("inet4"));
	ga_attrs_put(&t->attrs, GA_ATTR_SERVICE, ga_str_c(s->gen->service->name));
	smtpd_auth_mark(s, t);
}

static void
apply(struct ga_txn *t, const struct smtpd_params *p)
{
	t->flags = p->flags;
	if (p->ret.n > 0)
		ga_attrs_put(&t->attrs, GA_ATTR_RET, p->ret);
	if (p->envid.n > 0)
		ga_attrs_put(&t->attrs, GA_ATTR_ENVID, p->envid);
}

static void
answered(struct smtpd_session *s, enum ga_verdict v)
{
	if (smtpd_refused(s, v)) {
		smtpd_reset(s, GA_END_ABORTED);
		return;
	}
	if (v == GA_DISCARD)
		s->txn->discard = true;
	if (v == GA_HOLD)
		s->txn->hold = true;
	smtpd_say(s, "250 2.1.0 Sender OK");
}

void
smtpd_cmd_mail(struct smtpd_session *s, struct ga_str arg)
{
	struct smtpd_params p = { .size = 0 };
	struct ga_str rest;

	if (s->helo.n == 0) {
		smtpd_say(s, "503 5.5.1 Say EHLO or HELO first");
		return;
	}
	if (s->txn != NULL) {
		smtpd_say(s, "503 5.5.1 A transaction is open already");
		return;
	}
	if (!smtpd_auth_lets_mail(s))
		return;
	begin(s);
	p.pool = s->txn->pool;
	if (!take_path(s, arg, &rest) || !smtpd_take_params(s, SMTPD_OF_MAIL, rest, &p) ||
	    !may_be_utf8(s, &p) || !has_room(s, &p)) {
		smtpd_reset(s, GA_END_ABORTED);
		return;
	}
	apply(s->txn, &p);
	s->ev.mail = (struct ga_ev_mail){ .s = s->ga, .t = s->txn, .from = s->txn->sender };
	if (smtpd_asks(s, mail)) {
		s->ev.mail.param = smtpd_keep_params(&p);
		s->ev.mail.nparam = p.n;
	}
	smtpd_ask(s, GA_HOOK_mail, &s->ev.mail, answered);
}
