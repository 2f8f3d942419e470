/*
 * out.c - outgoing sessions: what hooks tell of a connection, as lines of a log.
 *
 * Called by the core on the connection's loop.  What the settings of the transaction's scope ask for
 * is logged, so a connection that is used for several domains is in the log while it serves
 * those that ask.  For the flight recorder the same lines are kept (record.c), and written when an
 * attempt did not deliver.
 *
 * Owns struct out, in the connection's memory (GA_LIFE_CONNECTION).
 */
#include "smtp_log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define S(str) (int)(str).n, (str).p
/* Names of an event, each of 255 octets at most, its addresses and the words between. */
#define EVENT_TEXT 1400u

/* --- which hooks a scope needs --- */

enum { EVENTS = 1, COMMANDS = 2, HEXDUMP = 4, TIMINGS = 8, RECORDER = 16 };

static unsigned
needs(const struct smtp_log_conf *c)
{
	bool events = c->log_smtp_connections || c->log_smtp_commands || c->log_smtp_hexdump || c->log_smtp_timings;

	return (events ? EVENTS : 0u) | (c->log_smtp_commands ? COMMANDS : 0u) |
	    (c->log_smtp_hexdump ? HEXDUMP : 0u) | (c->log_smtp_timings ? TIMINGS : 0u) |
	    (c->log_smtp_on_failure && !c->log_smtp_commands ? RECORDER : 0u);
}

bool
slog_out_wants(const struct smtp_log_conf *c, const char *hook)
{
	static const struct { const char *hook; unsigned by; } hooks[] = {
		{ "connection_opened", EVENTS | RECORDER },
		{ "connection_failed", EVENTS | RECORDER },
		{ "connection_tls", EVENTS | RECORDER },
		{ "connection_saved", EVENTS },
		{ "connection_reused", EVENTS },
		{ "connection_closed", EVENTS | RECORDER },
		{ "line", COMMANDS | TIMINGS | RECORDER },
		{ "bytes", HEXDUMP },
		{ "attempt_failed", RECORDER },
	};

	for (size_t i = 0; i < sizeof hooks / sizeof hooks[0]; i++)
		if (strcmp(hooks[i].hook, hook) == 0)
			return (hooks[i].by & needs(c)) != 0;
	return false;
}

/* --- its lines --- */

/* A connection that is new, or serves another scope or host than with the call before. */
static bool
turn_to(struct slog_out *o, struct ga_call *call, uint64_t id)
{
	struct slog_loop *l = slog_loop(call);

	if (l == NULL)
		return false;
	o->scope = slog_scope(l, call);
	if (o->s.id != id || o->s.nprefix == 0) {
		slog_session_begin(&o->s, "remote_smtp", id);
		o->asked_us = o->hex_sent = o->hex_heard = 0;
	}
	return true;
}

/* The connection of a call, with its scope as it is now; NULL: the loop has stopped. */
static struct slog_out *
out_of(struct ga_call *call, uint64_t id)
{
	struct slog_out *o = ga_call_state(call, GA_LIFE_CONNECTION);

	if (o->scope != NULL && o->scope->settings == ga_call_settings(call) && o->s.id == id)
		return o;
	return turn_to(o, call, id) ? o : NULL;
}

static void
put(struct slog_out *o, struct ga_call *call, bool logged, char mark, struct ga_str text)
{
	if (logged)
		slog_put(&o->s, o->scope, call, mark, text);
	if (o->scope->records)
		slog_record_add(&o->record, o->scope->recorded_lines,
		    &(struct slog_recorded){ o->s.id, ga_now_ms(ga_call_worker(call)), mark, text });
}

static void event(struct slog_out *, struct ga_call *, const char *fmt, ...) GA_PRINTF(3, 4);
static void
event(struct slog_out *o, struct ga_call *call, const char *fmt, ...)
{
	char text[EVENT_TEXT];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (n > 0)
		put(o, call, o->scope->events, '*', (struct ga_str){ text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1 });
}

/* --- events of the connection --- */

/* "VERB LOCAL -> REMOTE mx= vmta= domain= throttle=", and what comes behind. */
static void
event_with_path(struct ga_call *call, const struct ga_ev_connection *ev, const char *verb, const char *more)
{
	struct slog_out *o = out_of(call, ev->id);
	char local[SLOG_ADDRESS], remote[SLOG_ADDRESS];

	if (o != NULL)
		event(o, call, "%s %s -> %s mx=%.*s vmta=%.*s domain=%.*s throttle=%.*s%s", verb,
		    slog_address(local, &ev->local), slog_address(remote, &ev->remote), S(ev->mx_hostname),
		    S(ev->virtual_mta), S(ev->domain), S(ev->group_key), more);
}

void
slog_out_opened(struct ga_call *call, const struct ga_ev_connection *ev)
{
	struct slog_out *o = out_of(call, ev->id);

	event_with_path(call, ev, "connect", "");
	if (o != NULL)
		o->asked_us = ga_mono_us();	/* the greeting is the first answer */
}

void
slog_out_failed(struct ga_call *call, const struct ga_ev_connection *ev)
{
	char more[400];

	snprintf(more, sizeof more, " reason=%.*s", S(ev->reason));
	event_with_path(call, ev, "connect failed", more);
}

void
slog_out_reused(struct ga_call *call, const struct ga_ev_connection *ev)
{
	char more[40];

	snprintf(more, sizeof more, " deliveries=%u", ev->deliveries_done);
	event_with_path(call, ev, "reused", more);
}

void
slog_out_tls(struct ga_call *call, const struct ga_ev_connection *ev)
{
	struct slog_out *o = out_of(call, ev->id);

	if (o == NULL)
		return;
	if (ev->reason.n > 0)
		event(o, call, "tls failed reason=%.*s", S(ev->reason));
	else
		event(o, call, "tls %.*s %.*s verified=%s", S(ev->tls_version), S(ev->tls_cipher),
		    ev->verified ? "yes" : "no");
}

void
slog_out_saved(struct ga_call *call, const struct ga_ev_connection *ev)
{
	struct slog_out *o = out_of(call, ev->id);

	if (o != NULL)
		event(o, call, "saved deliveries=%u", ev->deliveries_done);
}

void
slog_out_closed(struct ga_call *call, const struct ga_ev_connection *ev)
{
	struct slog_out *o = out_of(call, ev->id);

	if (o == NULL)
		return;
	slog_session_end(&o->s, o->scope, call);
	event(o, call, "close deliveries=%u reason=%.*s", ev->deliveries_done, S(ev->reason));
}

/* --- commands and replies --- */

/* The last line of a reply; what was pipelined was asked at one time. */
static void
tell_time(struct slog_out *o, struct ga_call *call, struct ga_str reply)
{
	uint64_t took = ga_mono_us() - o->asked_us;

	if (o->asked_us != 0 && (reply.n < 4 || reply.p[3] != '-'))
		event(o, call, "reply %.*s after %" PRIu64 ".%03u ms", reply.n < 3 ? (int)reply.n : 3, reply.p,
		    took / 1000, (unsigned)(took % 1000));
}

void
slog_out_line(struct ga_call *call, const struct ga_ev_line *ev)
{
	struct slog_out *o = out_of(call, ev->session_id);
	bool sent = ev->kind == GA_OUT_CMD;

	if (o == NULL)
		return;
	put(o, call, o->scope->commands, sent ? '>' : '<', ev->secret.n > 0 && o->scope->conf->log_smtp_credentials ?
	    ev->secret : ev->text);
	if (!o->scope->timings)
		return;
	if (sent)
		o->asked_us = ga_mono_us();
	else
		tell_time(o, call, ev->text);
}

/* --- octets --- */

static void
hex_row(struct slog_out *o, struct ga_call *call, bool sent, uint64_t offset, struct ga_str octets)
{
	char text[2 + SLOG_HEX_ROOM] = { sent ? '>' : '<', ' ' };
	struct ga_str row = slog_hex_row(text + 2, offset, octets);

	slog_put(&o->s, o->scope, call, 'h', (struct ga_str){ text, 2 + row.n });
}

void
slog_out_bytes(struct ga_call *call, const struct ga_ev_bytes *ev)
{
	struct slog_out *o = out_of(call, ev->session_id);
	bool sent = ev->kind == GA_OUT_CMD;
	struct ga_str left = ev->octets;
	uint64_t *offset;

	if (o == NULL)
		return;
	offset = sent ? &o->hex_sent : &o->hex_heard;
	if (ev->secret && !o->scope->conf->log_smtp_credentials) {
		/* not even how long they are */
		slog_put(&o->s, o->scope, call, 'h', GA_STR("> [credentials]"));
		return;
	}
	while (left.n > 0) {
		size_t n = left.n < SLOG_HEX_ROW ? left.n : SLOG_HEX_ROW;

		hex_row(o, call, sent, *offset, (struct ga_str){ left.p, n });
		*offset += n;
		left.p += n;
		left.n -= n;
	}
}

/* --- the flight recorder --- */

static struct ga_str
stamp(char room[32], uint64_t wall_ms)
{
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;
	size_t n;

	gmtime_r(&t, &tm);
	n = strftime(room, 32, "[%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(room + n, 32 - n, ".%03uZ] ", (unsigned)(wall_ms % 1000));
	return (struct ga_str){ room, n };
}

struct writing {
	struct slog_out *o;
	struct ga_call *call;
	uint64_t began_ms;			/* the loop's clock, on the wall's */
	struct slog_session other;
};

/* Lines of hosts that were tried before have ids of their own. */
static void
write_recorded(const struct slog_recorded *line, void *arg)
{
	struct writing *w = arg;
	struct slog_session *s = line->id == w->o->s.id ? &w->o->s : &w->other;
	char when[32];

	if (s == &w->other && s->id != line->id)
		slog_session_begin(s, "remote_smtp", line->id);
	slog_line(s, w->o->scope, w->call, &(struct slog_text){ line->mark, stamp(when, w->began_ms + line->at_ms), line->text, 0 });
}

void
slog_out_attempt(struct ga_call *call, const struct ga_ev_attempt *ev)
{
	uint64_t now_ms = ga_now_ms(ga_call_worker(call));
	struct writing w = { out_of(call, ev->connection_id), call, ga_wall_ms() - now_ms, { 0 } };
	struct slog_out *o = w.o;
	char text[EVENT_TEXT];
	unsigned lines, most;
	int n;

	if (o == NULL || !o->scope->records)
		return;
	most = o->scope->recorded_lines;
	lines = slog_record_lines(&o->record, most);
	if (lines == 0 && !o->record.short_of)
		return;
	n = snprintf(text, sizeof text, "%s of envelope %016" PRIx64 " to <%.*s>, the session's last %u lines%s: %.*s",
	    ev->outcome == GA_FAILED ? "failure" : "deferral", ev->envelope_id, S(ev->recipient), lines,
	    o->record.short_of ? " (there was no memory for more)" : "", S(ev->text));
	slog_put(&o->s, o->scope, call, '*', (struct ga_str){ text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1 });
	slog_record_each(&o->record, most, now_ms, write_recorded, &w);
	slog_record_clear(&o->record);
}

void
slog_out_end(struct ga_inst *inst, void *state)
{
	struct slog_out *o = state;

	slog_record_free(&o->record);
}
