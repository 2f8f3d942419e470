/*
 * run.c - walks the functions of a hook.
 *
 * A decide or shape hook is asked until one answers something else than PASS; a
 * permit hook until one holds, and then those that granted get `release`, last
 * first; an amend hook until one answers something else than PASS, and a module that
 * fails has said PASS; a watch hook is told from first to last.  A call is taken from the
 * loop's table when somebody is subscribed, and given back when the hook is
 * answered, so a hook that nobody wants costs nothing.
 *
 * All of it on the loop of the object that the hook is about.
 */
#include "config.h"

#include <stdio.h>
#include <stdarg.h>
#include <string.h>

#include "loop/loop.h"
#include "module/call.h"
#include "module/log.h"

static bool
allowed(const struct ga_call *call, enum ga_verdict verdict)
{
	return verdict == GA_PASS || (verdict < GA_SUSPENDED_ &&
	    (gac_hooks[call->hook].verdicts & 1u << verdict) != 0);
}

/* ACCEPT is a declaration that what a broken module says does not matter, for any hook: it
 * is as if it were not there.  It lets nobody in who is not let in without it, at RCPT or
 * AUTH, and those behind it are asked. */
static enum ga_verdict
on_failure(const struct ga_call *call)
{
	enum ga_verdict declared = (enum ga_verdict)call->step->inst->module->desc.on_failure;

	if (gac_hooks[call->hook].class == GAC_PERMIT)
		return GA_HOLD;
	if (declared == GA_ACCEPT || gac_hooks[call->hook].class == GAC_AMEND)
		return GA_PASS;
	return declared == GA_PASS || !allowed(call, declared) ? GA_TEMPFAIL : declared;
}

/* What the module said, or what it means that it said nothing or something impossible. */
static enum ga_verdict
judge(const struct ga_call *call, enum ga_verdict verdict)
{
	if (allowed(call, verdict))
		return verdict;
	if (verdict != GA_FAILED_)
		gac_log(GA_WARN, ga_inst_name(call->step->inst), "GA-HOOK-VERDICT",
		    "%s: %u is no answer to this hook", gac_hooks[call->hook].name, (unsigned)verdict);
	return on_failure(call);
}

static void
finish(struct ga_call *call, enum ga_verdict verdict, bool later)
{
	struct ga_run *run = call->run;

	run->call_ = NULL;
	gac_call_free(call);
	if (later)
		run->done(run, verdict, run->arg);
}

static const struct ga_plan *
plan_of(const struct ga_run *run)
{
	return run->session != NULL ? ga_session_plan(run->session) : ga_settings_plan(run->settings);
}

/* Those that granted before `held` get their permit back, last first. */
static void
give_back(struct ga_call *call, const struct ga_step *held)
{
	const struct ga_plan *plan = plan_of(call->run);
	const struct ga_step *first = plan->hooks[call->hook], *told = plan->hooks[GA_HOOK_release];

	for (const struct ga_step *s = held; s-- > first;)
		for (const struct ga_step *t = told; t != NULL && t->fn.any != NULL; t++)
			if (t->inst == s->inst) {
				call->step = t;
				call->hook = GA_HOOK_release;
				t->fn.tell(call, call->event);
			}
}

static bool
ends_chain(const struct ga_call *call, enum ga_verdict verdict)
{
	switch (gac_hooks[call->hook].class) {
	case GAC_DECIDE:
	case GAC_SHAPE:
	case GAC_PERMIT:
	case GAC_AMEND:
		return verdict != GA_PASS;
	case GAC_WATCH:
		break;
	}
	return false;
}

static enum ga_verdict
call_step(struct ga_call *call)
{
	struct ga_worker *w = call->run->worker;
	struct gac_entered outer;
	enum ga_verdict verdict = GA_PASS;

	call->running = true;
	outer = gac_loop_enter(w, (const void *)call->step->fn.any);
	if (gac_hooks[call->hook].class == GAC_WATCH)
		call->step->fn.tell(call, call->event);
	else
		verdict = call->step->fn.ask(call, call->event);
	gac_loop_leave(w, outer);
	call->running = false;
	return verdict;
}

/* Walks on from the current step; true: the hook is answered, *out says what. */
static bool
walk(struct ga_call *call, enum ga_verdict *out)
{
	for (; call->step->fn.any != NULL; call->step++) {
		enum ga_verdict verdict;

		if (!gac_content_refresh(call))
			break;
		verdict = call_step(call);
		if (verdict == GA_SUSPENDED_ && call->suspended)
			return false;
		verdict = judge(call, verdict);
		if (ends_chain(call, verdict)) {
			if (gac_hooks[call->hook].class == GAC_PERMIT)
				give_back(call, call->step);
			*out = verdict;
			return true;
		}
	}
	*out = GA_PASS;
	return true;
}

void
gac_call_continue(struct ga_call *call, enum ga_verdict verdict)
{
	if (verdict == GA_SUSPENDED_ && call->suspended)
		return;
	verdict = judge(call, verdict);
	if (!ends_chain(call, verdict)) {
		call->step++;
		if (!walk(call, &verdict))
			return;
	}
	finish(call, verdict, true);
}

enum ga_verdict
ga_run_hook(struct ga_run *run, enum ga_hook_id hook, const void *event)
{
	const struct ga_step *steps = plan_of(run)->hooks[hook];
	struct ga_call *call;
	enum ga_verdict verdict;

	run->reply.code = 0;
	if (steps == NULL)
		return GA_PASS;
	call = gac_call_new(run->worker);
	call->run = run;
	call->step = steps;
	call->event = event;
	call->hook = hook;
	run->call_ = call;
	if (!walk(call, &verdict))
		return GA_SUSPENDED_;
	finish(call, verdict, false);
	return verdict;
}

bool
ga_run_busy(const struct ga_run *run)
{
	return run->call_ != NULL;
}

void
ga_run_cancel(struct ga_run *run, enum ga_why why)
{
	struct ga_call *call = run->call_;

	if (call == NULL)
		return;
	run->call_ = NULL;
	gac_call_cancel(call, why);
}

/* --- what a module may ask of its call --- */

struct ga_inst *
ga_call_inst(struct ga_call *call)
{
	return call->step->inst;
}

struct ga_worker *
ga_call_worker(struct ga_call *call)
{
	return call->run->worker;
}

const struct ga_settings *
ga_call_settings(const struct ga_call *call)
{
	return call->run->settings;
}

const void *
ga_call_conf(struct ga_call *call)
{
	return ga_settings_conf(call->run->settings, call->step->inst->module->desc.head.name);
}

void
ga_reply(struct ga_call *call, unsigned code, const char *enhanced, const char *fmt, ...)
{
	struct ga_reply *reply = &call->run->reply;
	va_list ap;

	reply->code = code;
	snprintf(reply->enhanced, sizeof reply->enhanced, "%s", enhanced != NULL ? enhanced : "");
	va_start(ap, fmt);
	vsnprintf(reply->text, sizeof reply->text, fmt, ap);
	va_end(ap);
	for (char *p = reply->text; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
}

enum ga_verdict
ga_fail(struct ga_call *call, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	gac_vlog(GA_WARN, ga_inst_name(call->step->inst), "GA-HOOK-FAIL",
	    gac_hooks[call->hook].name, fmt, ap);
	va_end(ap);
	return GA_FAILED_;
}

bool
ga_rcpt_redirect(struct ga_call *call, struct ga_str to)
{
	if (call->hook != GA_HOOK_rcpt || call->run->txn == NULL)
		return false;
	call->run->redirect = ga_dup(call->run->txn->pool, to);
	return true;
}

bool
ga_schedule_set(struct ga_call *call, uint64_t next_ms)
{
	if (call->hook != GA_HOOK_schedule)
		return false;
	call->run->schedule_ms = next_ms;
	return true;
}

bool
ga_route_set(struct ga_call *call, struct ga_str virtual_mta)
{
	struct ga_run *run = call->run;

	if (call->hook != GA_HOOK_route || virtual_mta.n >= sizeof run->route)
		return false;
	memcpy(run->route, virtual_mta.p, virtual_mta.n);
	run->route[virtual_mta.n] = '\0';
	return true;
}

void
ga_retry_after(struct ga_call *call, uint64_t ms)
{
	if (call->hook == GA_HOOK_acquire)
		call->run->retry_after_ms = ms;
}

void
ga_call_log(struct ga_call *call, enum ga_level level, const char *tag, const char *fmt, ...)
{
	char object[32];
	va_list ap;

	snprintf(object, sizeof object, "(%llu)", (unsigned long long)call->run->object_id);
	va_start(ap, fmt);
	gac_vlog(level, ga_inst_name(call->step->inst), tag, object, fmt, ap);
	va_end(ap);
}
