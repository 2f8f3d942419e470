/*
 * await.c - waits that need no bookkeeping of the module's: DNS, timer,
 * descriptor, helper thread.
 *
 * Each suspends the call with a token of its own, starts the thing, and resumes
 * the call when it comes.  gac_await_stop() ends whatever is still under way; a
 * piece of work on a helper thread cannot be stopped, so it is cut loose: its
 * end finds a stale token.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include <greenarrow/service/resolver.h>

#include "loop/loop.h"
#include "module/call.h"
#include "module/helpers.h"

struct ga_await {
	struct ga_call *call;
	struct ga_token token;
	struct ga_worker *worker;
	/* dns */
	const struct ga_resolver *resolver;
	struct ga_dns_question *question;
	struct ga_pool *pool;		/* holds the copy of the answer */
	/* timer, fd */
	struct ga_timer *timer;
	struct ga_io *io;
};

static struct ga_await *
await_new(struct ga_call *call)
{
	struct ga_await *a = ga_xcalloc(1, sizeof *a);

	a->call = call;
	a->worker = call->run->worker;
	return a;
}

void
gac_await_stop(struct ga_call *call)
{
	struct ga_await *a = call->await;

	if (a == NULL)
		return;
	call->await = NULL;
	call->dns = NULL;
	a->call = NULL;
	ga_timer_free(a->timer);
	ga_io_free(a->io);
	if (a->question != NULL) {
		/* answered() frees it: the cancelled question still calls back once */
		a->resolver->cancel(a->question);
		return;
	}
	ga_pool_free(a->pool);
	free(a);
}

static enum ga_verdict
await_suspend(struct ga_call *call, struct ga_await *a, const char *label, uint32_t timeout_ms,
    ga_resume_fn *resume, void *arg)
{
	struct ga_wait wait = { sizeof wait, timeout_ms, label, resume, NULL, arg };
	enum ga_verdict verdict = ga_suspend(call, &wait, &a->token);

	if (verdict != GA_SUSPENDED_) {
		free(a);
		return verdict;
	}
	call->await = a;
	return verdict;
}

/* --- dns --- */

static const struct ga_dns_answer *
copy_answer(struct ga_pool *pool, const struct ga_dns_answer *from)
{
	struct ga_dns_answer *to = ga_alloc(pool, sizeof *to);
	struct ga_str *rdata = ga_alloc(pool, (from->n + 1) * sizeof *rdata);

	*to = *from;
	for (size_t i = 0; i < from->n; i++)
		rdata[i] = ga_dup(pool, from->rdata[i]);
	to->rdata = rdata;
	to->canonname = ga_dup(pool, from->canonname);
	return to;
}

static void
answered(struct ga_worker *w, const struct ga_dns_answer *answer, void *arg)
{
	struct ga_await *a = arg;

	a->question = NULL;
	if (a->call == NULL) {
		ga_pool_free(a->pool);
		free(a);
		return;
	}
	if (answer != NULL) {
		a->pool = ga_pool_new(0);
		a->call->dns = copy_answer(a->pool, answer);
	}
	ga_resume(w, a->token);
}

enum ga_verdict
ga_await_dns(struct ga_call *call, struct ga_str name, unsigned rrtype, ga_resume_fn *resume,
    void *arg)
{
	const struct ga_resolver *resolver = ga_service_get(GA_RESOLVER_SERVICE, GA_RESOLVER_VERSION);
	struct ga_await *a;
	enum ga_verdict verdict;

	if (resolver == NULL)
		return ga_fail(call, "no resolver");
	a = await_new(call);
	a->resolver = resolver;
	verdict = await_suspend(call, a, "dns", 0, resume, arg);
	if (verdict == GA_SUSPENDED_)
		a->question = resolver->ask(a->worker, name, rrtype, answered, a);
	return verdict;
}

const struct ga_dns_answer *
ga_dns_result(struct ga_call *call)
{
	return call->dns;
}

/* --- timer and descriptor --- */

static void
timer_came(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	struct ga_await *a = arg;

	(void)inst;
	a->call->fd_events = 0;
	if (a->io != NULL)
		ga_io_want(a->io, 0);
	ga_resume(w, a->token);
}

enum ga_verdict
ga_await_timer(struct ga_call *call, uint32_t ms, ga_resume_fn *resume, void *arg)
{
	struct ga_await *a = await_new(call);
	enum ga_verdict verdict = await_suspend(call, a, "timer", ms + GAC_HOOK_TIMEOUT_MS, resume, arg);

	if (verdict == GA_SUSPENDED_) {
		a->timer = ga_timer_new(call->step->inst, a->worker, timer_came, a);
		ga_timer_arm(a->timer, ms, 0);
	}
	return verdict;
}

static void
fd_ready(struct ga_inst *inst, struct ga_worker *w, int fd, unsigned events, void *arg)
{
	struct ga_await *a = arg;

	(void)inst;
	(void)fd;
	a->call->fd_events = events;
	ga_io_want(a->io, 0);
	ga_timer_stop(a->timer);
	ga_resume(w, a->token);
}

enum ga_verdict
ga_await_fd(struct ga_call *call, int fd, unsigned events, uint32_t timeout_ms,
    ga_resume_fn *resume, void *arg)
{
	struct ga_await *a = await_new(call);
	uint32_t limit = timeout_ms > 0 ? timeout_ms : GAC_HOOK_TIMEOUT_MS;
	enum ga_verdict verdict = await_suspend(call, a, "descriptor", limit + 1000, resume, arg);

	if (verdict == GA_SUSPENDED_) {
		a->timer = ga_timer_new(call->step->inst, a->worker, timer_came, a);
		ga_timer_arm(a->timer, limit, 0);
		a->io = ga_io_new(call->step->inst, a->worker, fd, fd_ready, a);
		ga_io_want(a->io, events);
	}
	return verdict;
}

unsigned
ga_fd_events(struct ga_call *call)
{
	return call->fd_events;
}

/* --- helper thread --- */

struct work {
	struct gac_job job;
	struct ga_token token;
	void (*fn)(void *);
	void *arg;
};

static void
do_work(struct gac_job *job)
{
	struct work *work = GA_CONTAINER(job, struct work, job);

	work->fn(work->arg);
	ga_resume_from_thread(work->token);
	free(work);
}

enum ga_verdict
ga_await_work(struct ga_call *call, void (*fn)(void *), ga_resume_fn *resume, void *arg)
{
	struct ga_await *a = await_new(call);
	enum ga_verdict verdict = await_suspend(call, a, "work", 0, resume, arg);

	if (verdict == GA_SUSPENDED_) {
		struct work *work = ga_xcalloc(1, sizeof *work);

		work->token = a->token;
		work->fn = fn;
		work->arg = arg;
		work->job.run = do_work;
		gac_helpers_run(&work->job);
	}
	return verdict;
}
