/*
 * proxy.c - the PROXY header in front of a session, and who its client is.
 *
 * Called by session.c and io.c on the session's loop, for connections from the addresses
 * in incoming_smtp_accept_proxy_protocol alone: these must send the header, and no other
 * may, for whoever may say who the client is may say that it is one who may relay.
 *
 * No octet behind the header is read here: it may be the beginning of TLS.  So a
 * header of version 1, whose length nobody tells, is read octet by octet from the
 * shortest on.
 */
#include <errno.h>
#include <stdlib.h>

#include "proxy.h"
#include "proxy_header.h"

/* The proxy has it ready when it connects; its text allows 3 seconds at least. */
#define PROXY_TIMEOUT_MS 10000u

struct smtpd_proxy_read {
	size_t n, need;
	char text[SMTPD_PROXY_MAX];
};

void
smtpd_proxy_await(struct smtpd_session *s)
{
	s->proxy = ga_xcalloc(1, sizeof *s->proxy);
	s->proxy->need = 1;		/* what follows says how many more */
	smtpd_enter_state(s, S_PROXY);
	smtpd_deadline(s, PROXY_TIMEOUT_MS);
}

void
smtpd_proxy_free(struct smtpd_session *s)
{
	free(s->proxy);
	s->proxy = NULL;
}

static void
give_up(struct smtpd_session *s, const char *why)
{
	ga_log(s->w->inst, GA_WARN, "GA-SMTPD-0019", "session %llu of proxy %s: %s",
	    (unsigned long long)s->id, s->peer_text, why);
	smtpd_abort(s);
}

void
smtpd_proxy_timeout(struct smtpd_session *s)
{
	give_up(s, "no whole PROXY header within 10 s");
}

/* --- who the client is --- */

void
smtpd_client_is(struct smtpd_session *s, const struct ga_sockaddr *peer)
{
	const struct smtpd_conf *conf = s->gen->conf;

	smtpd_limits_uncount(s->client);
	s->client = NULL;
	s->unnamed = peer == NULL;
	s->peer_relays = peer != NULL && smtpd_gen_relays(s->gen, peer);
	s->relays = s->peer_relays || s->user.n > 0;
	s->crowded = false;
	if (peer == NULL)
		return;
	s->peer = *peer;
	ga_sockaddr_text(peer, false, s->peer_text);
	/* whether it is turned away for that is known when connect has answered */
	s->crowded = !s->relays && !smtpd_limits_count(&s->gen->service->limits, peer,
	    (unsigned)conf->max_connections_per_client, &s->client);
}

/* --- the header --- */

static void
header_over(struct smtpd_session *s, bool named, const struct smtpd_proxy_header *h)
{
	smtpd_proxy_free(s);
	if (named)
		s->local = h->local;
	smtpd_client_is(s, named ? &h->peer : NULL);
	if (s->implicit_tls)
		smtpd_tls_next(s);
	else
		smtpd_session_begin(s);
}

/* True: more can be read at once. */
static bool
step(struct smtpd_session *s)
{
	struct smtpd_proxy_read *r = s->proxy;
	struct smtpd_proxy_header h;

	switch (smtpd_proxy_parse(r->text, r->n, &h)) {
	case SMTPD_PROXY_MORE:
		r->need = h.need;
		return true;
	case SMTPD_PROXY_BAD:
		give_up(s, h.why);
		return false;
	case SMTPD_PROXY_NAMED:
		header_over(s, true, &h);
		return false;
	case SMTPD_PROXY_UNNAMED:
		header_over(s, false, &h);
		return false;
	}
	return false;
}

void
smtpd_proxy_read(struct smtpd_session *s)
{
	ssize_t n;

	do {
		struct smtpd_proxy_read *r = s->proxy;

		n = ga_stream_read(s->stream, r->text + r->n, r->need);
		if (n > 0)
			r->n += (size_t)n;
	} while (n > 0 && step(s));
	if (n == 0 || (n < 0 && n != -EAGAIN))
		smtpd_abort(s);		/* a port scan, or a check that the port is open */
}
