/*
 * auth.c - AUTH (RFC 4954) for hosts that want to know who we are: PLAIN, else LOGIN.
 *
 * Called by session.c between TLS and the first transaction, on the connection's
 * loop.  Credentials go over TLS alone unless destination_auth_cleartext says
 * otherwise; hooks and logs see [credentials].  Whatever goes wrong is temporary: it
 * is our settings that do not fit, not the mail.
 */
#include "client.h"

#include <stdio.h>
#include <string.h>

#include <gnutls/gnutls.h>

#define MASK "[credentials]"
#define LINE_MAX_ 512			/* RFC 5321 4.5.3.1.4 */

bool
smtpc_auth_wanted(const struct smtpc_conn *c)
{
	return c->conf->destination_username.n > 0 && !c->authenticated;
}

/* Why the credentials cannot be told here; NULL: they can. */
const char *
smtpc_auth_obstacle(const struct smtpc_conn *c)
{
	if (!c->tls && !c->conf->destination_auth_cleartext)
		return "has no TLS, and credentials are not sent in clear (destination_auth_cleartext)";
	if ((c->offer.ext & (SMTPC_AUTH_PLAIN | SMTPC_AUTH_LOGIN)) == 0)
		return "offers neither AUTH PLAIN nor AUTH LOGIN, and credentials are given for it";
	return NULL;
}

/* The line that is in out, and alone there. */
static void
tell_line(struct smtpc_conn *c, const char *before, bool secret)
{
	char masked[64];
	int n = snprintf(masked, sizeof masked, "%s%s", before, secret ? MASK : "");
	struct ga_str line = { c->out.p + c->out.logged, c->out.n - c->out.logged - 2 };

	smtpc_line_secret(c, (struct ga_str){ masked, (size_t)n }, secret ? line : GA_STR(""));
	c->out.logged = c->out.n;
}

/* One line: before, then data in base64 when it is not empty. */
static void
send_line(struct smtpc_conn *c, const char *before, struct ga_str data)
{
	gnutls_datum_t in = { (unsigned char *)(uintptr_t)data.p, (unsigned)data.n }, text = { NULL, 0 };

	if (data.n > 0 && gnutls_base64_encode2(&in, &text) < 0) {
		smtpc_conn_lost(c, "4.3.0", false, "the credentials for %s cannot be encoded", c->mx);
		return;
	}
	smtpc_enter_since(c, SMTPC_AUTH, c->state == SMTPC_AUTH ? c->command_ms : ga_now_ms(c->loop->worker));
	smtpc_out_credentials(&c->out, before, (struct ga_str){ (const char *)text.data, text.size });
	tell_line(c, before, data.n > 0);
	if (text.data != NULL)
		gnutls_memset(text.data, 0, text.size);
	gnutls_free(text.data);
	smtpc_deadline(c, c->conf->smtp_command_timeout);
	smtpc_flush(c);
}

/* RFC 4616: [authzid] NUL authcid NUL passwd */
static struct ga_str
plain(const struct smtpc_conn *c, struct ga_pool *pool)
{
	struct ga_str user = c->conf->destination_username, password = c->conf->destination_password;
	char *p = ga_alloc(pool, user.n + password.n + 2);

	memcpy(p + 1, user.p, user.n);
	if (password.n > 0)
		memcpy(p + 2 + user.n, password.p, password.n);
	return (struct ga_str){ p, user.n + password.n + 2 };
}

static void
send_plain(struct smtpc_conn *c, const char *before)
{
	struct ga_pool *pool = ga_pool_new(0);
	struct ga_str message = plain(c, pool);

	send_line(c, before, message);
	gnutls_memset((void *)(uintptr_t)message.p, 0, message.n);
	ga_pool_free(pool);
}

/* The initial response saves a round trip where the line may hold it. */
void
smtpc_auth_begin(struct smtpc_conn *c)
{
	static const char command[] = "AUTH PLAIN ";
	size_t n = c->conf->destination_username.n + c->conf->destination_password.n + 2;

	c->auth_step = 0;
	if ((c->offer.ext & SMTPC_AUTH_PLAIN) == 0)
		send_line(c, "AUTH LOGIN", (struct ga_str){ NULL, 0 });
	else if (sizeof command + (n + 2) / 3 * 4 + 2 <= LINE_MAX_)
		send_plain(c, command);
	else
		send_line(c, "AUTH PLAIN", (struct ga_str){ NULL, 0 });
}

/* 334: the next piece.  False: there is none. */
bool
smtpc_auth_challenge(struct smtpc_conn *c)
{
	bool is_plain = (c->offer.ext & SMTPC_AUTH_PLAIN) != 0;
	unsigned step = c->auth_step++;

	if (is_plain && step == 0)
		send_plain(c, "");
	else if (!is_plain && step == 0)
		send_line(c, "", c->conf->destination_username);
	else if (!is_plain && step == 1)
		send_line(c, "", c->conf->destination_password);
	else
		return false;
	return true;
}
