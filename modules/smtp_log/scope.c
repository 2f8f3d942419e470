/*
 * scope.c - what the settings of one scope say, made ready for its lines.
 *
 * Made on each loop when its first session of the scope has something to log, kept as long as
 * the instance, whose configuration it is.  Only then is the log directory opened and the
 * limit looked up, behind the lock of the instance.
 */
#include "smtp_log.h"

#include <stdlib.h>

#include <greenarrow/service/smtp_services.h>

#define TELL_MS 1000

struct slog_loop *
slog_loop(struct ga_call *call)
{
	struct slog_loop *l = ga_worker_state(ga_call_inst(call), ga_call_worker(call));

	return l->sink != NULL ? l : NULL;
}

static struct ga_str
directory(const struct slog_scope *s, const struct ga_object *service, char room[GA_SMTP_SERVICE_DIRECTORY])
{
	if (s->conf->log_smtp_file.n > 0)
		return s->conf->log_smtp_file;
	if (service != NULL)
		return ga_smtp_service_directory(ga_object_name(service), room);
	return GA_STR("rspawn-limiter");
}

/* The limit of the block that the scope has the directive from. */
static struct slog_limit *
limit_of(struct slog_instance *i, const struct slog_scope *s, bool incoming)
{
	const struct ga_object *block = ga_settings_source(s->settings, "smtp_log", "log_smtp_max_rate");
	struct slog_limit *l;

	if (s->conf->log_smtp_max_rate.per_second <= 0)
		return NULL;
	pthread_mutex_lock(&i->lock);
	for (l = i->limits; l != NULL && (l->block != block || l->incoming != incoming); l = l->next)
		;
	if (l == NULL) {
		l = ga_xcalloc(1, sizeof *l);
		l->block = block;
		l->incoming = incoming;
		l->where = ga_settings_where(s->settings, "smtp_log", "log_smtp_max_rate");
		l->text = s->conf->log_smtp_max_rate.text;
		l->dir = s->dir;
		l->gap_us = (uint64_t)(1e6 / s->conf->log_smtp_max_rate.per_second);
		l->next = i->limits;
		i->limits = l;
	}
	pthread_mutex_unlock(&i->lock);
	return l;
}

static struct slog_scope *
scope_new(struct slog_loop *l, struct ga_call *call)
{
	const struct ga_settings *settings = ga_call_settings(call);
	const struct smtp_log_conf *c = ga_call_conf(call);
	const struct ga_object *service = ga_call_session(call) != NULL ? ga_settings_block(settings) : NULL;
	struct slog_scope *s = ga_xcalloc(1, sizeof *s);
	struct ga_str name;
	char room[GA_SMTP_SERVICE_DIRECTORY];

	s->settings = settings;
	s->conf = c;
	s->commands = c->log_smtp_commands;
	s->hexdump = c->log_smtp_hexdump;
	s->timings = c->log_smtp_timings;
	s->events = s->commands || s->hexdump || s->timings || c->log_smtp_connections;
	s->records = c->log_smtp_on_failure && !s->commands;
	s->recorded_lines = (unsigned)c->log_smtp_on_failure_lines;
	name = directory(s, service, room);
	s->dir = l->sink->open(name, 0, NULL);
	if (s->dir == NULL)
		ga_log(ga_call_inst(call), GA_ERR, "GA-SMTPLOG-0001", "%.*s cannot be a log directory: nothing is logged there",
		    (int)name.n, name.p);
	s->limit = limit_of(l->instance, s, ga_call_session(call) != NULL);
	return s;
}

struct slog_scope *
slog_scope(struct slog_loop *l, struct ga_call *call)
{
	const struct ga_settings *settings = ga_call_settings(call);
	struct slog_scope *s;

	HASH_FIND_PTR(l->scopes, &settings, s);
	if (s == NULL) {
		s = scope_new(l, call);
		HASH_ADD_PTR(l->scopes, settings, s);
	}
	return s;
}

void
slog_scopes_free(struct slog_loop *l)
{
	struct slog_scope *s, *next;

	HASH_ITER(hh, l->scopes, s, next) {
		HASH_DEL(l->scopes, s);
		free(s);
	}
}

void
slog_arm(struct slog_loop *l)
{
	if (l->armed)
		return;
	l->armed = true;
	ga_timer_arm(l->timer, TELL_MS, 0);
}
