/*
 * scram.c - see scram.h.
 *
 * Called by cmd_auth.c on the session's loop.  A context of GNU SASL for each exchange:
 * it is made of a few small allocations and so is shared by no two threads.  A user
 * who is not known, or has no keys, goes through the whole exchange with keys that
 * nobody has.
 */
#include "scram.h"

#ifdef HAVE_GSASL

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gsasl.h>

#include "base64.h"
#include "password.h"

const bool smtpd_scram_built_in = true;

struct smtpd_scram {
	Gsasl *context;
	Gsasl_session *session;
	const struct smtpd_users *users;
	const struct smtpd_user *user;
	bool known, failed;		/* the keys are there; ... could not be made */
	char *out;
	size_t nout;
};

static void
set_octets(Gsasl_session *session, Gsasl_property property, const unsigned char *p, size_t n)
{
	char text[SMTPD_BASE64_CHARS(SMTPD_SCRAM_SALT_MAX) + 1];

	text[smtpd_base64_encode(p, n, text)] = '\0';
	gsasl_property_set(session, property, text);
	explicit_bzero(text, sizeof text);
}

static void
set_keys(Gsasl_session *session, const struct smtpd_scram_keys *k)
{
	char number[16];

	snprintf(number, sizeof number, "%u", (unsigned)k->iterations);
	gsasl_property_set(session, GSASL_SCRAM_ITER, number);
	set_octets(session, GSASL_SCRAM_SALT, k->salt, k->nsalt);
	set_octets(session, GSASL_SCRAM_STOREDKEY, k->stored_key, sizeof k->stored_key);
	set_octets(session, GSASL_SCRAM_SERVERKEY, k->server_key, sizeof k->server_key);
}

/* GNU SASL knows the name and asks for the first of its keys. */
static bool
find_keys(struct smtpd_scram *c, Gsasl_session *session)
{
	struct ga_str name = ga_str_c(gsasl_property_fast(session, GSASL_AUTHID));
	struct smtpd_scram_keys keys;

	c->known = true;
	c->user = smtpd_users_find(c->users, name);
	if (c->user != NULL && c->user->scram != NULL) {
		set_keys(session, c->user->scram);
		return true;
	}
	c->user = NULL;
	if (!smtpd_users_fake_keys(c->users, name, &keys))
		return false;
	set_keys(session, &keys);
	return true;
}

static int
asked(Gsasl *context, Gsasl_session *session, Gsasl_property property)
{
	struct smtpd_scram *c = gsasl_session_hook_get(session);

	switch (property) {
	case GSASL_SCRAM_ITER:
	case GSASL_SCRAM_SALT:
	case GSASL_SCRAM_STOREDKEY:
	case GSASL_SCRAM_SERVERKEY:
		if (!c->known)
			c->failed = !find_keys(c, session);
		return c->failed ? GSASL_AUTHENTICATION_ERROR : GSASL_OK;
	default:
		return GSASL_NO_CALLBACK;
	}
}

struct smtpd_scram *
smtpd_scram_new(const struct smtpd_users *users)
{
	struct smtpd_scram *c = ga_xcalloc(1, sizeof *c);

	c->users = users;
	if (gsasl_init(&c->context) != GSASL_OK) {
		free(c);
		return NULL;
	}
	gsasl_callback_set(c->context, asked);
	if (gsasl_server_start(c->context, "SCRAM-SHA-256", &c->session) != GSASL_OK) {
		gsasl_done(c->context);
		free(c);
		return NULL;
	}
	gsasl_session_hook_set(c->session, c);
	return c;
}

static void
forget_out(struct smtpd_scram *c)
{
	if (c->out != NULL)
		explicit_bzero(c->out, c->nout);
	gsasl_free(c->out);
	c->out = NULL;
	c->nout = 0;
}

void
smtpd_scram_free(struct smtpd_scram *c)
{
	if (c == NULL)
		return;
	forget_out(c);
	gsasl_finish(c->session);
	gsasl_done(c->context);
	free(c);
}

/* Nobody acts for another: an authorization identity is the user's own or none. */
static bool
acts_for_itself(Gsasl_session *session)
{
	struct ga_str other = ga_str_c(gsasl_property_fast(session, GSASL_AUTHZID));

	return other.n == 0 || ga_str_eq(other, ga_str_c(gsasl_property_fast(session, GSASL_AUTHID)));
}

enum smtpd_scram_state
smtpd_scram_step(struct smtpd_scram *c, struct ga_str in, struct ga_str *out)
{
	int result;

	forget_out(c);
	/* Bound to a channel: SCRAM-SHA-256-PLUS, which we do not speak, and GNU SASL 2.2
	 * takes it for what we do, without looking at the channel (RFC 5802 6). */
	if (!c->known && in.n > 0 && in.p[0] == 'p') {
		*out = (struct ga_str){ NULL, 0 };
		return SMTPD_SCRAM_REFUSED;
	}
	result = gsasl_step(c->session, in.p, in.n, &c->out, &c->nout);
	*out = (struct ga_str){ c->out, c->nout };
	if (c->failed)
		return SMTPD_SCRAM_FAILED;
	if (result == GSASL_NEEDS_MORE)
		return SMTPD_SCRAM_MORE;
	return result == GSASL_OK && c->user != NULL && acts_for_itself(c->session) ?
	    SMTPD_SCRAM_PROVEN : SMTPD_SCRAM_REFUSED;
}

const struct smtpd_user *
smtpd_scram_user(const struct smtpd_scram *c)
{
	return c->user;
}

#else

const bool smtpd_scram_built_in = false;

struct smtpd_scram *
smtpd_scram_new(const struct smtpd_users *users)
{
	return NULL;
}

void
smtpd_scram_free(struct smtpd_scram *c)
{
}

enum smtpd_scram_state
smtpd_scram_step(struct smtpd_scram *c, struct ga_str in, struct ga_str *out)
{
	*out = (struct ga_str){ NULL, 0 };
	return SMTPD_SCRAM_FAILED;
}

const struct smtpd_user *
smtpd_scram_user(const struct smtpd_scram *c)
{
	return NULL;
}

#endif
