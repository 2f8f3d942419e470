/*
 * session.c - the session around the transactions: SMTPS, greeting, EHLO, HELO,
 * STARTTLS, AUTH, QUIT.
 *
 * Called by conn.c with each complete reply, on the connection's loop.  One
 * function a state; each judges c->reply, then enters the next state and sends
 * its command.  Replies of a transaction go on to transaction.c.  Octets that
 * come behind a reply to which nothing more was asked mean that the two sides
 * no longer agree on what answers what: such a connection is closed.
 */
#include "client.h"

#include <stdio.h>
#include <string.h>

#define SMTPS_PORT 465

static void
command(struct smtpc_conn *c, enum smtpc_state state, const char *verb, struct ga_str argument)
{
	smtpc_enter(c, state);
	smtpc_out_command(&c->out, verb, argument);
	smtpc_deadline(c, c->conf->smtp_command_timeout);
	smtpc_flush(c);
}

static struct ga_str
helo_name(const struct smtpc_conn *c)
{
	const struct ga_route_source *s = smtpc_source(c);

	return s->hostname.n > 0 ? s->hostname : ga_str_c(ga_hostname());
}

static void
refused(struct smtpc_conn *c)
{
	struct smtpc_verdict v = smtpc_verdict_reply(c);

	smtpc_host_failed(c, &v);
}

static void
host_unfit(struct smtpc_conn *c, enum ga_attempt_stage stage, const char *enhanced, const char *what)
{
	char text[600];
	struct smtpc_verdict v = { .enhanced = enhanced, .network = true, .stage = stage };

	snprintf(text, sizeof text, "%s %s", c->mx, what);
	v.text = ga_str_c(text);
	smtpc_host_failed(c, &v);
}

static void handshake(struct smtpc_conn *);

bool
smtpc_verify(const struct smtpc_conn *c)
{
	return c->conf->tls_verify || c->txn.verified_only;
}

static void
await_greeting(struct smtpc_conn *c)
{
	smtpc_enter(c, SMTPC_GREETING);
	smtpc_deadline(c, c->conf->smtp_greeting_timeout);
}

/* RFC 8314: TLS comes first where the port says so. */
void
smtpc_session_begin(struct smtpc_conn *c)
{
	if (ga_sockaddr_port(&c->remote) == SMTPS_PORT) {
		smtpc_enter(c, SMTPC_SMTPS);
		handshake(c);
	} else {
		await_greeting(c);
	}
}

static void
greeting(struct smtpc_conn *c, enum smtpc_kind kind)
{
	if (kind == SMTPC_OK)
		command(c, SMTPC_EHLO, "EHLO", helo_name(c));
	else
		refused(c);
}

/* With TLS or without, as far as it will come: who we are first, or work. */
static void
secured(struct smtpc_conn *c)
{
	const char *obstacle;

	if (!smtpc_auth_wanted(c))
		smtpc_session_ready(c);
	else if ((obstacle = smtpc_auth_obstacle(c)) != NULL)
		host_unfit(c, GA_AT_AUTH, "4.7.0", obstacle);
	else
		smtpc_auth_begin(c);
}

static void
auth(struct smtpc_conn *c, enum smtpc_kind kind)
{
	if (kind == SMTPC_OK) {
		c->authenticated = true;
		smtpc_session_ready(c);
	} else if (kind != SMTPC_GO_ON || !smtpc_auth_challenge(c)) {
		refused(c);
	}
}

static bool
tls_required(const struct smtpc_conn *c)
{
	return c->conf->starttls_require || smtpc_verify(c);
}

/* The session is open: STARTTLS first, or on with what there is. */
static void
established(struct smtpc_conn *c)
{
	bool wanted = (c->conf->starttls_use || tls_required(c)) && !c->no_tls && !c->tls;

	if (wanted && (c->offer.ext & SMTPC_STARTTLS))
		command(c, SMTPC_STARTTLS_CMD, "STARTTLS", (struct ga_str){ "", 0 });
	else if (tls_required(c) && !c->tls)
		host_unfit(c, GA_AT_TLS, SMTPC_NO_TLS, smtpc_verify(c) ? "does not offer STARTTLS, and the certificate is to be verified" :
		    "does not offer STARTTLS, which starttls_require asks for");
	else
		secured(c);
}

static void
ehlo(struct smtpc_conn *c, enum smtpc_kind kind)
{
	if (kind == SMTPC_OK) {
		smtpc_offer_parse(&c->offer, &c->reply);
		c->rcpt_limit = c->offer.rcpt_max;
		smtpc_set_route(c, c->route);
		established(c);
	} else if (smtpc_wants_helo(c->reply.code)) {
		command(c, SMTPC_HELO, "HELO", helo_name(c));
	} else {
		refused(c);
	}
}

static void
helo(struct smtpc_conn *c, enum smtpc_kind kind)
{
	c->offer = (struct smtpc_offer){ 0 };
	if (kind == SMTPC_OK)
		established(c);
	else
		refused(c);
}

/* A name to send as SNI: a host name, not an address. */
static struct ga_str
server_name(const struct smtpc_conn *c)
{
	struct ga_str name = ga_str_c(c->mx), clean;
	struct ga_sockaddr address;
	char host[256];

	if (ga_sockaddr_parse(&address, name, 25) ||
	    !ga_mail_domain(name, host, sizeof host, &clean))
		return (struct ga_str){ "", 0 };
	return name;
}

static void
handshake(struct smtpc_conn *c)
{
	char key[sizeof c->mx + 2 * GA_SOCKADDR_TEXT + 8];
	char remote[GA_SOCKADDR_TEXT], source[GA_SOCKADDR_TEXT] = "";
	const struct ga_sockaddr *from = &smtpc_source(c)->address;
	struct ga_tls_params p = { .server_name = server_name(c), .verify = smtpc_verify(c),
		.timeout_ms = (uint32_t)c->conf->smtp_tls_timeout };

	if (from->len != 0)
		ga_sockaddr_text(from, false, source);
	snprintf(key, sizeof key, "%s|%s|%s", c->mx, ga_sockaddr_text(&c->remote, true, remote),
	    source);
	p.resume_key = ga_str_c(key);
	/* A little more than the stream's own limit, which gives the better reason. */
	smtpc_deadline(c, c->conf->smtp_tls_timeout + 1000);
	ga_stream_starttls(c->stream, &p);
}

static void
starttls(struct smtpc_conn *c, enum smtpc_kind kind)
{
	if (kind == SMTPC_OK) {
		smtpc_enter_since(c, SMTPC_HANDSHAKE, c->command_ms);
		handshake(c);
	} else if (tls_required(c)) {
		refused(c);
	} else {
		secured(c);
	}
}

void
smtpc_session_tls_done(struct smtpc_conn *c, const char *err)
{
	c->verified = err == NULL && smtpc_verify(c);
	smtpc_tell_tls(c, err);
	if (c->state == SMTPC_SMTPS) {
		c->tls = err == NULL;
		if (c->tls)
			await_greeting(c);
		else
			host_unfit(c, GA_AT_TLS, "4.7.5", err);
	} else if (err == NULL) {
		c->tls = true;
		c->offer = (struct smtpc_offer){ 0 };
		command(c, SMTPC_EHLO, "EHLO", helo_name(c));
	} else if (tls_required(c)) {
		host_unfit(c, GA_AT_TLS, "4.7.5", err);
	} else {
		smtpc_conn_retry_clear(c, err);
	}
}

void
smtpc_session_ready(struct smtpc_conn *c)
{
	if (c->txn.first == NULL) {
		smtpc_txn_next(c);
	} else if (c->txn.ready) {
		smtpc_txn_begin(c);
	} else {
		smtpc_enter(c, SMTPC_PREPARE);
		smtpc_deadline(c, 0);
	}
}

void
smtpc_session_quit(struct smtpc_conn *c, const char *why)
{
	if (c->stream == NULL || c->write_failed) {
		smtpc_conn_close(c, why, true);
		return;
	}
	command(c, SMTPC_QUIT, "QUIT", (struct ga_str){ "", 0 });
	if (c->state == SMTPC_QUIT)
		smtpc_deadline(c, c->conf->smtp_quit_timeout);
}

/* Is another reply due after this one? */
static bool
more_due(const struct smtpc_conn *c)
{
	bool last = c->state == SMTPC_RCPT && c->txn.chunking && c->txn.cur->next == NULL;

	return c->txn.first != NULL && c->txn.grouped && !last &&
	    (c->state == SMTPC_RSET || c->state == SMTPC_MAIL || c->state == SMTPC_RCPT);
}

void
smtpc_session_reply(struct smtpc_conn *c, size_t rest)
{
	enum smtpc_kind kind = smtpc_kind(c->reply.code);
	struct smtpc_verdict v;

	if (c->state == SMTPC_QUIT) {
		smtpc_conn_close(c, "quit", false);
		return;
	}
	if (kind == SMTPC_CLOSING) {
		v = smtpc_verdict_reply(c);
		smtpc_conn_failed(c, &v);
		return;
	}
	if (rest > 0 && !more_due(c)) {
		c->broken = true;
		/* What answers the dot is the result, whatever comes behind it. */
		if (c->state != SMTPC_DOT) {
			smtpc_conn_lost(c, "4.5.0", false, "%s sent more than the reply to %s", c->mx,
			    smtpc_command_name(c->state));
			return;
		}
	}
	switch (c->state) {
	case SMTPC_GREETING: greeting(c, kind); break;
	case SMTPC_EHLO: ehlo(c, kind); break;
	case SMTPC_HELO: helo(c, kind); break;
	case SMTPC_STARTTLS_CMD: starttls(c, kind); break;
	case SMTPC_AUTH: auth(c, kind); break;
	case SMTPC_RSET:
	case SMTPC_MAIL:
	case SMTPC_RCPT:
	case SMTPC_DATA:
	case SMTPC_BODY:
	case SMTPC_HELD:
	case SMTPC_DOT: smtpc_txn_reply(c); break;
	default:
		smtpc_conn_lost(c, "4.5.0", false, "%s sent a reply to nothing", c->mx);
	}
}
