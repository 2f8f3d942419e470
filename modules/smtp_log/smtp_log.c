/*
 * smtp_log.c - the module: SMTP sessions, outgoing and incoming, in log directories.
 *
 * Watches sessions and writes lines through the service log_sink, which never waits; nothing of
 * this module does.  What is logged is said by directives for outgoing sessions (out.c), by
 * variables for incoming ones (in.c).  A scope in which nothing is to be logged is not asked
 * (wants_hook), nor is a session (ga_session_leave).
 *
 * An instance is one configuration: scopes and limits point into its snapshot.
 */
#include "smtp_log.h"

#include <stdlib.h>

#define GA_CF_SELF_ struct smtp_log_conf
GA_CONF_SCHEMA(smtp_log_conf, SLOG_DIRECTIVES);

/* Both directions have `line` and `bytes`. */
static void
on_line(struct ga_call *call, const struct ga_ev_line *ev)
{
	if (ev->kind == GA_IN_CMD || ev->kind == GA_IN_REPLY)
		slog_in_line(call, ev);
	else
		slog_out_line(call, ev);
}

static void
on_bytes(struct ga_call *call, const struct ga_ev_bytes *ev)
{
	if (ev->kind == GA_IN_CMD)
		slog_in_bytes(call, ev);
	else
		slog_out_bytes(call, ev);
}

static bool
wants_hook(const void *conf, enum ga_scope scope, const char *hook)
{
	return scope == GA_SCOPE_SERVICE || slog_out_wants(conf, hook);
}

/* --- life --- */

static bool
slog_init(struct ga_inst *inst, const void *conf)
{
	const struct smtp_log_conf *c = conf;
	struct slog_instance *i = ga_inst_state(inst);

	pthread_mutex_init(&i->lock, NULL);
	slog_record_memory(c->log_smtp_on_failure_memory);
	return true;
}

static void
slog_fini(struct ga_inst *inst)
{
	struct slog_instance *i = ga_inst_state(inst);
	struct slog_limit *l;

	for (unsigned w = 0; w < ga_worker_count(); w++)
		slog_scopes_free(ga_worker_state(inst, ga_worker_get(w)));
	while ((l = i->limits) != NULL) {
		i->limits = l->next;
		free(l);
	}
	pthread_mutex_destroy(&i->lock);
}

static void
tell_limits(struct slog_loop *l)
{
	pthread_mutex_lock(&l->instance->lock);
	for (struct slog_limit *limit = l->instance->limits; limit != NULL; limit = limit->next)
		slog_limit_tell(limit, l->sink);
	pthread_mutex_unlock(&l->instance->lock);
}

static void
timer_fired(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	struct slog_loop *l = arg;

	l->armed = false;
	tell_limits(l);
}

static bool
slog_start(struct ga_inst *inst, struct ga_worker *w)
{
	struct slog_loop *l = ga_worker_state(inst, w);

	l->instance = ga_inst_state(inst);
	l->sink = ga_service_get(GA_LOG_SINK_SERVICE, GA_LOG_SINK_VERSION);
	if (l->sink == NULL) {
		ga_log(inst, GA_ERR, "GA-SMTPLOG-0002", "no module provides service \"%s\": is `load_module service_log` there?",
		    GA_LOG_SINK_SERVICE);
		return false;
	}
	l->timer = ga_timer_new(inst, w, timer_fired, l);
	return true;
}

/* Sessions may outlive it, on this loop: they find no sink.  Their scopes stay until fini. */
static void
slog_stop(struct ga_inst *inst, struct ga_worker *w)
{
	struct slog_loop *l = ga_worker_state(inst, w);

	if (l->sink == NULL)
		return;
	tell_limits(l);
	ga_timer_free(l->timer);
	l->sink = NULL;
}

#define SLOG_HOOKS(X)									\
	X(connect, slog_in_connect) X(tls, slog_in_tls) X(disconnect, slog_in_disconnect)	\
	X(line, on_line) X(bytes, on_bytes)						\
	X(connection_opened, slog_out_opened) X(connection_failed, slog_out_failed)		\
	X(connection_tls, slog_out_tls) X(connection_saved, slog_out_saved)			\
	X(connection_reused, slog_out_reused) X(connection_closed, slog_out_closed)		\
	X(attempt_failed, slog_out_attempt)

GA_MODULE(smtp_log, "1.0.0", "smtp_service ip_address relay_server domain", SLOG_HOOKS, SLOG_DIRECTIVES,
    .summary = "SMTP sessions in log directories, and the last lines of those that failed",
    .conf = &smtp_log_conf_schema,
    .inst_size = sizeof(struct slog_instance),
    .worker_size = sizeof(struct slog_loop),
    .session_size = sizeof(struct slog_in),
    .connection_size = sizeof(struct slog_out),
    .on_failure = GA_ACCEPT,
    .init = slog_init,
    .fini = slog_fini,
    .start = slog_start,
    .stop = slog_stop,
    .connection_end = slog_out_end,
    .wants_hook = wants_hook);
