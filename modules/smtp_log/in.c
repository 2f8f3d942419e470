/*
 * in.c - incoming sessions: what hooks tell of one, as lines of its service's log.
 *
 * Called by the core on the session's loop.  Whether a session is logged is said by variables, which
 * its service's environment_file and the access rules set; it is looked up with the first line that we
 * say to the client, when all modules have had their turn in connect.  A session that is not
 * logged is left (ga_session_leave) and costs nothing from then on.
 *
 * Owns struct in, in the session's memory.  Lines of a message are put together from the
 * pieces that come, in a buffer of SLOG_TEXT octets; what a line has beyond is counted.
 */
#include "smtp_log.h"

#include <stdio.h>
#include <string.h>

#define S(str) (int)(str).n, (str).p

/* Messages without commands say little: one variable implies the other. */
static bool
is_on(struct ga_call *call, struct slog_in *in)
{
	const struct ga_session *s = ga_call_session(call);

	in->content = ga_session_variable(s, GA_STR("GREENARROW_LOG_SMTP_MESSAGE"), NULL);
	return in->content || ga_session_variable(s, GA_STR("GREENARROW_LOG_SMTP_COMMANDS"), NULL);
}

static void
put(struct slog_in *in, struct ga_call *call, char mark, struct ga_str text)
{
	slog_put(&in->s, in->scope, call, mark, text);
}

static void
tell_connect(struct slog_in *in, struct ga_call *call)
{
	const struct ga_object *service = ga_settings_block(in->scope->settings);
	char peer[SLOG_ADDRESS], local[SLOG_ADDRESS], text[500];
	int n = snprintf(text, sizeof text, "connect %s -> %s service=%.*s", slog_address(peer, &in->peer),
	    slog_address(local, &in->local), S(ga_object_name(service)));

	put(in, call, '*', (struct ga_str){ text, (size_t)n });
	if (in->tls.n > 0)
		put(in, call, '*', in->tls);
	in->tls.n = 0;
}

/* The session of a call, if it is logged. */
static struct slog_in *
in_of(struct ga_call *call, uint64_t id)
{
	struct slog_loop *l = slog_loop(call);
	struct slog_in *in = l != NULL ? ga_call_state(call, GA_LIFE_SESSION) : NULL;

	if (in == NULL || in->scope != NULL)
		return in;
	if (!is_on(call, in)) {
		ga_session_leave(call);
		return NULL;
	}
	in->scope = slog_scope(l, call);
	slog_session_begin(&in->s, "smtpd", id);
	tell_connect(in, call);
	return in;
}

static struct ga_addr
keep(struct ga_call *call, const struct ga_addr *a)
{
	return (struct ga_addr){ ga_dup(ga_call_pool(call, GA_LIFE_SESSION), a->text), a->port, a->family };
}

/* Also asked when the client turned out to be another one: that is to be decided anew. */
enum ga_verdict
slog_in_connect(struct ga_call *call, const struct ga_ev_connect *ev)
{
	struct slog_in *in = ga_call_state(call, GA_LIFE_SESSION);

	in->scope = NULL;
	in->peer = keep(call, &ev->peer);
	in->local = keep(call, &ev->local);
	return GA_PASS;
}

/* Implicit TLS is told before connect. */
void
slog_in_tls(struct ga_call *call, const struct ga_ev_tls *ev)
{
	struct slog_in *in = ga_call_state(call, GA_LIFE_SESSION);
	struct ga_str text = ga_fmt(ga_call_pool(call, GA_LIFE_SESSION), "tls %.*s %.*s verified=%s",
	    S(ev->version), S(ev->cipher), ev->verified ? "yes" : "no");

	if (in->scope != NULL)
		put(in, call, '*', text);
	else
		in->tls = text;
}

/* --- the text of messages --- */

static void
line_over(struct slog_in *in, struct ga_call *call)
{
	struct slog_text t = { '<', { "", 0 }, { in->line, in->n }, in->beyond };

	if (!in->open)
		return;
	if (t.beyond > 0)
		t.beyond--;		/* the CR */
	else if (t.text.n > 0 && t.text.p[t.text.n - 1] == '\r')
		t.text.n--;
	slog_line(&in->s, in->scope, call, &t);
	in->open = false;
	in->n = in->beyond = 0;
}

static void
line_more(struct slog_in *in, struct ga_call *call, const char *p, size_t n)
{
	size_t room, used;

	if (in->line == NULL)
		in->line = ga_alloc(ga_call_pool(call, GA_LIFE_SESSION), SLOG_TEXT);
	room = SLOG_TEXT - in->n;
	used = n < room ? n : room;
	memcpy(in->line + in->n, p, used);
	in->n += used;
	in->beyond += n - used;
	in->open = true;
}

void
slog_in_bytes(struct ga_call *call, const struct ga_ev_bytes *ev)
{
	struct slog_in *in = in_of(call, ev->session_id);
	struct ga_str left = ev->octets;

	if (in == NULL || !in->content || !ev->content)
		return;
	while (left.n > 0) {
		const char *lf = memchr(left.p, '\n', left.n);
		size_t n = lf != NULL ? (size_t)(lf - left.p) : left.n;

		line_more(in, call, left.p, n);
		if (lf != NULL)
			line_over(in, call);
		n += lf != NULL;
		left.p += n;
		left.n -= n;
	}
}

/* --- commands, replies, the end --- */

void
slog_in_line(struct ga_call *call, const struct ga_ev_line *ev)
{
	struct slog_in *in = in_of(call, ev->session_id);

	if (in == NULL)
		return;
	line_over(in, call);		/* the last one of a BDAT may have no end */
	put(in, call, ev->kind == GA_IN_CMD ? '<' : '>', ev->secret.n > 0 && in->scope->conf->log_smtp_credentials ?
	    ev->secret : ev->text);
}

void
slog_in_disconnect(struct ga_call *call, const struct ga_ev_disconnect *ev)
{
	struct slog_in *in = in_of(call, ev->session_id);
	char text[400];
	int n;

	if (in == NULL)
		return;
	line_over(in, call);
	slog_session_end(&in->s, in->scope, call);
	n = snprintf(text, sizeof text, "close messages=%u reason=%.*s", ev->messages, S(ev->reason));
	put(in, call, '*', (struct ga_str){ text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1 });
}
