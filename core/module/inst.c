/*
 * inst.c - instances: their memory, counters, holds and log lines.
 *
 * An instance is made and freed on the main thread.  Holds are taken and given
 * back on any loop; there are few of them (what keeps a stop or an old
 * generation waiting), so a lock around one list is enough.
 */
#include "config.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/version.h"
#include "loop/loop.h"
#include "module/inst.h"
#include "module/log.h"

static struct {
	pthread_mutex_t lock;
	struct ga_hold *first;
	size_t n;
	void (*empty)(void);
	struct ga_post post;
	bool posted;
} holds = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct ga_inst *
gac_inst_new(struct gac_code *code, const void *conf)
{
	const struct ga_module *desc = &code->desc;
	struct ga_inst *inst = ga_xcalloc(1, sizeof *inst);
	unsigned loops = ga_worker_count() + 1;

	inst->module = code;
	inst->conf = conf;
	inst->pool = ga_pool_new(0);
	inst->state = ga_alloc(inst->pool, desc->inst_size + 1);
	inst->worker_state = ga_alloc(inst->pool, loops * sizeof *inst->worker_state);
	for (unsigned i = 0; i < loops; i++)
		inst->worker_state[i] = ga_alloc(inst->pool, desc->worker_size + 1);
	inst->stats = ga_alloc(inst->pool, (desc->nstats + 1) * sizeof *inst->stats);
	return inst;
}

void
gac_inst_free(struct ga_inst *inst)
{
	if (inst == NULL)
		return;
	if (inst->initialised && inst->module->desc.fini != NULL)
		inst->module->desc.fini(inst);
	gac_services_forget(inst);
	gac_loop_forget(ga_worker_main(), inst);
	ga_pool_free(inst->pool);
	free(inst);
}

void *
ga_inst_state(struct ga_inst *inst)
{
	return inst->state;
}

void *
ga_worker_state(struct ga_inst *inst, struct ga_worker *w)
{
	return inst->worker_state[ga_worker_index(w)];
}

struct ga_pool *
ga_inst_pool(struct ga_inst *inst)
{
	return inst->pool;
}

const char *
ga_inst_name(const struct ga_inst *inst)
{
	return inst != NULL ? inst->module->desc.head.name : "core";
}

/* --- counters --- */

void
ga_stat_add(struct ga_inst *inst, unsigned stat, int64_t by)
{
	if (stat < inst->module->desc.nstats)
		atomic_fetch_add_explicit(&inst->stats[stat], by, memory_order_relaxed);
}

int64_t
gac_inst_stat(const struct ga_inst *inst, unsigned stat)
{
	return atomic_load_explicit(&inst->stats[stat], memory_order_relaxed);
}

/* --- logs --- */

void
ga_log(struct ga_inst *inst, enum ga_level level, const char *tag, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	gac_vlog(level, ga_inst_name(inst), tag, NULL, fmt, ap);
	va_end(ap);
}

bool
ga_log_wanted(struct ga_inst *inst, enum ga_level level)
{
	(void)inst;
	return gac_log_wanted(level);
}

/* --- holds --- */

static void
run_empty(struct ga_worker *w, struct ga_post *post)
{
	bool empty;

	(void)w;
	(void)post;
	pthread_mutex_lock(&holds.lock);
	holds.posted = false;
	empty = holds.n == 0;
	pthread_mutex_unlock(&holds.lock);
	if (empty && holds.empty != NULL)
		holds.empty();
}

struct ga_hold *
ga_hold(struct ga_inst *inst, const char *what_for)
{
	struct ga_hold *h = ga_xcalloc(1, sizeof *h);

	h->inst = inst;
	h->what_for = what_for;
	pthread_mutex_lock(&holds.lock);
	h->next = holds.first;
	h->prev = &holds.first;
	if (h->next != NULL)
		h->next->prev = &h->next;
	holds.first = h;
	holds.n++;
	pthread_mutex_unlock(&holds.lock);
	return h;
}

void
ga_unhold(struct ga_hold *h)
{
	bool post;

	if (h == NULL)
		return;
	pthread_mutex_lock(&holds.lock);
	*h->prev = h->next;
	if (h->next != NULL)
		h->next->prev = h->prev;
	post = --holds.n == 0 && !holds.posted;
	if (post)
		holds.posted = true;
	pthread_mutex_unlock(&holds.lock);
	free(h);
	if (post) {
		holds.post.fn = run_empty;
		ga_loop_post(ga_worker_main(), &holds.post);
	}
}

size_t
gac_holds(const struct ga_inst *inst, void (*each)(const struct ga_hold *, void *), void *arg)
{
	size_t n = 0;

	pthread_mutex_lock(&holds.lock);
	for (const struct ga_hold *h = holds.first; h != NULL; h = h->next)
		if (inst == NULL || h->inst == inst) {
			n++;
			if (each != NULL)
				each(h, arg);
		}
	pthread_mutex_unlock(&holds.lock);
	return n;
}

void
gac_holds_empty(void (*fn)(void))
{
	holds.empty = fn;
}
