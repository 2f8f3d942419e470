/*
 * smtp_server.c - SMTP in: the module's descriptor and life.
 *
 * Called by the loader.  The smtp_service blocks become listeners and generations
 * of settings (service.c); a socket comes to accepted() on the loop with the fewest
 * sessions and stays there (session.c).  One instance for the life of the
 * process: a reload changes what new sessions see, open ones finish as they
 * began, and so does the restart of one service (switch.c).  When the daemon ends, sessions between transactions are told so at once,
 * those in one may finish it, and shortly before the deadline all are ended.
 *
 * Owns per loop: struct smtpd_worker with the sessions and the buffers they share.
 */
#define GA_LEVEL GA_ABI_STRICT
#include <unistd.h>

#include <greenarrow/json.h>
#include <greenarrow/run.h>
#include <greenarrow/service/control.h>

#include "session.h"
#include "smtp_user.h"
#include "switch.h"
#include "variables.h"

/* Before the deadline of a drain: time for the 421 to get out. */
#define DRAIN_MARGIN_MS 1500u

struct smtp_server {
	struct smtpd_service *services;
};

static void
turn_away(struct smtpd_worker *w, struct ga_stream *stream, const char *why)
{
	struct ga_pool *pool = ga_pool_new(256);
	struct ga_str text = ga_fmt(pool, "421 %.5s %s%s\r\n", why, ga_hostname(), why + 5);
	struct iovec v = { .iov_base = (void *)(uintptr_t)text.p, .iov_len = text.n };

	/* a new socket has room for a line; if not, the close must do */
	if (ga_stream_writev(stream, &v, 1) < 0)
		ga_log(w->inst, GA_DEBUG, "GA-SMTPD-0012", "a client was gone before its 421");
	ga_stream_close(stream, false);
	ga_pool_free(pool);
}

static const char *
take_slot(struct smtpd_worker *w, struct smtpd_gen *g, struct smtpd_arrival *a, bool uncounted)
{
	unsigned per_client = uncounted ? 0 : (unsigned)g->conf->max_connections_per_client;
	unsigned max = g->access.listeners.max_connections;
	enum smtpd_slot slot;

	if (w->draining)
		return "4.3.2 Shutting down";
	slot = smtpd_limits_take(&g->service->limits, &a->peer, max, per_client, &a->client);
	if (slot == SMTPD_SLOT_CLIENT && smtpd_variables_may_relay(g)) {
		a->crowded = true;	/* who may relay may have more: connect will tell */
		slot = smtpd_limits_take(&g->service->limits, &a->peer, max, 0, &a->client);
	}
	return slot == SMTPD_SLOT_OK ? NULL : slot == SMTPD_SLOT_FULL ? "4.3.2 Too many connections" :
	    "4.7.0 Too many connections from your address";
}

/* Nobody who expects TLS can read a 421. */
static void
arrived(struct smtpd_worker *w, struct smtpd_service *service, int fd, const struct ga_sockaddr *peer,
    const struct ga_sockaddr *local, bool tls)
{
	struct smtpd_gen *g = smtpd_gen_get(service);
	struct smtpd_arrival a = { .peer = *peer, .local = *local, .tls = tls };
	const char *why;

	atomic_fetch_add(&service->count.connections, 1);
	if (g == NULL) {
		close(fd);		/* its block has just been taken out */
		return;
	}
	a.stream = ga_stream_fd(w->loop, fd, peer, local);
	a.proxied = smtpd_networks_have(&g->access.proxies, peer);
	a.relays = !a.proxied && smtpd_gen_relays(g, peer);
	/* a proxy's clients are counted each when it is known who they are */
	why = take_slot(w, g, &a, a.relays || a.proxied);
	if (why == NULL) {
		smtpd_session_new(w, g, &a);
		return;
	}
	atomic_fetch_add(&service->count.refused, 1);
	if (tls)
		ga_stream_close(a.stream, false);
	else
		turn_away(w, a.stream, why);
	smtpd_gen_unref(g);
}

static void
accepted(struct ga_inst *inst, struct ga_worker *loop, int fd, const struct ga_sockaddr *peer,
    const struct ga_sockaddr *local, void *arg)
{
	arrived(ga_worker_state(inst, loop), arg, fd, peer, local, false);
}

static void
accepted_tls(struct ga_inst *inst, struct ga_worker *loop, int fd, const struct ga_sockaddr *peer,
    const struct ga_sockaddr *local, void *arg)
{
	arrived(ga_worker_state(inst, loop), arg, fd, peer, local, true);
}

/* --- status --- */

static struct json_object *
service_status(struct smtpd_service *s)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "name", json_object_new_string(s->name));
	json_object_object_add(o, "state", json_object_new_string(smtpd_switch_word(s)));
	ga_json_put_int(o, "sessions", atomic_load(&s->limits.sessions));
	ga_json_put_int(o, "connections", atomic_load(&s->count.connections));
	ga_json_put_int(o, "refused", atomic_load(&s->count.refused));
	ga_json_put_int(o, "messages", atomic_load(&s->count.messages));
	ga_json_put_int(o, "recipients", atomic_load(&s->count.recipients));
	ga_json_put_int(o, "octets", atomic_load(&s->count.octets));
	ga_json_put_int(o, "messages_refused", atomic_load(&s->count.messages_refused));
	ga_json_put_int(o, "tls", atomic_load(&s->count.tls));
	return o;
}

static void
status(struct ga_inst *inst, struct json_object *to)
{
	struct smtp_server *m = ga_inst_state(inst);
	struct json_object *list = json_object_new_array();

	for (struct smtpd_service *s = m->services; s != NULL; s = s->next)
		json_object_array_add(list, service_status(s));
	json_object_object_add(to, "smtp_services", list);
}

/* --- life --- */

static bool
stage_current(struct ga_inst *inst)
{
	struct smtp_server *m = ga_inst_state(inst);
	struct ga_snapshot *snapshot = ga_snapshot_current();
	bool ok = smtpd_services_stage(inst, &m->services, snapshot, accepted, accepted_tls);

	ga_snapshot_unref(snapshot);
	return ok;
}

static bool
server_check(const void *conf, struct ga_diag *diag)
{
	return smtpd_access_check(conf, diag);
}

static bool
server_init(struct ga_inst *inst, const void *conf)
{
	struct smtp_server *m = ga_inst_state(inst);

	if (!stage_current(inst)) {
		smtpd_services_free(m->services);
		m->services = NULL;
		return false;
	}
	smtpd_switch_init(inst, &m->services, accepted, accepted_tls);
	ga_status_register(inst, status);
	return true;
}

static bool
server_start(struct ga_inst *inst, struct ga_worker *loop)
{
	struct smtp_server *m = ga_inst_state(inst);
	struct smtpd_worker *w = ga_worker_state(inst, loop);

	smtpd_services_apply(m->services);
	smtpd_switch_changed();
	w->inst = inst;
	w->loop = loop;
	w->intake = ga_service_get(GA_INTAKE_SERVICE, GA_INTAKE_VERSION);
	w->spool = ga_service_get(GA_SPOOL_SERVICE, GA_SPOOL_VERSION);
	if (w->intake == NULL)
		ga_log(inst, GA_ERR, "GA-SMTPD-0006",
		    "no module takes mail in: smtp_server needs `load_module queue`");
	return w->intake != NULL;
}

static bool
server_reload(struct ga_inst *inst, const void *conf)
{
	return stage_current(inst);
}

static void
server_reloaded(struct ga_inst *inst, struct ga_worker *loop)
{
	struct smtp_server *m = ga_inst_state(inst);

	smtpd_services_apply(m->services);
	smtpd_switch_changed();
}

static void
each_session(struct smtpd_worker *w, bool force)
{
	struct smtpd_session *next;

	for (struct smtpd_session *s = w->sessions; s != NULL; s = next) {
		next = s->next;
		smtpd_drain_session(s, force);
	}
}

static void
drain_deadline(struct ga_inst *inst, struct ga_worker *loop, void *arg)
{
	each_session(arg, true);
}

static void
server_drain(struct ga_inst *inst, struct ga_worker *loop, uint64_t until_ms)
{
	struct smtpd_worker *w = ga_worker_state(inst, loop);
	uint64_t now = ga_now_ms(loop);

	w->draining = true;
	each_session(w, false);
	if (w->nsessions == 0)
		return;
	w->hold = ga_hold(inst, "SMTP sessions");
	w->drain_timer = ga_timer_new(inst, loop, drain_deadline, w);
	ga_timer_arm(w->drain_timer,
	    until_ms > now + DRAIN_MARGIN_MS ? until_ms - now - DRAIN_MARGIN_MS : 0, 0);
}

static void
server_stop(struct ga_inst *inst, struct ga_worker *loop)
{
	struct smtpd_worker *w = ga_worker_state(inst, loop);
	struct smtpd_session *next;

	w->stopping = true;
	ga_timer_free(w->drain_timer);
	w->drain_timer = NULL;
	for (struct smtpd_session *s = w->sessions; s != NULL; s = next) {
		next = s->next;
		smtpd_enter(s);
		smtpd_abort(s);
		smtpd_leave(s);
	}
}

static void
server_fini(struct ga_inst *inst)
{
	struct smtp_server *m = ga_inst_state(inst);

	smtpd_switch_fini();
	smtpd_services_free(m->services);
	m->services = NULL;
}

#define GA_CF_SELF_ struct smtpd_conf
GA_CONF_SCHEMA(smtpd_conf, SMTPD_DIRECTIVES);

static const char *const server_after[] = { "spool", "queue", "svc", NULL };

static const struct ga_command commands[] = {
	{ "smtp_user", "[--crypt] [--mail-class=CLASS] NAME",
	  "make a line for smtp_users, of a password that it reads", smtpd_user_command },
	{ NULL, NULL, NULL, NULL }
};

GA_MODULE(smtp_server, "1.0.0", "smtp_service", GA_NO_HOOKS, SMTPD_DIRECTIVES,
    .summary = "takes mail in over SMTP",
    .conf = &smtpd_conf_schema,
    .flags = GA_KEEP_INSTANCE,
    .after = server_after,
    .inst_size = sizeof(struct smtp_server),
    .worker_size = sizeof(struct smtpd_worker),
    .commands = commands,
    .check = server_check,
    .init = server_init,
    .start = server_start,
    .reload = server_reload,
    .reloaded = server_reloaded,
    .drain = server_drain,
    .stop = server_stop,
    .fini = server_fini);
