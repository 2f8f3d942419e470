/*
 * cmd_starttls.c - TLS: STARTTLS (RFC 3207), or before the greeting (RFC 8314).
 *
 * Called by command.c, or by session.c for a connection to listen_tls; then by session.c when the 220 is out, and by the stream
 * when the handshake is over.  A client must wait for the 220: octets behind
 * STARTTLS are somebody's attempt to have plaintext run inside TLS, so they are
 * refused and the connection with them.  What has arrived since is read by nobody
 * but the TLS layer, to which it is no handshake.
 */
#include <string.h>

#include "auth.h"
#include "session.h"

void
smtpd_tls_next(struct smtpd_session *s)
{
	smtpd_enter_state(s, S_TLS);
	smtpd_deadline(s, s->gen->conf->smtpd_tls_timeout + 5000);
}

void
smtpd_cmd_starttls(struct smtpd_session *s, struct ga_str arg)
{
	if (arg.n > 0) {
		smtpd_say(s, "501 5.5.4 STARTTLS takes no argument");
	} else if (s->tls) {
		smtpd_say(s, "503 5.5.1 TLS is already in use");
	} else if (s->helo.n > 0 && !s->esmtp) {
		smtpd_say(s, "503 5.5.1 Say EHLO first");
	} else if (s->gen->tls == NULL || !s->gen->conf->starttls_offer) {
		smtpd_say(s, "454 4.7.0 TLS is not available");
	} else if (s->behind > 0) {
		smtpd_say(s, "554 5.5.1 Commands behind STARTTLS are not allowed");
		smtpd_close(s, true);
	} else {
		smtpd_say(s, "220 2.0.0 Ready for TLS");
		smtpd_reset(s, GA_END_ABORTED);
		s->helo.n = 0;
		s->esmtp = false;
		smtpd_auth_forget(s);
		smtpd_tls_next(s);
	}
}

/* RFC 3207 4: where TLS is needed, nothing else goes before it.  BDAT refuses itself, for
 * it knows the octets that follow. */
bool
smtpd_tls_missing(const struct smtpd_session *s, struct ga_str verb)
{
	static const struct ga_str free_verbs[] = {
		GA_STR("EHLO"), GA_STR("HELO"), GA_STR("STARTTLS"), GA_STR("NOOP"), GA_STR("RSET"),
		GA_STR("HELP"), GA_STR("QUIT"), GA_STR("BDAT"),
	};

	if (s->tls || !s->gen->conf->require_tls)
		return false;
	for (size_t i = 0; i < sizeof free_verbs / sizeof free_verbs[0]; i++)
		if (ga_str_caseeq(free_verbs[i], verb))
			return false;
	return true;
}

void
smtpd_tls_begin(struct smtpd_session *s)
{
	struct ga_tls_params p;

	if (s->tls)
		return;
	memset(&p, 0, sizeof p);
	p.server = s->gen->tls;
	/* who names other protocols was sent to us by somebody else (ALPACA) */
	p.alpn = GA_STR("smtp");
	p.timeout_ms = (uint32_t)s->gen->conf->smtpd_tls_timeout;
	s->tls = true;
	s->want = 0;
	ga_stream_want(s->stream, 0);
	ga_stream_starttls(s->stream, &p);
}

static struct ga_str
bounded(const char *p, size_t room)
{
	return (struct ga_str){ p, strnlen(p, room) };
}

static void
tell_tls(struct smtpd_session *s)
{
	const struct ga_stream_info *i = ga_stream_info(s->stream);
	struct ga_ev_tls ev = {
		.s = s->ga,
		.version = bounded(i->tls_version, sizeof i->tls_version),
		.cipher = bounded(i->tls_cipher, sizeof i->tls_cipher),
		.peer_name = bounded(i->tls_peer, sizeof i->tls_peer),
		.verified = i->tls_verified,
	};

	smtpd_tell(s, GA_HOOK_tls, &ev);
}

void
smtpd_tls_done(struct ga_stream *stream, const char *err, void *arg)
{
	struct smtpd_session *s = arg;

	smtpd_enter(s);
	if (err != NULL) {
		ga_log(s->w->inst, GA_INFO, "GA-SMTPD-0011", "session %llu of %s: TLS: %s",
		    (unsigned long long)s->id, s->peer_text, err);
		s->over = ga_fmt(ga_session_pool(s->ga), "TLS: %s", err).p;
		smtpd_abort(s);
	} else {
		atomic_fetch_add(&s->gen->service->count.tls, 1);
		if (smtpd_asks(s, tls))
			tell_tls(s);
		if (s->implicit_tls)
			smtpd_session_begin(s);
		else
			smtpd_next_command(s);
	}
	smtpd_leave(s);
}
