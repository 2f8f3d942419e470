/*
 * session.c - one session in a log: its lines and its cap, for both directions.
 *
 * A line is "WHO: (ID) MARK TEXT".  Events of the connection (mark *) pass log_smtp_max_size, so that
 * a session that was cut still shows how it ended; log_smtp_max_rate holds for all lines.
 */
#include "smtp_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>

#include <greenarrow/mail.h>

void
slog_session_begin(struct slog_session *s, const char *who, uint64_t id)
{
	*s = (struct slog_session){ .id = id };
	s->nprefix = (size_t)snprintf(s->prefix, sizeof s->prefix, "%s: (%" PRIu64 ") ", who, id);
}

/* Of n octets; false: it is left out, and counted. */
static bool
may_write(struct slog_session *s, const struct slog_scope *scope, char mark, size_t n)
{
	uint64_t max = scope->conf->log_smtp_max_size;

	if (mark != '*' && max > 0 && (s->left_lines > 0 || s->written + n > max)) {
		s->left_lines++;
		s->left_octets += n;
		return false;
	}
	return scope->limit == NULL || slog_limit_take(scope->limit, n);
}

void
slog_line(struct slog_session *s, const struct slog_scope *scope, struct ga_call *call,
    const struct slog_text *t)
{
	struct slog_loop *l = slog_loop(call);
	char mark[2] = { t->mark, ' ' }, note[48];
	struct ga_str parts[5] = { { s->prefix, s->nprefix }, { mark, 2 }, t->when };
	size_t cut, n = 0;

	if (l == NULL || scope->dir == NULL)
		return;
	parts[3] = slog_cut(t->text, &cut);
	if (!slog_is_clean(parts[3]))
		parts[3] = ga_escape(ga_call_pool(call, GA_LIFE_CALL), parts[3]);
	parts[4] = (struct ga_str){ note, 0 };
	if (cut + t->beyond > 0)
		parts[4].n = (size_t)snprintf(note, sizeof note, " [and %zu octets]", cut + t->beyond);
	for (unsigned i = 0; i < 5; i++)
		n += parts[i].n;
	if (may_write(s, scope, t->mark, n)) {
		l->sink->write(scope->dir, parts, 5);
		s->written += t->mark != '*' ? n : 0;
	} else if (scope->limit != NULL) {
		slog_arm(l);
	}
}

void
slog_put(struct slog_session *s, const struct slog_scope *scope, struct ga_call *call, char mark,
    struct ga_str text)
{
	slog_line(s, scope, call, &(struct slog_text){ mark, { "", 0 }, text, 0 });
}

void
slog_session_end(struct slog_session *s, const struct slog_scope *scope, struct ga_call *call)
{
	char text[200];
	int n;

	if (s->left_lines == 0)
		return;
	n = snprintf(text, sizeof text, "left out %" PRIu64 " lines (%" PRIu64 " octets): log_smtp_max_size %" PRIu64,
	    s->left_lines, s->left_octets, scope->conf->log_smtp_max_size);
	s->left_lines = s->left_octets = 0;
	s->written = 0;
	slog_put(s, scope, call, '*', (struct ga_str){ text, (size_t)n });
}

const char *
slog_address(char room[SLOG_ADDRESS], const struct ga_addr *a)
{
	bool v6 = a->family == AF_INET6;
	int n = a->text.n == 0 ? snprintf(room, SLOG_ADDRESS, "-") :
	    snprintf(room, SLOG_ADDRESS, "%s%.*s%s", v6 ? "[" : "", (int)a->text.n, a->text.p, v6 ? "]" : "");

	if (a->port != 0)
		snprintf(room + n, SLOG_ADDRESS - (size_t)n, ":%u", a->port);
	return room;
}
