/*
 * cmd_rcpt.c - RCPT TO: each recipient is decided by itself.
 *
 * Called by command.c.  A client in relay_from, one that RELAYCLIENT is set for, or one that has logged
 * in, may send to anyone; everybody else only to relay_domains, to <postmaster>, which goes to
 * postmaster_address, and to what a module accepts.
 */
#include <string.h>

#include "params.h"
#include "variables.h"

/* Refused recipients of a transaction that are no errors. */
#define REFUSED_FREE 1000u

static struct ga_rcpt *
last_rcpt(struct smtpd_session *s)
{
	return &s->txn->rcpts[s->txn->nrcpts - 1];
}

/* A module that defers each costs the client nothing, but us memory until the transaction
 * ends: beyond what it may have recipients, and some, each counts as an error. */
static void
refused_rcpt(struct smtpd_session *s)
{
	s->txn->nrcpts--;
	if (++s->rcpt_refused > (uint64_t)s->gen->conf->max_recipients + REFUSED_FREE)
		s->errors++;
}

static bool
takes_utf8(const struct smtpd_session *s)
{
	return (s->txn->flags & GA_MSG_SMTPUTF8) != 0;
}

/* Another address in place of what the client said; it holds to the same rules. */
static bool
redirect(struct smtpd_session *s, struct ga_rcpt *r, struct ga_str to)
{
	struct ga_str local, domain;
	char room[256];

	if (ga_mail_address(to, takes_utf8(s), &local, &domain) != GA_MAIL_OK ||
	    !ga_mail_domain(domain, room, sizeof room, &domain)) {
		smtpd_say(s, "451 4.3.5 Recipient was redirected to no valid address");
		return false;
	}
	r->to = to;
	r->domain = ga_dup(s->txn->pool, domain);
	return true;
}

/* As qmail-smtpd does with what RELAYCLIENT says. */
static bool
append_to_address(struct smtpd_session *s, struct ga_rcpt *r)
{
	struct ga_str to = smtpd_variables_address(s, s->txn->pool, r->to);

	return to.p == r->to.p || redirect(s, r, to);
}

static void
answered(struct smtpd_session *s, enum ga_verdict v)
{
	struct ga_rcpt *r = last_rcpt(s);
	bool asked = smtpd_asks(s, rcpt);

	if (smtpd_refused(s, v)) {
		refused_rcpt(s);
		return;
	}
	if (v == GA_PASS && !s->ev.rcpt.relayed) {
		refused_rcpt(s);
		smtpd_say(s, "550 5.7.1 Relaying denied");
		return;
	}
	if (asked && s->run.redirect.n > 0 && !redirect(s, r, s->run.redirect)) {
		refused_rcpt(s);
		return;
	}
	r->discard = v == GA_DISCARD;
	if (v == GA_HOLD)
		s->txn->hold = true;
	smtpd_say(s, "250 2.1.5 Recipient OK");
}

/* <postmaster>, alone or at our own name (RFC 5321 4.5.1). */
static bool
is_postmaster(struct ga_str local, struct ga_str domain)
{
	return ga_str_caseeq(local, GA_STR("postmaster")) &&
	    (domain.n == 0 || ga_str_caseeq(domain, ga_str_c(ga_hostname())));
}

/* ours: anybody may send to it. */
static bool
take_path(struct smtpd_session *s, struct ga_str arg, struct ga_rcpt *r, bool *ours,
    struct ga_str *rest)
{
	struct ga_str to, local, domain;
	char room[256];

	if (arg.n < 3 || !ga_str_caseeq((struct ga_str){ arg.p, 3 }, GA_STR("TO:"))) {
		smtpd_say(s, "501 5.5.4 Syntax: RCPT TO:<address>");
		return false;
	}
	arg = ga_str_trim((struct ga_str){ arg.p + 3, arg.n - 3 });
	switch (ga_mail_path(arg, true, &to, &local, &domain, rest)) {
	case GA_MAIL_OK:
		break;
	case GA_MAIL_UTF8:
		smtpd_say(s, "501 5.1.3 Recipient address is not UTF-8");
		return false;
	default:
		smtpd_say(s, "501 5.1.3 Recipient address is not valid");
		return false;
	}
	if (!takes_utf8(s) && !smtpd_is_ascii(to)) {
		smtpd_say(s, "553 5.6.7 Recipient address is not ASCII, and SMTPUTF8 was not said");
		return false;
	}
	*ours = is_postmaster(local, domain);
	if (*ours) {
		domain = s->gen->access.postmaster_domain;
		to = s->gen->access.postmaster;
	}
	if (domain.n == 0 || !ga_mail_domain(domain, room, sizeof room, &domain)) {
		smtpd_say(s, "501 5.1.3 Recipient address has no valid domain");
		return false;
	}
	r->to = ga_dup(s->txn->pool, to);
	r->domain = ga_dup(s->txn->pool, domain);
	*ours = *ours || smtpd_domains_match(s->gen->access.domains, r->domain);
	return true;
}

/* Over the limit; a client that goes on regardless is not left to it for ever. */
static bool
too_many(struct smtpd_session *s)
{
	if (s->txn->nrcpts < (uint64_t)s->gen->conf->max_recipients)
		return false;
	smtpd_say(s, "452 4.5.3 Too many recipients");
	s->rcpt_refused++;
	if (++s->rcpt_over > REFUSED_FREE)
		s->errors++;
	return true;
}

void
smtpd_cmd_rcpt(struct smtpd_session *s, struct ga_str arg)
{
	struct smtpd_params p = { .size = 0 };
	struct ga_rcpt found, *r;
	struct ga_str rest;
	bool ours = false;

	if (s->txn == NULL) {
		smtpd_say(s, "503 5.5.1 MAIL first");
		return;
	}
	if (s->bdat.begun || s->bdat.failed) {
		smtpd_say(s, "503 5.5.1 Recipients come before the message");
		return;
	}
	memset(&found, 0, sizeof found);
	if (too_many(s))
		return;
	p.pool = s->txn->pool;
	p.utf8 = takes_utf8(s);
	if (!take_path(s, arg, &found, &ours, &rest) ||
	    !smtpd_take_params(s, SMTPD_OF_RCPT, rest, &p) || !append_to_address(s, &found)) {
		s->rcpt_refused++;
		return;
	}
	r = ga_txn_add_rcpt(s->txn);
	*r = found;
	r->orcpt = p.orcpt;
	r->notify = p.notify;
	s->ev.rcpt = (struct ga_ev_rcpt){ .s = s->ga, .t = s->txn, .to = r->to,
		.domain = r->domain, .relayed = s->relays || ours };
	if (smtpd_asks(s, rcpt)) {
		s->ev.rcpt.param = smtpd_keep_params(&p);
		s->ev.rcpt.nparam = p.n;
	}
	smtpd_ask(s, GA_HOOK_rcpt, &s->ev.rcpt, answered);
}
