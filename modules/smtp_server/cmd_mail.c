/*
 * cmd_mail.c - MAIL FROM: a transaction begins.
 *
 * Called by command.c.  The transaction exists from here on, for hooks to keep
 * state in, and is thrown away again when the answer is no.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"

/* Parameters that a MAIL may have (SIZE, BODY), and room to see a repetition. */
#define MAIL_PARAMS 4u

struct mail_args {
	struct ga_str from;
	uint64_t size;
	uint32_t flags;
	struct ga_param param[MAIL_PARAMS];
	size_t nparam;
};

/* RFC 1870: up to 20 digits; what does not fit is larger than any limit. */
static bool
parse_size(struct ga_str v, uint64_t *size)
{
	return v.n <= 20 && smtpd_number(v, size);
}

static bool
parse_body(struct ga_str v, uint32_t *flags)
{
	if (ga_str_caseeq(v, GA_STR("8BITMIME")))
		*flags |= GA_MSG_BODY_8BITMIME;
	else if (ga_str_caseeq(v, GA_STR("BINARYMIME")))
		*flags |= GA_MSG_BINARYMIME;
	else
		return ga_str_caseeq(v, GA_STR("7BIT"));
	return true;
}

static bool
repeated(const struct mail_args *m, struct ga_str key)
{
	for (size_t i = 0; i < m->nparam; i++)
		if (ga_str_caseeq(m->param[i].key, key))
			return true;
	return false;
}

/* One parameter; a refusal has been said when false. */
static bool
take_param(struct smtpd_session *s, struct mail_args *m, struct ga_param p)
{
	bool size = ga_str_caseeq(p.key, GA_STR("SIZE"));
	bool body = ga_str_caseeq(p.key, GA_STR("BODY"));

	if (!s->esmtp || (!size && !body)) {
		smtpd_say(s, "555 5.5.4 MAIL parameter not known");
		return false;
	}
	if (repeated(m, p.key) || m->nparam == MAIL_PARAMS ||
	    (size && !parse_size(p.value, &m->size)) ||
	    (body && !parse_body(p.value, &m->flags))) {
		smtpd_say(s, "501 5.5.4 MAIL parameter has a wrong value or is repeated");
		return false;
	}
	m->param[m->nparam++] = p;
	return true;
}

static bool
take_params(struct smtpd_session *s, struct mail_args *m, struct ga_str rest)
{
	struct ga_param p;
	bool bad = false;

	while (ga_mail_param(&rest, &p, &bad))
		if (!take_param(s, m, p))
			return false;
	if (bad)
		smtpd_say(s, "501 5.5.4 Syntax: MAIL FROM:<address> [parameters]");
	return !bad;
}

static bool
take_path(struct smtpd_session *s, struct ga_str arg, struct mail_args *m, struct ga_str *rest)
{
	struct ga_str local, domain;

	if (arg.n < 5 || !ga_str_caseeq((struct ga_str){ arg.p, 5 }, GA_STR("FROM:"))) {
		smtpd_say(s, "501 5.5.4 Syntax: MAIL FROM:<address>");
		return false;
	}
	arg = ga_str_trim((struct ga_str){ arg.p + 5, arg.n - 5 });
	switch (ga_mail_path(arg, false, &m->from, &local, &domain, rest)) {
	case GA_MAIL_OK:
		break;
	case GA_MAIL_UTF8:
		smtpd_say(s, "553 5.6.7 Sender address is not ASCII");
		return false;
	default:
		smtpd_say(s, "501 5.1.7 Sender address is not valid");
		return false;
	}
	if (m->from.n > 0 && domain.n == 0) {
		smtpd_say(s, "501 5.1.7 Sender address has no domain");
		return false;
	}
	return true;
}

static bool
has_room(struct smtpd_session *s, const struct mail_args *m)
{
	if (m->size > s->gen->conf->max_message_size) {
		smtpd_say(s, "552 5.3.4 Message is too large");
		return false;
	}
	if (s->w->intake->room(m->size) != 0) {
		smtpd_say(s, "452 4.3.1 No room for mail now, try again later");
		return false;
	}
	return true;
}

static void
begin(struct smtpd_session *s, const struct mail_args *m)
{
	struct ga_txn *t = ga_txn_new(s->w->loop, s->ga, s->gen->settings);
	bool v6 = s->peer.u.sa.sa_family == AF_INET6;

	s->txn = t;
	t->sender = ga_dup(t->pool, m->from);
	t->flags = m->flags;
	ga_attrs_put(&t->attrs, GA_ATTR_CLIENT_ADDR, ga_str_c(s->peer_text));
	ga_attrs_put(&t->attrs, GA_ATTR_CLIENT_FAMILY, v6 ? GA_STR("inet6") : GA_STR("inet4"));
	ga_attrs_put(&t->attrs, GA_ATTR_SERVICE, ga_str_c(s->gen->service->name));
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

/* What the event points at must outlive the line it came from. */
static const struct ga_param *
keep_params(struct ga_pool *pool, const struct mail_args *m)
{
	struct ga_param *p = ga_alloc(pool, (m->nparam + 1) * sizeof *p);

	for (size_t i = 0; i < m->nparam; i++) {
		p[i].key = ga_dup(pool, m->param[i].key);
		p[i].value = ga_dup(pool, m->param[i].value);
	}
	return p;
}

void
smtpd_cmd_mail(struct smtpd_session *s, struct ga_str arg)
{
	struct mail_args m = { .size = 0 };
	struct ga_str rest;

	if (s->helo.n == 0) {
		smtpd_say(s, "503 5.5.1 Say EHLO or HELO first");
		return;
	}
	if (s->txn != NULL) {
		smtpd_say(s, "503 5.5.1 A transaction is open already");
		return;
	}
	if (!take_path(s, arg, &m, &rest) || !take_params(s, &m, rest) || !has_room(s, &m))
		return;
	begin(s, &m);
	s->ev.mail = (struct ga_ev_mail){ .s = s->ga, .t = s->txn, .from = s->txn->sender };
	if (smtpd_asks(s, mail)) {
		s->ev.mail.param = keep_params(s->txn->pool, &m);
		s->ev.mail.nparam = m.nparam;
	}
	smtpd_ask(s, GA_HOOK_mail, &s->ev.mail, answered);
}
