/*
 * bed.c - a daemon without a process: see bed.h.
 *
 * libltdl is told of the modules by a table of preloaded symbols, so that they
 * come in as they do when they are linked into greenarrowd.
 */
#include "config.h"

#include <ltdl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bed.h"
#include "conf/conf.h"
#include "loop/loop.h"
#include "module/generation.h"
#include "module/loader.h"
#include "module/log.h"
#include "module/wait.h"

#define MODULES_MAX 16

static struct {
	struct bed o;
	lt_dlsymlist symbols[2 * MODULES_MAX + 2];
	char names[2 * MODULES_MAX][64];
	struct ga_snapshot *snapshot;
	sem_t done;
} bed;

static void
die(const char *what)
{
	fprintf(stderr, "test bed: %s\n", what);
	abort();
}

/* --- configuration --- */

static void
preload(void)
{
	unsigned n = 0, names = 0;

	bed.symbols[n++].name = "@PROGRAM@";
	for (unsigned i = 0; bed.o.modules[i] != NULL; i++) {
		snprintf(bed.names[names], sizeof bed.names[0], "%s.a", bed.o.modules[i]->head.name);
		bed.symbols[n].address = NULL;
		bed.symbols[n++].name = bed.names[names++];
		snprintf(bed.names[names], sizeof bed.names[0], "%s_LTX_ga_module", bed.o.modules[i]->head.name);
		bed.symbols[n].address = (void *)(uintptr_t)bed.o.modules[i];
		bed.symbols[n++].name = bed.names[names++];
	}
	bed.symbols[n] = (lt_dlsymlist){ NULL, NULL };
	if (lt_dlpreload(bed.symbols) != 0)
		die("lt_dlpreload");
}

static struct ga_snapshot *
load(const char *conf, struct ga_diag *diag)
{
	struct gac_manifest_text builtin[MODULES_MAX];
	struct gac_conf_options options = { .file = "test.conf", .builtin = builtin, .no_files = true };
	struct gac_conf *loaded;
	struct ga_snapshot *snapshot = NULL;
	char *text = NULL;
	FILE *f = open_memstream(&text, &options.text_size);

	for (unsigned i = 0; bed.o.modules[i] != NULL; i++) {
		const struct ga_module *m = bed.o.modules[i];

		builtin[i] = (struct gac_manifest_text){ m->head.name, { m->manifest, strlen(m->manifest) } };
		fprintf(f, "load_module %s\n", m->head.name);
		options.nbuiltin++;
	}
	fputs(conf, f);
	fclose(f);
	options.text = text;
	loaded = gac_conf_load(&options, diag);
	if (loaded != NULL)
		snapshot = gac_generation_load(loaded, diag);
	if (snapshot != NULL)
		gac_generation_check(snapshot, diag);
	free(text);
	if (gac_diag_errors(diag) == 0 && snapshot != NULL)
		return snapshot;
	ga_snapshot_unref(snapshot);
	return NULL;
}

static struct ga_snapshot *
load_or_die(const char *conf)
{
	struct ga_diag *diag = gac_diag_new();
	struct ga_snapshot *snapshot = load(conf, diag);

	if (snapshot == NULL) {
		gac_diag_print(diag, stderr);
		die("the configuration has errors");
	}
	gac_diag_free(diag);
	return snapshot;
}

static void
begin(const struct bed *o)
{
	char err[256];

	bed.o = *o;
	if (bed.o.workers == 0)
		bed.o.workers = 1;
	if (!gac_loader_init(err, sizeof err))
		die(err);
	preload();
}

bool
bed_refuses(const struct bed *o)
{
	struct ga_diag *diag = gac_diag_new();
	struct ga_snapshot *snapshot;

	begin(o);
	gac_log_level(GA_ERR);
	snapshot = load(o->conf, diag);
	gac_diag_free(diag);
	ga_snapshot_unref(snapshot);
	gac_loader_free();
	return snapshot == NULL;
}

/* --- loops --- */

static void
each_module(struct ga_worker *w, void (*fn)(const struct ga_module *, struct ga_inst *, struct ga_worker *))
{
	struct ga_snapshot *now = ga_snapshot_current();
	const struct gac_generation *g = gac_generation_of(now);

	for (unsigned i = 0; i < g->n; i++)
		fn(&g->codes[i]->desc, g->insts[i], w);
	ga_snapshot_unref(now);
}

static void
start(const struct ga_module *m, struct ga_inst *inst, struct ga_worker *w)
{
	if (m->start != NULL && !m->start(inst, w))
		die("a module did not start");
}

static void
drain(const struct ga_module *m, struct ga_inst *inst, struct ga_worker *w)
{
	if (m->drain != NULL)
		m->drain(inst, w, ga_now_ms(w) + 20000);
}

static void
reloaded(const struct ga_module *m, struct ga_inst *inst, struct ga_worker *w)
{
	if (m->reloaded != NULL)
		m->reloaded(inst, w);
}

static void
start_here(struct ga_worker *w)
{
	each_module(w, start);
	if (bed.o.threads)
		sem_post(&bed.done);
}

/* Last loaded first. */
static void
stop_here(struct ga_worker *w)
{
	struct ga_snapshot *now = ga_snapshot_current();
	const struct gac_generation *g = gac_generation_of(now);

	for (unsigned i = g->n; i-- > 0;)
		if (g->codes[i]->desc.stop != NULL)
			g->codes[i]->desc.stop(g->insts[i], w);
	/* after all: who stops cancels its hooks, whose timers are those of other modules */
	for (unsigned i = g->n; i-- > 0;)
		gac_loop_forget(w, g->insts[i]);
	ga_snapshot_unref(now);
}

struct on {
	struct ga_post post;
	void (*fn)(struct ga_worker *, void *);
	void *arg;
};

static void
run_on(struct ga_worker *w, struct ga_post *post)
{
	struct on *on = GA_CONTAINER(post, struct on, post);

	on->fn(w, on->arg);
	sem_post(&bed.done);
}

void
bed_on(struct ga_worker *w, void (*fn)(struct ga_worker *, void *), void *arg)
{
	struct on on = { { NULL, run_on }, fn, arg };

	if (!bed.o.threads) {
		fn(w, arg);
		return;
	}
	ga_loop_post(w, &on.post);
	sem_wait(&bed.done);
}

static void
on_each(void (*fn)(struct ga_worker *, void *), void *arg)
{
	for (unsigned i = 0; i < ga_worker_count(); i++)
		bed_on(ga_worker_get(i), fn, arg);
}

void
bed_up(const struct bed *o)
{
	begin(o);
	gac_log_level(getenv("BED_LOG") != NULL ? GA_DEBUG : GA_ERR);
	bed.snapshot = load_or_die(o->conf);
	gac_loops_init(bed.o.workers);
	gac_waits_init();
	sem_init(&bed.done, 0, 0);
	if (!gac_generation_init(bed.snapshot))
		die("a module refused to start");
	gac_snapshot_publish(bed.snapshot);
	if (bed.o.threads) {
		gac_loops_start(start_here);
		for (unsigned i = 0; i < bed.o.workers; i++)
			sem_wait(&bed.done);
	} else {
		for (unsigned i = 0; i < bed.o.workers; i++)
			start_here(ga_worker_get(i));
	}
}

void
bed_turn(void)
{
	for (unsigned i = 0; i < ga_worker_count(); i++)
		ev_run(gac_loop_ev(ga_worker_get(i)), EVRUN_NOWAIT);
	ev_run(gac_loop_ev(ga_worker_main()), EVRUN_NOWAIT);
}

void
bed_turns(unsigned n)
{
	while (n-- > 0)
		bed_turn();
}

void
bed_until(bool (*fn)(void *), void *arg)
{
	uint64_t end = ga_wall_ms() + 20000;
	unsigned turns = 0;

	while (!fn(arg)) {
		if (bed.o.threads) {
			usleep(1000);
			ev_run(gac_loop_ev(ga_worker_main()), EVRUN_NOWAIT);
		} else {
			bed_turn();
		}
		if (ga_wall_ms() > end || (!bed.o.threads && ++turns > 2000000))
			die("waited in vain");
	}
}

static void
reloaded_here(struct ga_worker *w, void *arg)
{
	(void)arg;
	each_module(w, reloaded);
}

/* Those that the next snapshot has and the one in force has not. */
static void
start_new_here(struct ga_worker *w, void *arg)
{
	const struct gac_generation *g = gac_generation_of(arg);

	for (unsigned i = 0; i < g->n; i++)
		if (g->fresh[i])
			start(&g->codes[i]->desc, g->insts[i], w);
}

void
bed_reload(const char *conf)
{
	struct ga_snapshot *next = load_or_die(conf);
	char *why;

	if (!gac_generation_reload(next, &why))
		die("a module refused the reload");
	on_each(start_new_here, next);
	gac_snapshot_publish(next);
	ga_snapshot_unref(bed.snapshot);
	bed.snapshot = next;
	on_each(reloaded_here, NULL);
}

static void
drain_here(struct ga_worker *w, void *arg)
{
	(void)arg;
	each_module(w, drain);
}

void
bed_drain(void)
{
	on_each(drain_here, NULL);
}

bool
bed_held(void)
{
	return gac_holds(NULL, NULL, NULL) > 0;
}

void
bed_down(void)
{
	if (bed.o.threads)
		gac_loops_stop(stop_here);
	else
		for (unsigned i = 0; i < ga_worker_count(); i++)
			stop_here(ga_worker_get(i));
	/* old generations that are waiting to be freed */
	for (int i = 0; i < 8; i++)
		ev_run(gac_loop_ev(ga_worker_main()), EVRUN_NOWAIT);
	for (unsigned i = 0; i < gac_generation_of(bed.snapshot)->n; i++)
		gac_generation_of(bed.snapshot)->fresh[i] = true;
	gac_generation_abandon(bed.snapshot);
	gac_snapshot_publish(NULL);
	ga_snapshot_unref(bed.snapshot);
	for (int i = 0; i < 8; i++)
		ev_run(gac_loop_ev(ga_worker_main()), EVRUN_NOWAIT);
	gac_waits_free();
	gac_loops_free();
	gac_loader_free();
	sem_destroy(&bed.done);
}
