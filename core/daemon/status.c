/*
 * status.c - what the core itself answers: status and waits.
 *
 * status: the core gives version, uptime, loops, reload and what holds; every
 * module adds its own part (ga_status_register).  waits: the hooks that a module
 * has not answered yet.  Main loop.
 */
#include "config.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/version.h"
#include "control/server.h"
#include "daemon/daemon.h"
#include "loop/loop.h"
#include "module/wait.h"
#include "net/dns.h"

static void
add(struct json_object *o, const char *key, struct json_object *value)
{
	json_object_object_add(o, key, value);
}

static void
add_hold(const struct ga_hold *h, void *arg)
{
	struct json_object *o = json_object_new_object();

	add(o, "module", json_object_new_string(ga_inst_name(h->inst)));
	add(o, "for", json_object_new_string(h->what_for));
	json_object_array_add(arg, o);
}

static struct json_object *
loops(void)
{
	struct json_object *list = json_object_new_array();

	for (unsigned i = 0; i < ga_worker_count(); i++) {
		struct json_object *o = json_object_new_object();

		add(o, "loop", json_object_new_int((int)i));
		add(o, "sessions", json_object_new_int((int)gac_worker_sessions(ga_worker_get(i))));
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *
last_reload(uint64_t generation)
{
	struct json_object *o = json_object_new_object();

	add(o, "generation", json_object_new_int64((int64_t)generation));
	add(o, "time_ms", json_object_new_int64((int64_t)gac_daemon.reload_ms));
	add(o, "ok", json_object_new_boolean(gac_daemon.reload_ms == 0 || gac_daemon.reload_ok));
	add(o, "message", json_object_new_string(gac_daemon.reload_message));
	return o;
}

static struct json_object *
counters(struct ga_snapshot *snapshot)
{
	struct json_object *all = json_object_new_object();
	const struct gac_generation *g = gac_generation_of(snapshot);

	for (unsigned i = 0; i < g->n; i++) {
		const struct ga_module *desc = &g->codes[i]->desc;
		struct json_object *o;

		if (desc->nstats == 0 || g->insts[i] == NULL)
			continue;
		o = json_object_new_object();
		for (unsigned k = 0; k < desc->nstats; k++)
			add(o, desc->stats[k].name, json_object_new_int64(gac_inst_stat(g->insts[i], k)));
		add(all, desc->head.name, o);
	}
	return all;
}

static void
status(struct ga_control_call *call, struct json_object *args, void *arg)
{
	struct json_object *o = json_object_new_object(), *holds = json_object_new_array();
	struct ga_snapshot *snapshot = ga_snapshot_current();

	(void)args;
	(void)arg;
	add(o, "version", json_object_new_string(gac_version()));
	add(o, "pid", json_object_new_int((int)getpid()));
	add(o, "hostname", json_object_new_string(ga_hostname()));
	add(o, "config", json_object_new_string(gac_daemon.config_file));
	add(o, "started_ms", json_object_new_int64((int64_t)gac_daemon.started_ms));
	add(o, "uptime_ms", json_object_new_int64((int64_t)(ga_wall_ms() - gac_daemon.started_ms)));
	add(o, "loops", loops());
	add(o, "reload", last_reload(ga_snapshot_number(snapshot)));
	gac_holds(NULL, add_hold, holds);
	add(o, "holds", holds);
	add(o, "stale_resume_total", json_object_new_int64((int64_t)gac_waits_stale()));
	add(o, "counters", counters(snapshot));
	gac_status_fill(o);
	ga_snapshot_unref(snapshot);
	ga_control_reply(call, o);
}

/* A part like those of modules. */
static void
add_dns(struct ga_inst *inst, struct json_object *status)
{
	struct json_object *o = json_object_new_object();
	struct gac_dns_counts c = gac_dns_counts();

	(void)inst;
	add(o, "questions_total", json_object_new_int64((int64_t)c.questions));
	add(o, "resolved_total", json_object_new_int64((int64_t)c.resolved));
	add(o, "resolve_ms_total", json_object_new_int64((int64_t)(c.resolve_us / 1000)));
	add(status, "dns", o);
}

/* --- waits --- */

struct waits {
	struct ga_control_call *call;
	struct json_object *list;
};

static void
add_wait(const struct gac_wait_info *info, void *arg)
{
	struct waits *waits = arg;
	struct json_object *o = json_object_new_object();

	add(o, "module", json_object_new_string(info->module));
	add(o, "hook", json_object_new_string(info->hook));
	add(o, "for", json_object_new_string(info->label));
	add(o, "object", json_object_new_uint64(info->object_id));
	add(o, "loop", json_object_new_int((int)info->loop));
	add(o, "age_ms", json_object_new_int64((int64_t)info->age_ms));
	add(o, "left_ms", json_object_new_int64((int64_t)info->left_ms));
	json_object_array_add(waits->list, o);
}

static void
waits_end(void *arg)
{
	struct waits *waits = arg;
	struct json_object *o = json_object_new_object();

	add(o, "waits", waits->list);
	ga_control_reply(waits->call, o);
	free(waits);
}

static void
waits(struct ga_control_call *call, struct json_object *args, void *arg)
{
	struct waits *waits = ga_xcalloc(1, sizeof *waits);

	(void)args;
	(void)arg;
	waits->call = call;
	waits->list = json_object_new_array();
	gac_waits_each(add_wait, waits_end, waits);
}

void
gac_status_commands(void)
{
	ga_control_register(NULL, "waits", "hooks that a module has not answered yet", waits, NULL);
	ga_status_register(NULL, add_dns);
	ga_control_register(NULL, "status", "what the daemon is doing", status, NULL);
}
