/*
 * variables.c - see variables.h.
 *
 * Called by session.c and the commands, on the session's loop.  What environment_file exports is set
 * before the modules are asked in connect, which may set more or others.  When the client turns out to be
 * another one (XCLIENT), all is forgotten and begins anew.
 */
#include <string.h>

#include <greenarrow/injection.h>

#include "variables.h"

/* What max_message_size may be at most. */
#define SIZE_MAX_OF_MESSAGE (UINT64_C(2047) << 20)

static bool
get(const struct smtpd_session *s, struct ga_str name, struct ga_str *value)
{
	return ga_session_variable(s->ga, name, value);
}

/* --- beginning --- */

void
smtpd_variables_begin(struct smtpd_session *s)
{
	const struct smtpd_variable *v = s->gen->access.environment.first;

	ga_session_variables_clear(s->ga);
	for (; v != NULL; v = v->next)
		if (v->exported)
			ga_session_variable_set(s->ga, v->name, v->value);
}

bool
smtpd_variables_may_relay(const struct smtpd_gen *g)
{
	const struct smtpd_variable *v = smtpd_environment_get(&g->access.environment, "RELAYCLIENT");

	return GA_WANTED(g->plan, connect) || (v != NULL && v->exported);
}

bool
smtpd_variables_relay(const struct smtpd_session *s)
{
	return get(s, GA_STR("RELAYCLIENT"), NULL);
}

/* DATABYTES; what is no number, or 0, says nothing. */
static uint64_t
max_size(const struct smtpd_session *s)
{
	uint64_t own = s->gen->conf->max_message_size, n = 0;
	struct ga_str value;

	if (!get(s, GA_STR("DATABYTES"), &value) || !smtpd_number(value, &n) || n == 0)
		return own;
	return n < SIZE_MAX_OF_MESSAGE ? n : SIZE_MAX_OF_MESSAGE;
}

void
smtpd_variables_obey(struct smtpd_session *s)
{
	struct ga_str class;

	if (smtpd_variables_relay(s))
		s->relays = s->peer_relays = true;
	s->max_size = max_size(s);
	if (get(s, GA_STR("GREENARROW_MAILCLASS"), &class) && !ga_mail_class_valid(class))
		ga_log(s->w->inst, GA_WARN, "GA-SMTPD-0020",
		    "session %llu of %s: GREENARROW_MAILCLASS is no mail class: %.*s", (unsigned long long)s->id,
		    s->peer_text, (int)class.n, class.p);
}

/* --- recipients --- */

struct text {
	char *p;
	size_t n;
};

static void
put(struct text *to, struct ga_str s)
{
	if (s.n > 0)
		memcpy(to->p + to->n, s.p, s.n);
	to->n += s.n;
}

/* Within quotes (RFC 5321 4.1.2). */
static void
put_quoted(struct text *to, struct ga_str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			to->p[to->n++] = '\\';
		to->p[to->n++] = s.p[i];
	}
}

/* What is between the quotes of a local part that has them; as it is, escapes and all. */
static struct ga_str
without_quotes(struct ga_str local)
{
	if (local.n < 2 || local.p[0] != '"')
		return local;
	return (struct ga_str){ local.p + 1, local.n - 2 };
}

/* user@host and @relay: "user@host"@relay. */
static struct ga_str
behind_another(struct ga_pool *pool, struct ga_str address, struct ga_str value, const char *at)
{
	struct text t = { ga_alloc(pool, address.n + 2 * value.n + 3), 0 };
	const char *host = memrchr(address.p, '@', address.n);
	struct ga_str local = { address.p, host != NULL ? (size_t)(host - address.p) : address.n };

	put(&t, GA_STR("\""));
	put(&t, without_quotes(local));
	put(&t, (struct ga_str){ address.p + local.n, address.n - local.n });
	put_quoted(&t, (struct ga_str){ value.p, (size_t)(at - value.p) });
	put(&t, GA_STR("\""));
	put(&t, (struct ga_str){ at, value.n - (size_t)(at - value.p) });
	return (struct ga_str){ t.p, t.n };
}

struct ga_str
smtpd_variables_address(const struct smtpd_session *s, struct ga_pool *pool, struct ga_str address)
{
	struct ga_str value;
	const char *at;

	if (!get(s, GA_STR("RELAYCLIENT"), &value) || value.n == 0)
		return address;
	at = memrchr(value.p, '@', value.n);
	return at != NULL ? behind_another(pool, address, value, at) :
	    ga_fmt(pool, "%.*s%.*s", (int)address.n, address.p, (int)value.n, value.p);
}

/* --- the message --- */

void
smtpd_variables_mark(const struct smtpd_session *s, struct ga_attrs *attrs)
{
	struct ga_str class, had;

	if (get(s, GA_STR("GREENARROW_MAILCLASS"), &class) && ga_mail_class_valid(class) &&
	    !ga_attr_get((struct ga_str){ attrs->p, attrs->n }, GA_ATTR_MAIL_CLASS, &had))
		ga_attrs_put(attrs, GA_ATTR_MAIL_CLASS, class);
}

bool
smtpd_variables_hide(const struct smtpd_session *s)
{
	return get(s, GA_STR("GREENARROW_SMTP_RECEIVED_HIDE"), NULL);
}
