/*
 * wait.c - suspended calls: tokens, deadlines, exactly one of resume and cancelled.
 *
 * Each loop has a table of calls.  A token is loop, slot and generation; the
 * generation changes whenever the slot's call is answered or cancelled, so a
 * stale token finds nothing.  Calls are never given back to the allocator, which
 * is what makes looking at a stale slot safe.
 *
 * ga_resume() only notes that the call is to be resumed and posts it to its own
 * loop: resume functions run at the next turn, never inside ga_resume().  If the
 * call is cancelled while that post is under way, cancelled() runs at once,
 * resume() never, and the slot is free when the post arrives.
 *
 * An instance has max_waits of them at most: a dead database must not fill the
 * daemon with sessions that wait for it.
 */
#include "config.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "loop/loop.h"
#include "module/call.h"
#include "module/log.h"
#include "module/wait.h"

#define SLOT_BITS 24
#define SLOTS_MAX (1u << SLOT_BITS)

struct wait_table {
	struct ga_call **calls;
	uint32_t n, room;
	uint32_t *free;			/* slots, newest last */
	uint32_t nfree, free_room;
	_Atomic uint64_t stale;
	bool closed;			/* the daemon ends: nobody may wait any more */
};

static struct wait_table *tables;	/* one a loop, the main loop's last */
static _Atomic unsigned max_waits = 10000;

void
gac_waits_limit(unsigned max)
{
	atomic_store(&max_waits, max);
}

uint64_t
gac_waits_stale(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; tables != NULL && i <= ga_worker_count(); i++)
		n += atomic_load_explicit(&tables[i].stale, memory_order_relaxed);
	return n;
}

void
gac_waits_init(void)
{
	tables = ga_xcalloc(ga_worker_count() + 1, sizeof *tables);
}

void
gac_waits_free(void)
{
	for (unsigned i = 0; tables != NULL && i <= ga_worker_count(); i++) {
		for (uint32_t k = 0; k < tables[i].n; k++)
			free(tables[i].calls[k]);
		free(tables[i].calls);
		free(tables[i].free);
	}
	free(tables);
	tables = NULL;
}

struct ga_call *
gac_call_new(struct ga_worker *w)
{
	struct wait_table *t = &tables[ga_worker_index(w)];
	struct ga_call *call;

	if (t->nfree > 0)
		return t->calls[t->free[--t->nfree]];
	if (t->n == t->room) {
		t->room = t->room > 0 ? t->room * 2 : 64;
		t->calls = ga_xrealloc(t->calls, t->room * sizeof *t->calls);
	}
	call = ga_xcalloc(1, sizeof *call);
	call->slot = t->n;
	call->generation = 1;
	t->calls[t->n++] = call;
	return call;
}

static void
slot_free(struct ga_worker *w, struct ga_call *call)
{
	struct wait_table *t = &tables[ga_worker_index(w)];

	if (t->nfree == t->free_room) {
		t->free_room = t->free_room > 0 ? t->free_room * 2 : 64;
		t->free = ga_xrealloc(t->free, t->free_room * sizeof *t->free);
	}
	t->free[t->nfree++] = call->slot;
}

static void
wake_up(struct ga_call *call)
{
	if (call->suspended)
		atomic_fetch_sub(&call->step->inst->waits, 1);
	ga_timer_free(call->deadline);
	call->deadline = NULL;
	call->suspended = call->resumed = false;
}

/* Ends the waiting part of a call: timers and awaits. */
static void
end_wait(struct ga_call *call)
{
	gac_await_stop(call);
	wake_up(call);
}

void
gac_call_free(struct ga_call *call)
{
	struct ga_worker *w = call->run != NULL ? call->run->worker : ga_worker_self();

	end_wait(call);
	ga_pool_free(call->pool);
	call->pool = NULL;
	call->generation++;
	call->run = NULL;
	call->dns = NULL;
	if (call->turning)
		call->dead = true;
	else
		slot_free(w, call);
}

void
gac_call_cancel(struct ga_call *call, enum ga_why why)
{
	void (*cancelled)(void *, enum ga_why) = call->suspended ? call->cancelled : NULL;
	void *arg = call->arg;

	end_wait(call);
	if (cancelled != NULL)
		cancelled(arg, why);
	gac_call_free(call);
}

/* The module is told why, and its on_failure is the answer. */
static void
give_up(struct ga_call *call, enum ga_why why)
{
	void (*cancelled)(void *, enum ga_why) = call->cancelled;
	void *arg = call->arg;

	end_wait(call);
	call->generation++;
	if (cancelled != NULL)
		cancelled(arg, why);
	gac_call_continue(call, GA_FAILED_);
}

static void
timed_out(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	struct ga_call *call = arg;

	(void)inst;
	gac_log(GA_WARN, ga_inst_name(call->step->inst), "GA-HOOK-TIMEOUT",
	    "%s: no answer from \"%s\" after %llu ms", gac_hooks[call->hook].name, call->label,
	    (unsigned long long)(ga_now_ms(w) - call->since_ms));
	give_up(call, GA_WHY_TIMEOUT);
}

void
gac_waits_give_up(struct ga_worker *w)
{
	struct wait_table *t = &tables[ga_worker_index(w)];

	t->closed = true;
	for (uint32_t i = 0; i < t->n; i++)
		if (t->calls[i]->suspended)
			give_up(t->calls[i], GA_WHY_DRAIN);
}

static void
turn(struct ga_worker *w, struct ga_post *post)
{
	struct ga_call *call = GA_CONTAINER(post, struct ga_call, turn);
	ga_resume_fn *resume = call->resume;
	void *arg = call->arg;
	struct gac_entered outer;
	enum ga_verdict verdict;

	call->turning = false;
	if (call->dead) {
		call->dead = false;
		slot_free(w, call);
		return;
	}
	if (!call->resumed)
		return;
	wake_up(call);
	call->generation++;
	call->running = true;
	outer = gac_loop_enter(w, (const void *)resume);
	verdict = resume(call, arg);
	gac_loop_leave(w, outer);
	call->running = false;
	if (!call->suspended)
		gac_await_stop(call);
	gac_call_continue(call, verdict);
}

enum ga_verdict
ga_suspend(struct ga_call *call, const struct ga_wait *wait, struct ga_token *token)
{
	struct ga_worker *w = call->run->worker;
	enum gac_hook_class class = gac_hooks[call->hook].class;

	if ((class != GAC_DECIDE && class != GAC_SHAPE) || call->suspended || !call->running)
		return ga_fail(call, "may not wait here");
	if (tables[ga_worker_index(w)].closed)
		return ga_fail(call, "may not wait any more: the daemon ends");
	if (atomic_fetch_add(&call->step->inst->waits, 1) >= atomic_load(&max_waits)) {
		atomic_fetch_sub(&call->step->inst->waits, 1);
		return ga_fail(call, "max_waits calls of this module wait already");
	}
	gac_await_stop(call);
	call->suspended = true;
	call->resumed = false;
	call->label = wait->label != NULL ? wait->label : "";
	call->since_ms = ga_now_ms(w);
	call->resume = wait->resume;
	call->cancelled = wait->cancelled;
	call->arg = wait->arg;
	call->deadline = ga_timer_new(call->step->inst, w, timed_out, call);
	call->until_ms = call->since_ms + (wait->timeout_ms > 0 ? wait->timeout_ms : GAC_HOOK_TIMEOUT_MS);
	ga_timer_arm(call->deadline, call->until_ms - call->since_ms, 0);
	if (token != NULL)
		token->id = (uint64_t)ga_worker_index(w) << 56 |
		    (uint64_t)call->slot << 32 | call->generation;
	return GA_SUSPENDED_;
}

bool
ga_resume(struct ga_worker *w, struct ga_token token)
{
	struct wait_table *t = &tables[ga_worker_index(w)];
	uint32_t slot = (uint32_t)(token.id >> 32) & (SLOTS_MAX - 1);
	struct ga_call *call = slot < t->n ? t->calls[slot] : NULL;

	if (call == NULL || call->generation != (uint32_t)token.id || !call->suspended ||
	    call->resumed) {
		atomic_fetch_add_explicit(&t->stale, 1, memory_order_relaxed);
		return false;
	}
	call->resumed = true;
	if (!call->turning) {
		call->turning = true;
		call->turn.fn = turn;
		ga_loop_post(w, &call->turn);
	}
	return true;
}

struct far_resume {
	struct ga_post post;
	struct ga_token token;
};

static void
resume_here(struct ga_worker *w, struct ga_post *post)
{
	struct far_resume *far = GA_CONTAINER(post, struct far_resume, post);

	ga_resume(w, far->token);
	free(far);
}

bool
ga_resume_from_thread(struct ga_token token)
{
	unsigned index = (unsigned)(token.id >> 56);
	struct far_resume *far;

	if (index > ga_worker_count())
		return false;
	far = ga_xmalloc(sizeof *far);
	far->post.fn = resume_here;
	far->token = token;
	ga_loop_post(index == ga_worker_count() ? ga_worker_main() : ga_worker_get(index), &far->post);
	return true;
}

/* --- the report: loop after loop --- */

struct walk {
	struct ga_post post;
	unsigned at;
	void (*each)(const struct gac_wait_info *, void *);
	void (*end)(void *);
	void *arg;
};

static void
walk_end(struct ga_worker *w, struct ga_post *post)
{
	struct walk *walk = GA_CONTAINER(post, struct walk, post);

	(void)w;
	walk->end(walk->arg);
	free(walk);
}

static void
walk_here(struct ga_worker *w, struct ga_post *post)
{
	struct walk *walk = GA_CONTAINER(post, struct walk, post);
	const struct wait_table *t = &tables[ga_worker_index(w)];
	uint64_t now = ga_now_ms(w);

	for (uint32_t i = 0; i < t->n; i++) {
		const struct ga_call *call = t->calls[i];

		if (!call->suspended)
			continue;
		walk->each(&(struct gac_wait_info){ .loop = ga_worker_index(w),
		    .object_id = call->run->object_id, .module = ga_inst_name(call->step->inst),
		    .hook = gac_hooks[call->hook].name, .label = call->label,
		    .age_ms = now - call->since_ms,
		    .left_ms = call->until_ms > now ? call->until_ms - now : 0 }, walk->arg);
	}
	walk->at++;
	walk->post.fn = walk->at < ga_worker_count() ? walk_here : walk_end;
	ga_loop_post(walk->at < ga_worker_count() ? ga_worker_get(walk->at) : ga_worker_main(), &walk->post);
}

void
gac_waits_each(void (*each)(const struct gac_wait_info *, void *arg), void (*end)(void *arg), void *arg)
{
	struct walk *walk = ga_xcalloc(1, sizeof *walk);

	walk->each = each;
	walk->end = end;
	walk->arg = arg;
	walk->post.fn = walk_here;
	ga_loop_post(ga_worker_get(0), &walk->post);
}
