/*
 * cmd_xclient.c - XCLIENT, as Postfix's XCLIENT_README has it: a proxy or filter says who
 * the client is.
 *
 * Called by command.c.  For connections from xclient_from alone, which may say that a
 * client is anybody, one that may relay too; to others the command does not exist.
 * What it says holds from then on, as if that client had just connected: the connect
 * hooks are asked, and the answer is a greeting.
 */
#include <string.h>

#include "auth.h"
#include "proxy.h"

struct xclient {
	struct ga_pool *pool;
	bool has_addr, has_port, has_login, has_helo;
	struct ga_sockaddr peer, local;		/* len 0: [UNAVAILABLE] */
	bool has_local;
	uint16_t port;
	struct ga_str login, helo;		/* empty: [UNAVAILABLE] */
	bool esmtp;
};

/* The value is decoded; unknown: [UNAVAILABLE] or [TEMPUNAVAIL], and value is empty. */
typedef bool attribute_fn(struct xclient *, struct ga_str value, bool unknown);

static bool
take_address(struct ga_sockaddr *a, struct ga_str value, uint16_t port)
{
	struct ga_str ipv6 = GA_STR("IPV6:");

	if (value.n > ipv6.n && ga_str_caseeq((struct ga_str){ value.p, ipv6.n }, ipv6)) {
		value.p += ipv6.n;
		value.n -= ipv6.n;
	}
	/* an address alone: no brackets, no port */
	return value.n > 0 && value.p[0] != '[' && ga_sockaddr_parse(a, value, 0) &&
	    ga_sockaddr_port(a) == 0 && (ga_sockaddr_set_port(a, port), true);
}

static bool
take_port(struct ga_str value, uint16_t *port)
{
	uint64_t n = 0;

	if (value.n > 5 || !smtpd_number(value, &n) || n > 65535)
		return false;
	*port = (uint16_t)n;
	return true;
}

static bool
attr_addr(struct xclient *x, struct ga_str value, bool unknown)
{
	x->has_addr = true;
	x->peer.len = 0;
	return unknown || take_address(&x->peer, value, x->port);
}

static bool
attr_port(struct xclient *x, struct ga_str value, bool unknown)
{
	x->has_port = true;
	return unknown || take_port(value, &x->port);
}

static bool
attr_destaddr(struct xclient *x, struct ga_str value, bool unknown)
{
	x->has_local = !unknown;
	return unknown || take_address(&x->local, value, ga_sockaddr_port(&x->local));
}

static bool
attr_destport(struct xclient *x, struct ga_str value, bool unknown)
{
	uint16_t port = 0;

	if (unknown)
		return true;
	if (!take_port(value, &port))
		return false;
	x->has_local = true;
	ga_sockaddr_set_port(&x->local, port);
	return true;
}

/* Not used: we look up no names of clients, and believe none. */
static bool
attr_name(struct xclient *x, struct ga_str value, bool unknown)
{
	return unknown || ga_mail_helo_valid(value);
}

static bool
attr_proto(struct xclient *x, struct ga_str value, bool unknown)
{
	x->esmtp = ga_str_caseeq(value, GA_STR("ESMTP"));
	return unknown || x->esmtp || ga_str_caseeq(value, GA_STR("SMTP"));
}

static bool
attr_helo(struct xclient *x, struct ga_str value, bool unknown)
{
	x->has_helo = true;
	x->helo = value;
	return unknown || ga_mail_helo_valid(value);
}

static bool
attr_login(struct xclient *x, struct ga_str value, bool unknown)
{
	x->has_login = true;
	x->login = value;
	return unknown || smtpd_user_name_valid(value);
}

static const struct {
	struct ga_str name;
	attribute_fn *take;
} attributes[] = {
	{ GA_STR("NAME"), attr_name }, { GA_STR("ADDR"), attr_addr }, { GA_STR("PORT"), attr_port },
	{ GA_STR("PROTO"), attr_proto }, { GA_STR("HELO"), attr_helo }, { GA_STR("LOGIN"), attr_login },
	{ GA_STR("DESTADDR"), attr_destaddr }, { GA_STR("DESTPORT"), attr_destport },
};
#define ATTRIBUTES (sizeof attributes / sizeof attributes[0])

static bool
take_attribute(struct xclient *x, const struct ga_param *p, unsigned *seen)
{
	bool unknown = ga_str_caseeq(p->value, GA_STR("[UNAVAILABLE]")) ||
	    ga_str_caseeq(p->value, GA_STR("[TEMPUNAVAIL]"));
	struct ga_str value = { "", 0 };

	for (unsigned i = 0; i < ATTRIBUTES; i++) {
		if (!ga_str_caseeq(attributes[i].name, p->key))
			continue;
		if ((*seen & 1u << i) != 0 || p->value.n == 0 ||
		    (!unknown && !ga_xtext_decode(x->pool, p->value, &value)))
			return false;
		*seen |= 1u << i;
		return attributes[i].take(x, value, unknown);
	}
	return false;
}

static bool
take_attributes(struct xclient *x, struct ga_str rest)
{
	struct ga_str all = ga_fmt(x->pool, " %.*s", (int)rest.n, rest.p);
	struct ga_param p;
	unsigned seen = 0;
	bool bad = false;

	while (ga_mail_param(&all, &p, &bad))
		if (!take_attribute(x, &p, &seen))
			return false;
	return !bad && seen != 0;
}

/* --- what it means --- */

static void
take_login(struct smtpd_session *s, struct ga_str login)
{
	const struct smtpd_users *users = s->gen->access.users;
	const struct smtpd_user *known = users != NULL ? smtpd_users_find(users, login) : NULL;
	struct ga_pool *pool = ga_session_pool(s->ga);

	s->user = ga_dup(pool, login);
	s->user_class = known != NULL ? ga_dup(pool, known->mail_class) : (struct ga_str){ "", 0 };
}

static void
become(struct smtpd_session *s, struct xclient *x)
{
	struct ga_sockaddr peer = x->has_addr ? x->peer : s->peer;
	bool unknown = x->has_addr ? x->peer.len == 0 : s->unnamed;

	if (x->has_port && !unknown)
		ga_sockaddr_set_port(&peer, x->port);
	if (x->has_local)
		s->local = x->local;
	/* what is not said stays as it is, but a login is of one client */
	if (x->has_login || x->has_addr)
		take_login(s, x->login);
	smtpd_client_is(s, unknown ? NULL : &peer);
}

void
smtpd_cmd_xclient(struct smtpd_session *s, struct ga_str arg)
{
	struct xclient x = { .local = s->local, .login = { "", 0 }, .esmtp = true };

	if (!s->xclient) {
		smtpd_cmd_unsupported(s, arg);
		return;
	}
	if (s->txn != NULL) {
		smtpd_say(s, "503 5.5.1 Not in a transaction");
		return;
	}
	x.pool = ga_pool_new(1024);
	if (!take_attributes(&x, arg)) {
		smtpd_say(s, "501 5.5.4 Syntax: XCLIENT attribute=value ...");
	} else {
		become(s, &x);
		smtpd_introduced(s, x.helo, x.esmtp);
		smtpd_session_begin(s);
	}
	ga_pool_free(x.pool);
}
