/*
 * generation.c - the instances that go with one snapshot.
 *
 * A generation is made beside the one in force and replaces it whole, by one
 * pointer, or not at all.  When the last session or attempt that used an old
 * snapshot is gone, the instances that only it had are stopped on every worker
 * and freed on the main loop; that is what `released` sets off.
 *
 * Modules with GA_KEEP_INSTANCE have their one instance in every generation.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "loop/loop.h"
#include "module/generation.h"
#include "module/loader.h"
#include "module/log.h"

struct gac_generation *
gac_generation_of(const struct ga_snapshot *snapshot)
{
	return gac_snapshot_ctx(snapshot);
}

struct ga_inst *
gac_inst_of(const struct ga_snapshot *snapshot, unsigned index)
{
	const struct gac_generation *g = gac_generation_of(snapshot);

	for (unsigned i = 0; i < g->n; i++)
		if (g->codes[i]->index == index)
			return g->insts[i];
	return NULL;
}

/* --- an old generation goes --- */

static struct {
	struct gac_generation *stopping;	/* one at a time; others wait in queue */
	struct gac_generation *queue[64];
	unsigned queued;
	bool ending;			/* no loop runs any more */
} old;

static void
stop_old_here(struct ga_worker *w)
{
	struct gac_generation *g = old.stopping;

	for (unsigned i = g->n; i-- > 0;)
		if (g->fresh[i] && g->insts[i] != NULL) {
			if (g->insts[i]->module->desc.stop != NULL)
				g->insts[i]->module->desc.stop(g->insts[i], w);
			gac_loop_forget(w, g->insts[i]);
		}
}

static void
free_generation(struct gac_generation *g)
{
	for (unsigned i = g->n; i-- > 0;)
		if (g->fresh[i] && (g->insts[i] == NULL || g->insts[i]->module->kept != g->insts[i]))
			gac_inst_free(g->insts[i]);
	ga_pool_free(g->pool);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

static void next_old(void);

static void
old_stopped(void)
{
	free_generation(old.stopping);
	old.stopping = NULL;
	next_old();
}

static bool
has_own_instances(const struct gac_generation *g)
{
	for (unsigned i = 0; i < g->n; i++)
		if (g->fresh[i] && g->insts[i] != NULL && g->insts[i]->module->kept != g->insts[i])
			return true;
	return false;
}

static void
next_old(void)
{
	while (old.stopping == NULL && old.queued > 0) {
		struct gac_generation *g = old.queue[0];

		memmove(old.queue, old.queue + 1, --old.queued * sizeof old.queue[0]);
		if (!has_own_instances(g)) {
			free_generation(g);
			continue;
		}
		old.stopping = g;
		gac_on_each_worker(stop_old_here, old_stopped);
	}
}

static void
released_here(struct ga_worker *w, struct ga_post *post)
{
	struct gac_generation *g = GA_CONTAINER(post, struct gac_generation, released);

	(void)w;
	if (old.queued < sizeof old.queue / sizeof old.queue[0])
		old.queue[old.queued++] = g;
	next_old();
}

/* Any thread: the last reference of the snapshot went. */
static void
released(void *ctx, struct ga_snapshot *snapshot)
{
	struct gac_generation *g = ctx;

	(void)snapshot;
	g->snapshot = NULL;
	g->released.fn = released_here;
	if (ga_worker_count() > 0 && !old.ending)
		ga_loop_post(ga_worker_main(), &g->released);
	else
		free_generation(g);
}

/* --- making one --- */

static bool
hook_wanted(const void *arg, const struct ga_inst *inst, const char *hook)
{
	const struct ga_settings *settings = arg;
	const struct ga_module *desc = &inst->module->desc;

	return desc->wants_hook == NULL || desc->wants_hook(ga_settings_conf(settings, desc->head.name),
	    gac_settings_of_service(settings) ? GA_SCOPE_SERVICE : GA_SCOPE_DELIVERY, hook);
}

static const struct ga_plan *
build_plan(void *ctx, const struct ga_settings *settings, const uint64_t *enabled, size_t n)
{
	struct gac_generation *g = ctx;
	uint64_t modules = enabled[0];
	const struct ga_plan *plan;

	(void)n;
	for (unsigned i = 0; i < g->n; i++) {
		const struct ga_module *desc = &g->codes[i]->desc;

		if ((modules >> i & 1) != 0 && desc->wants != NULL &&
		    !desc->wants(ga_settings_conf(settings, desc->head.name)))
			modules &= ~(UINT64_C(1) << i);
	}
	pthread_mutex_lock(&g->lock);
	plan = gac_plan_build(g->pool, g->insts, g->n, modules, hook_wanted, settings);
	pthread_mutex_unlock(&g->lock);
	return plan;
}

/* As many as there are services times modules that leave sessions: few. */
struct gac_less {
	struct gac_less *next;
	const struct ga_plan *plan, *without;
	const struct ga_inst *inst;
};

const struct ga_plan *
gac_plan_without(const struct ga_snapshot *snapshot, const struct ga_plan *plan,
    const struct ga_inst *inst)
{
	struct gac_generation *g = gac_generation_of(snapshot);
	struct gac_less *l;

	pthread_mutex_lock(&g->lock);
	for (l = g->less; l != NULL && (l->plan != plan || l->inst != inst); l = l->next)
		;
	if (l == NULL) {
		l = ga_alloc(g->pool, sizeof *l);
		*l = (struct gac_less){ g->less, plan, gac_plan_copy_without(g->pool, plan, inst), inst };
		g->less = l;
	}
	pthread_mutex_unlock(&g->lock);
	return l->without;
}

static bool
open_code(struct gac_generation *g, const struct gac_conf *conf, size_t i, struct ga_diag *diag)
{
	const struct gac_manifest *m = gac_conf_manifest(conf, i);
	const char *name = gac_conf_module_name(conf, i);
	char err[512];

	g->codes[i] = gac_loader_open(name, m->path, m->text, err, sizeof err);
	if (g->codes[i] != NULL)
		return true;
	gac_diag_error_at(diag, gac_conf_module_pos(conf, i), "module %s (%s): %s", name,
	    m->path != NULL ? m->path : "built in", err);
	return false;
}

/* `needs` and `after` of the descriptors: checked, never repaired. */
static void
check_order(const struct gac_generation *g, const struct gac_conf *conf, size_t i,
    struct ga_diag *diag)
{
	const struct ga_module *desc = &g->codes[i]->desc;

	for (const char *const *need = desc->needs; need != NULL && *need != NULL; need++) {
		bool found = false;

		for (unsigned k = 0; k < g->n; k++)
			found = found || strcmp(g->codes[k]->desc.head.name, *need) == 0;
		if (!found)
			gac_diag_error_at(diag, gac_conf_module_pos(conf, i),
			    "module %s needs module %s: add `load_module %s`", desc->head.name, *need, *need);
	}
	for (const char *const *after = desc->after; after != NULL && *after != NULL; after++)
		for (unsigned k = (unsigned)i + 1; k < g->n; k++)
			if (strcmp(g->codes[k]->desc.head.name, *after) == 0)
				gac_diag_error_at(diag, gac_conf_module_pos(conf, i),
				    "module %s must come after module %s", desc->head.name, *after);
}

struct ga_snapshot *
gac_generation_load(struct gac_conf *conf, struct ga_diag *diag)
{
	struct gac_generation *g = ga_xcalloc(1, sizeof *g);
	struct gac_snapshot_module schemas[GAC_MODULES_MAX];
	struct gac_snapshot_options options = { schemas, 0, build_plan, released, g };
	size_t n = gac_conf_modules(conf);
	bool good = n <= GAC_MODULES_MAX;

	for (size_t i = 0; good && i < n; i++)
		good = open_code(g, conf, i, diag) && good;
	g->n = good ? (unsigned)n : 0;
	for (size_t i = 0; i < g->n; i++)
		check_order(g, conf, i, diag);
	if (!good || gac_diag_errors(diag) > 0) {
		gac_conf_free(conf);
		free(g);
		return NULL;
	}
	g->pool = ga_pool_new(0);
	pthread_mutex_init(&g->lock, NULL);
	for (unsigned i = 0; i < g->n; i++)
		schemas[i] = (struct gac_snapshot_module){ g->codes[i]->desc.head.name,
		    g->codes[i]->desc.conf };
	options.nmodules = g->n;
	g->snapshot = gac_snapshot_new(conf, &options);
	return g->snapshot;
}

static const void *
general_conf(const struct gac_generation *g, unsigned i)
{
	return ga_settings_conf(ga_snapshot_general(g->snapshot), g->codes[i]->desc.head.name);
}

struct checked {
	const struct gac_conf *conf;
	unsigned module;
};

static bool
locate(void *arg, const char *directive, struct gac_pos *pos)
{
	const struct checked *of = arg;

	return gac_conf_directive_pos(of->conf, of->module, directive, pos);
}

void
gac_generation_check(struct ga_snapshot *snapshot, struct ga_diag *diag)
{
	struct gac_generation *g = gac_generation_of(snapshot);

	for (unsigned i = 0; i < g->n; i++) {
		const struct ga_module *desc = &g->codes[i]->desc;
		struct checked of = { gac_snapshot_conf(snapshot), i };

		if (desc->check == NULL)
			continue;
		gac_diag_scope(diag, locate, &of, gac_conf_module_pos(of.conf, i), desc->head.name);
		gac_snapshot_coming(snapshot);
		if (!desc->check(general_conf(g, i), diag) && gac_diag_errors(diag) == 0)
			ga_diag_error(diag, NULL, "it refuses this configuration");
		gac_snapshot_coming(NULL);
		gac_diag_scope(diag, NULL, NULL, NULL, NULL);
	}
}

/* Ends an init() or reload(): the reasons of a refusal, one at least. */
static bool
verdict_of(const struct gac_code *code, bool good, const char *refused, char **why)
{
	*why = gac_log_collected();
	if (good) {
		free(*why);
		*why = NULL;
	} else if (*why == NULL) {
		gac_log_collect();
		gac_log(GA_ERR, code->desc.head.name, "GA-MOD-0001",
		    "the module refused %s and did not say why", refused);
		*why = gac_log_collected();
	}
	return good;
}

static bool
init_inst(struct gac_generation *g, unsigned i, char **why)
{
	struct gac_code *code = g->codes[i];
	struct ga_inst *inst = gac_inst_new(code, general_conf(g, i));

	g->insts[i] = inst;
	g->fresh[i] = true;
	gac_log_collect();
	if (!verdict_of(code, code->desc.init == NULL || code->desc.init(inst, inst->conf), "to start", why))
		return false;
	inst->initialised = true;
	if (code->desc.flags & GA_KEEP_INSTANCE)
		code->kept = inst;
	return true;
}

bool
gac_generation_init(struct ga_snapshot *snapshot)
{
	struct gac_generation *g = gac_generation_of(snapshot);

	char *why = NULL;
	bool good = true;

	gac_snapshot_coming(snapshot);
	for (unsigned i = 0; good && i < g->n; i++)
		good = init_inst(g, i, &why);
	free(why);
	gac_snapshot_coming(NULL);
	return good;
}

/* The instance that the module has in the snapshot in force. */
static struct ga_inst *
before(struct ga_snapshot *now, const struct gac_code *code)
{
	return now != NULL ? gac_inst_of(now, code->index) : NULL;
}

static bool
reload_inst(struct gac_generation *g, unsigned i, struct ga_snapshot *now, char **why)
{
	struct gac_code *code = g->codes[i];
	struct ga_inst *inst = code->kept, *previous;

	if (inst != NULL) {
		g->insts[i] = inst;
		gac_log_collect();
		return verdict_of(code, code->desc.reload == NULL || code->desc.reload(inst, general_conf(g, i)),
		    "the new configuration", why);
	}
	previous = before(now, code);
	if (!init_inst(g, i, why))
		return false;
	if (previous != NULL && code->desc.adopt != NULL)
		code->desc.adopt(g->insts[i], previous);
	return true;
}

/* Instances that are kept are the next generation's from now on: when this one goes,
 * perhaps last of all at the end of the process, it does not look at them. */
static void
hand_on_kept(struct gac_generation *g)
{
	for (unsigned i = 0; i < g->n; i++)
		if (g->insts[i] != NULL && g->insts[i]->module->kept == g->insts[i])
			g->fresh[i] = false;
}

static bool
has_code(const struct gac_generation *g, const struct gac_code *code)
{
	for (unsigned i = 0; i < g->n; i++)
		if (g->codes[i] == code)
			return true;
	return false;
}

/* A module that keeps its instance holds mail, connections or limits: it cannot go while
 * the others go on, and would find no settings of its own in a snapshot without it. */
static bool
keeps_all(const struct gac_generation *g, const struct gac_generation *now, char **why)
{
	for (unsigned i = 0; i < now->n; i++) {
		if (now->insts[i] == NULL || now->codes[i]->kept != now->insts[i] || has_code(g, now->codes[i]))
			continue;
		gac_log_collect();
		gac_log(GA_ERR, now->codes[i]->desc.head.name, "GA-MOD-0002",
		    "the new configuration does not load this module, which cannot go before the daemon ends: restart it");
		*why = gac_log_collected();
		return false;
	}
	return true;
}

bool
gac_generation_reload(struct ga_snapshot *snapshot, char **why)
{
	struct gac_generation *g = gac_generation_of(snapshot);

	struct ga_snapshot *now = ga_snapshot_current();
	bool good;

	*why = NULL;
	good = now == NULL || keeps_all(g, gac_generation_of(now), why);
	gac_snapshot_coming(snapshot);
	for (unsigned i = 0; good && i < g->n; i++)
		good = reload_inst(g, i, now, why);
	gac_snapshot_coming(NULL);
	if (good && now != NULL)
		hand_on_kept(gac_generation_of(now));
	ga_snapshot_unref(now);
	return good;
}

void
gac_generation_abandon(struct ga_snapshot *snapshot)
{
	struct gac_generation *g = gac_generation_of(snapshot);

	for (unsigned i = g->n; i-- > 0;) {
		if (!g->fresh[i])
			continue;
		if (g->insts[i] != NULL && g->codes[i]->kept == g->insts[i])
			g->codes[i]->kept = NULL;
		gac_inst_free(g->insts[i]);
		g->insts[i] = NULL;
		g->fresh[i] = false;
	}
}

void
gac_generation_end(struct ga_snapshot *never_published)
{
	struct ga_snapshot *now = ga_snapshot_current();
	struct gac_generation *g;

	old.ending = true;
	if (now == NULL)
		now = ga_snapshot_ref(never_published);
	g = gac_generation_of(now);
	for (unsigned i = g->n; i-- > 0;) {
		struct gac_code *code = g->codes[i];

		gac_inst_free(g->insts[i]);
		if (code->kept == g->insts[i])
			code->kept = NULL;
		g->insts[i] = NULL;
		g->fresh[i] = false;
	}
	while (old.queued > 0)
		free_generation(old.queue[--old.queued]);
	ga_snapshot_unref(now);
}

/* --- every worker --- */

struct each_worker {
	struct ga_post post;
};

static struct {
	struct each_worker *posts;
	void (*fn)(struct ga_worker *);
	void (*then)(void);
	_Atomic unsigned left;
	struct ga_post done;
	bool busy;
	struct { void (*fn)(struct ga_worker *); void (*then)(void); } waiting[16];
	unsigned nwaiting;
} each;

static void start_each(void (*fn)(struct ga_worker *), void (*then)(void));

static void
all_done(struct ga_worker *w, struct ga_post *post)
{
	void (*then)(void) = each.then;

	(void)w;
	(void)post;
	each.busy = false;
	free(each.posts);
	each.posts = NULL;
	if (each.nwaiting > 0) {
		void (*fn)(struct ga_worker *) = each.waiting[0].fn;
		void (*next)(void) = each.waiting[0].then;

		memmove(each.waiting, each.waiting + 1, --each.nwaiting * sizeof each.waiting[0]);
		start_each(fn, next);
	}
	if (then != NULL)
		then();
}

static void
here(struct ga_worker *w, struct ga_post *post)
{
	(void)post;
	each.fn(w);
	if (atomic_fetch_sub(&each.left, 1) == 1) {
		each.done.fn = all_done;
		ga_loop_post(ga_worker_main(), &each.done);
	}
}

static void
start_each(void (*fn)(struct ga_worker *), void (*then)(void))
{
	unsigned n = ga_worker_count();

	each.busy = true;
	each.fn = fn;
	each.then = then;
	each.posts = ga_xcalloc(n, sizeof *each.posts);
	atomic_store(&each.left, n);
	for (unsigned i = 0; i < n; i++) {
		each.posts[i].post.fn = here;
		ga_loop_post(ga_worker_get(i), &each.posts[i].post);
	}
}

void
gac_on_each_worker(void (*fn)(struct ga_worker *), void (*then)(void))
{
	if (!each.busy) {
		start_each(fn, then);
		return;
	}
	if (each.nwaiting < sizeof each.waiting / sizeof each.waiting[0]) {
		each.waiting[each.nwaiting].fn = fn;
		each.waiting[each.nwaiting++].then = then;
	}
}
