/*
 * test_hooks.c - calling hooks: the four classes, and waiting (rules A1 ... A14).
 *
 * Two modules whose hooks do what the test says, on the test bed with its own clock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GA_LEVEL GA_ABI_STRICT
#include <greenarrow/run.h>

#include "bed.h"
#include "module/helpers.h"
#include "module/wait.h"

/* --- what the hooks do, and what was seen --- */

enum act { ANSWER, SUSPEND, SUSPEND_AND_RESUME, AWAIT_TIMER, AWAIT_FD, AWAIT_WORK, FAIL };

static struct script {
	enum act act;
	enum ga_verdict verdict;	/* the answer, at once or in resume */
	enum ga_verdict resumed;	/* SUSPENDED_: wait once more first */
	uint32_t timeout_ms;
	int fd;
} scripts[2];

static char seen[1000];			/* "a.mail b.mail a.resume ..." */
static struct ga_token token;
static unsigned answers;
static enum ga_verdict answer;
static bool worked, in_resume_call;

static void
note(const char *module, const char *what)
{
	size_t n = strlen(seen);

	snprintf(seen + n, sizeof seen - n, "%s%s.%s", n > 0 ? " " : "", module, what);
}

static struct script *
script_of(struct ga_call *call)
{
	return &scripts[strcmp(ga_inst_name(ga_call_inst(call)), "b") == 0];
}

static enum ga_verdict suspend(struct ga_call *);

static enum ga_verdict
resume(struct ga_call *call, void *arg)
{
	struct script *s = script_of(call);

	assert_ptr_equal(arg, s);
	assert_false(in_resume_call);		/* A5 */
	note(ga_inst_name(ga_call_inst(call)), "resume");
	if (s->resumed == GA_SUSPENDED_) {
		s->resumed = GA_PASS;
		return suspend(call);
	}
	if (s->act == AWAIT_FD)
		note("fd", (ga_fd_events(call) & GA_READ) != 0 ? "read" : "timeout");
	return s->verdict;
}

static void
cancelled(void *arg, enum ga_why why)
{
	note(arg == &scripts[1] ? "b" : "a", why == GA_WHY_TIMEOUT ? "timeout" :
	    why == GA_WHY_PEER_GONE ? "gone" : "cancelled");
}

static bool
resume_now(void)
{
	bool live;

	in_resume_call = true;
	live = ga_resume(ga_worker_get(0), token);
	in_resume_call = false;
	return live;
}

static enum ga_verdict
suspend(struct ga_call *call)
{
	struct script *s = script_of(call);
	struct ga_wait wait = { sizeof wait, s->timeout_ms, "the test", resume, cancelled, s };

	return ga_suspend(call, &wait, &token);
}

static void
work(void *arg)
{
	(void)arg;
	worked = true;
}

static enum ga_verdict
act(struct ga_call *call)
{
	struct script *s = script_of(call);
	enum ga_verdict v;

	switch (s->act) {
	case ANSWER:
		return s->verdict;
	case SUSPEND:
		return suspend(call);
	case SUSPEND_AND_RESUME:
		v = suspend(call);
		assert_true(resume_now());
		return v;
	case AWAIT_TIMER:
		return ga_await_timer(call, 5000, resume, s);
	case AWAIT_FD:
		return ga_await_fd(call, s->fd, GA_READ, 3000, resume, s);
	case AWAIT_WORK:
		return ga_await_work(call, work, resume, s);
	case FAIL:
		return ga_fail(call, "the test says so");
	}
	return GA_PASS;
}

/* --- the modules --- */

#define ASK(hook, event)								\
	static enum ga_verdict								\
	on_##hook(struct ga_call *call, const struct event *ev)				\
	{										\
		(void)ev;								\
		note(ga_inst_name(ga_call_inst(call)), #hook);				\
		return act(call);							\
	}
#define TELL(hook, event)								\
	static void									\
	on_##hook(struct ga_call *call, const struct event *ev)				\
	{										\
		(void)ev;								\
		note(ga_inst_name(ga_call_inst(call)), #hook);				\
	}

ASK(mail, ga_ev_mail)
ASK(schedule, ga_ev_schedule)
ASK(acquire, ga_ev_throttle)
ASK(result, ga_ev_attempt)
TELL(release, ga_ev_throttle)
TELL(message_queued, ga_ev_queued)

#define HOOKS(X) X(mail, on_mail) X(schedule, on_schedule) X(acquire, on_acquire) X(result, on_result) \
	X(release, on_release) X(message_queued, on_message_queued)

GA_MODULE(a, "1.0.0", "smtp_service domain", HOOKS, GA_NO_DIRECTIVES, .summary = "first of the test");
GA_MODULE(b, "1.0.0", "smtp_service domain", HOOKS, GA_NO_DIRECTIVES, .summary = "second of the test",
	.on_failure = GA_REJECT);

/* One that is to be of no account when it fails, and one behind it. */
static enum ga_verdict
fail_helo(struct ga_call *call, const struct ga_ev_helo *ev)
{
	(void)ev;
	return ga_fail(call, "the test says so");
}

static enum ga_verdict
on_helo(struct ga_call *call, const struct ga_ev_helo *ev)
{
	(void)ev;
	return act(call);
}

#define HELO_FAILS(X) X(helo, fail_helo)
#define HELO(X) X(helo, on_helo)

GA_MODULE(c, "1.0.0", "smtp_service", HELO_FAILS, GA_NO_DIRECTIVES, .summary = "third of the test",
	.on_failure = GA_ACCEPT);
GA_MODULE(d, "1.0.0", "smtp_service", HELO, GA_NO_DIRECTIVES, .summary = "fourth of the test");

static const struct ga_module *const modules[] = { &a_LTX_ga_module, &b_LTX_ga_module, &c_LTX_ga_module,
	&d_LTX_ga_module, NULL };

/* Has something to do where its directive says so. */
#define WANTED(X) X(flag, wanted, "no", "", "general,ip_address,domain", "what wants() answers")
GA_CONF_STRUCT(e_conf, WANTED);
#define GA_CF_SELF_ struct e_conf
GA_CONF_SCHEMA(e_conf, WANTED);

static bool
wants(const void *conf)
{
	return ((const struct e_conf *)conf)->wanted;
}

GA_MODULE(e, "1.0.0", "ip_address domain", HOOKS, WANTED, .summary = "fifth of the test, where it is wanted",
	.conf = &e_conf_schema, .wants = wants);

static const struct ga_module *const with_wanted[] = { &a_LTX_ga_module, &b_LTX_ga_module, &e_LTX_ga_module, NULL };

/* --- fixture --- */

static struct ga_snapshot *snapshot;
static const struct ga_settings *scope;		/* NULL: general */
static struct ga_run run;

static int
up_with(const char *conf, const struct ga_module *const *loaded)
{
	memset(scripts, 0, sizeof scripts);
	memset(&run, 0, sizeof run);
	seen[0] = '\0';
	answers = 0;
	worked = in_resume_call = false;
	gac_waits_limit(10000);
	bed_up(&(struct bed){ .conf = conf, .modules = loaded, .workers = 1 });
	snapshot = ga_snapshot_current();
	scope = NULL;
	return 0;
}

static int
up(void **state)
{
	(void)state;
	return up_with("", modules);
}

static int
down(void **state)
{
	(void)state;
	ga_snapshot_unref(snapshot);
	gac_helpers_stop();
	bed_down();
	return 0;
}

static void
answered(struct ga_run *r, enum ga_verdict verdict, void *arg)
{
	assert_ptr_equal(r, arg);
	assert_false(in_resume_call);
	answers++;
	answer = verdict;
}

static enum ga_verdict
ask(enum ga_hook_id hook)
{
	static const struct ga_ev_mail mail;	/* the largest would do for all: nobody looks at it */
	static const struct ga_ev_schedule schedule;
	static const struct ga_ev_throttle throttle;
	static const struct ga_ev_queued queued;
	static const struct ga_ev_attempt attempt;
	const void *event = hook == GA_HOOK_mail ? (const void *)&mail :
	    hook == GA_HOOK_schedule ? (const void *)&schedule :
	    hook == GA_HOOK_result ? (const void *)&attempt :
	    hook == GA_HOOK_message_queued ? (const void *)&queued : (const void *)&throttle;

	run.worker = ga_worker_get(0);
	run.settings = scope != NULL ? scope : ga_snapshot_general(snapshot);
	run.object_id = 7;
	run.done = answered;
	run.arg = &run;
	return ga_run_hook(&run, hook, event);
}

static void
set(unsigned module, enum act act_, enum ga_verdict verdict)
{
	scripts[module].act = act_;
	scripts[module].verdict = verdict;
}

/* --- classes --- */

static void
test_a_decide_hook_ends_with_the_first_opinion_in_the_order_of_loading(void **state)
{
	(void)state;
	assert_int_equal(ask(GA_HOOK_mail), GA_PASS);
	assert_string_equal(seen, "a.mail b.mail");
	set(0, ANSWER, GA_ACCEPT);
	set(1, ANSWER, GA_REJECT);
	assert_int_equal(ask(GA_HOOK_mail), GA_ACCEPT);
	assert_string_equal(seen, "a.mail b.mail a.mail");
	assert_false(ga_run_busy(&run));
}

static void
test_a_shape_hook_asks_everybody_until_one_is_not_content(void **state)
{
	(void)state;
	assert_int_equal(ask(GA_HOOK_schedule), GA_PASS);
	set(1, ANSWER, GA_HOLD);
	assert_int_equal(ask(GA_HOOK_schedule), GA_HOLD);
	assert_string_equal(seen, "a.schedule b.schedule a.schedule b.schedule");
}

static void
test_what_a_permit_hook_was_granted_is_given_back_when_another_holds(void **state)
{
	(void)state;
	assert_int_equal(ask(GA_HOOK_acquire), GA_PASS);
	assert_string_equal(seen, "a.acquire b.acquire");
	seen[0] = '\0';
	set(1, ANSWER, GA_HOLD);
	assert_int_equal(ask(GA_HOOK_acquire), GA_HOLD);
	assert_string_equal(seen, "a.acquire b.acquire a.release");
	seen[0] = '\0';
	set(0, ANSWER, GA_HOLD);
	assert_int_equal(ask(GA_HOOK_acquire), GA_HOLD);
	assert_string_equal(seen, "a.acquire");
}

static void
test_an_amend_hook_ends_with_the_first_opinion(void **state)
{
	(void)state;
	assert_int_equal(ask(GA_HOOK_result), GA_PASS);
	assert_string_equal(seen, "a.result b.result");
	seen[0] = '\0';
	set(0, ANSWER, GA_REJECT);
	set(1, ANSWER, GA_ACCEPT);
	assert_int_equal(ask(GA_HOOK_result), GA_REJECT);
	assert_string_equal(seen, "a.result");
}

static void
test_a_watch_hook_tells_everybody(void **state)
{
	(void)state;
	set(0, ANSWER, GA_REJECT);
	assert_int_equal(ask(GA_HOOK_message_queued), GA_PASS);
	assert_string_equal(seen, "a.message_queued b.message_queued");
}

/* --- who is asked --- */

#define IN_TWO_DOMAINS "domain a.example {\n  wanted yes\n}\ndomain off.example {\n  wanted yes\n  use_module e no\n}\n"

static int
up_where_it_is_wanted(void **state)
{
	(void)state;
	return up_with(IN_TWO_DOMAINS, with_wanted);
}

static void
ask_in(const char *domain)
{
	seen[0] = '\0';
	scope = ga_snapshot_resolve(snapshot, GA_STR(""), ga_str_c(domain), NULL, 0);
	assert_int_equal(ask(GA_HOOK_result), GA_PASS);
	assert_int_equal(ask(GA_HOOK_message_queued), GA_PASS);
}

static void
test_a_module_is_asked_only_where_it_wants_the_settings(void **state)
{
	(void)state;
	ask_in("a.example");
	assert_string_equal(seen, "a.result b.result e.result a.message_queued b.message_queued e.message_queued");
	ask_in("b.example");
	assert_string_equal(seen, "a.result b.result a.message_queued b.message_queued");
	ask_in("off.example");
	assert_string_equal(seen, "a.result b.result a.message_queued b.message_queued");
}

static void
test_a_hook_that_nobody_wants_is_not_in_the_plan(void **state)
{
	static const struct ga_module *const alone[] = { &e_LTX_ga_module, NULL };

	(void)state;
	up_with("general {\n  wanted no\n}\ndomain a.example {\n  wanted yes\n}\n", alone);
	assert_false(GA_WANTED(ga_settings_plan(ga_snapshot_general(snapshot)), result));
	scope = ga_snapshot_resolve(snapshot, GA_STR(""), GA_STR("a.example"), NULL, 0);
	assert_true(GA_WANTED(ga_settings_plan(scope), result));
	bed_reload("general {\n  wanted yes\n}\n");
	ga_snapshot_unref(snapshot);
	snapshot = ga_snapshot_current();
	assert_true(GA_WANTED(ga_settings_plan(ga_snapshot_general(snapshot)), result));
	down(NULL);
}

static void
test_a_failure_is_answered_with_on_failure(void **state)
{
	(void)state;
	set(0, FAIL, GA_PASS);
	assert_int_equal(ask(GA_HOOK_mail), GA_TEMPFAIL);
	set(0, ANSWER, GA_PASS);
	set(1, FAIL, GA_PASS);
	assert_int_equal(ask(GA_HOOK_mail), GA_REJECT);
	assert_int_equal(ask(GA_HOOK_acquire), GA_HOLD);
}

/* Else whoever made it fail would be let in, or relayed for, or not be looked at by others. */
static void
test_a_module_whose_failure_does_not_matter_accepts_nothing(void **state)
{
	(void)state;
	set(0, ANSWER, GA_PASS);
	assert_int_equal(ask(GA_HOOK_helo), GA_PASS);
	set(0, ANSWER, GA_REJECT);
	assert_int_equal(ask(GA_HOOK_helo), GA_REJECT);
}

/* --- waiting --- */

static void
test_a_resumed_hook_goes_on_where_it_was_and_answers_once(void **state)
{
	(void)state;
	set(0, SUSPEND, GA_PASS);
	set(1, ANSWER, GA_ACCEPT);
	assert_int_equal(ask(GA_HOOK_mail), GA_SUSPENDED_);
	assert_true(ga_run_busy(&run));
	bed_turns(3);
	assert_int_equal(answers, 0);
	assert_true(resume_now());
	assert_int_equal(answers, 0);		/* A5: at the loop's next turn */
	assert_false(resume_now());		/* A8: it is being resumed already */
	bed_turns(3);
	assert_int_equal(answers, 1);
	assert_int_equal(answer, GA_ACCEPT);
	assert_string_equal(seen, "a.mail a.resume b.mail");
	assert_false(resume_now());
	bed_turns(3);
	assert_int_equal(answers, 1);
	assert_int_equal(gac_waits_stale(), 2);
}

static void
test_resume_before_the_hook_has_returned_is_fine(void **state)
{
	(void)state;
	set(0, SUSPEND_AND_RESUME, GA_REJECT);
	assert_int_equal(ask(GA_HOOK_mail), GA_SUSPENDED_);
	bed_turns(3);
	assert_int_equal(answers, 1);
	assert_int_equal(answer, GA_REJECT);
	assert_string_equal(seen, "a.mail a.resume");
}

static void
test_resume_may_wait_again(void **state)
{
	struct ga_token first;

	(void)state;
	set(0, SUSPEND, GA_ACCEPT);
	scripts[0].resumed = GA_SUSPENDED_;
	assert_int_equal(ask(GA_HOOK_mail), GA_SUSPENDED_);
	first = token;
	assert_true(resume_now());
	bed_turns(3);
	assert_int_equal(answers, 0);
	assert_true(ga_run_busy(&run));
	assert_false(ga_resume(ga_worker_get(0), first));
	assert_true(resume_now());
	bed_turns(3);
	assert_int_equal(answers, 1);
	assert_string_equal(seen, "a.mail a.resume a.resume");
}

static void
test_a_wait_that_is_too_long_is_cancelled_and_answered_with_on_failure(void **state)
{
	(void)state;
	set(1, SUSPEND, GA_ACCEPT);
	scripts[1].timeout_ms = 2000;
	assert_int_equal(ask(GA_HOOK_mail), GA_SUSPENDED_);
	bed_advance(1900);
	assert_int_equal(answers, 0);
	bed_advance(200);
	assert_int_equal(answers, 1);
	assert_int_equal(answer, GA_REJECT);
	assert_string_equal(seen, "a.mail b.mail b.timeout");
	assert_false(resume_now());
	bed_turns(3);
	assert_int_equal(answers, 1);
}

static void
test_without_a_limit_of_its_own_a_wait_has_the_hooks(void **state)
{
	(void)state;
	set(0, SUSPEND, GA_ACCEPT);
	assert_int_equal(ask(GA_HOOK_mail), GA_SUSPENDED_);
	bed_advance(29000);
	assert_int_equal(answers, 0);
	bed_advance(2000);
	assert_int_equal(answer, GA_TEMPFAIL);
	assert_string_equal(seen, "a.mail a.timeout");
}

static void
test_when_the_object_goes_the_module_is_told_and_nobody_is_answered(void **state)
{
	(void)state;
	set(0, SUSPEND, GA_ACCEPT);
	assert_int_equal(ask(GA_HOOK_mail), GA_SUSPENDED_);
	ga_run_cancel(&run, GA_WHY_PEER_GONE);
	assert_false(ga_run_busy(&run));
	ga_run_cancel(&run, GA_WHY_PEER_GONE);
	assert_false(resume_now());
	bed_advance(60000);
	assert_int_equal(answers, 0);
	assert_string_equal(seen, "a.mail a.gone");
}

static void
test_cancelled_between_ga_resume_and_resume_it_is_only_cancelled(void **state)
{
	(void)state;
	set(0, SUSPEND, GA_ACCEPT);
	assert_int_equal(ask(GA_HOOK_mail), GA_SUSPENDED_);
	assert_true(resume_now());
	ga_run_cancel(&run, GA_WHY_PEER_GONE);
	/* the next call has a place of its own, whatever the old token says */
	assert_int_equal(ask(GA_HOOK_mail), GA_SUSPENDED_);
	bed_turns(3);
	assert_int_equal(answers, 0);
	assert_string_equal(seen, "a.mail a.gone a.mail");
	assert_true(resume_now());
	bed_turns(3);
	assert_int_equal(answers, 1);
}

static void
test_a_stale_token_reaches_no_other_call(void **state)
{
	struct ga_token old;

	(void)state;
	set(0, SUSPEND, GA_ACCEPT);
	assert_int_equal(ask(GA_HOOK_mail), GA_SUSPENDED_);
	old = token;
	ga_run_cancel(&run, GA_WHY_DRAIN);
	assert_int_equal(ask(GA_HOOK_mail), GA_SUSPENDED_);
	assert_false(ga_resume(ga_worker_get(0), old));
	assert_false(ga_resume(ga_worker_get(0), (struct ga_token){ 0 }));
	assert_false(ga_resume(ga_worker_get(0), (struct ga_token){ UINT64_MAX }));
	assert_false(ga_resume_from_thread((struct ga_token){ UINT64_MAX }));
	bed_turns(3);
	assert_int_equal(answers, 0);
	ga_run_cancel(&run, GA_WHY_PEER_GONE);
}

static void *
another_thread(void *arg)
{
	(void)arg;
	assert_true(ga_resume_from_thread(token));
	assert_true(ga_resume_from_thread(token));	/* too late: known only to the loop */
	return NULL;
}

static void
test_any_thread_may_resume(void **state)
{
	pthread_t thread;

	(void)state;
	set(0, SUSPEND, GA_DISCARD);
	assert_int_equal(ask(GA_HOOK_mail), GA_SUSPENDED_);
	assert_int_equal(pthread_create(&thread, NULL, another_thread, NULL), 0);
	pthread_join(thread, NULL);
	bed_turns(5);
	assert_int_equal(answers, 1);
	assert_int_equal(answer, GA_DISCARD);
}

static void
test_a_permit_hook_may_not_wait(void **state)
{
	(void)state;
	set(0, SUSPEND, GA_PASS);
	assert_int_equal(ask(GA_HOOK_acquire), GA_HOLD);
	assert_false(ga_run_busy(&run));
}

static void
test_an_amend_hook_may_not_wait_and_a_failure_leaves_the_result_to_the_others(void **state)
{
	(void)state;
	set(0, SUSPEND, GA_REJECT);
	set(1, ANSWER, GA_TEMPFAIL);
	assert_int_equal(ask(GA_HOOK_result), GA_TEMPFAIL);
	assert_false(ga_run_busy(&run));
	assert_string_equal(seen, "a.result b.result");
	set(0, ANSWER, GA_HOLD);	/* no answer to this hook */
	assert_int_equal(ask(GA_HOOK_result), GA_TEMPFAIL);
	set(1, FAIL, GA_PASS);		/* its on_failure is REJECT, which is not for this class */
	assert_int_equal(ask(GA_HOOK_result), GA_PASS);
}

static void
test_beyond_max_waits_on_failure_is_the_answer_at_once(void **state)
{
	struct ga_run others[2];

	(void)state;
	gac_waits_limit(2);
	set(0, SUSPEND, GA_ACCEPT);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(ask(GA_HOOK_mail), GA_SUSPENDED_);
		others[i] = run;
		memset(&run, 0, sizeof run);
	}
	assert_int_equal(ask(GA_HOOK_mail), GA_TEMPFAIL);
	ga_run_cancel(&others[0], GA_WHY_PEER_GONE);
	assert_int_equal(ask(GA_HOOK_mail), GA_SUSPENDED_);
	ga_run_cancel(&others[1], GA_WHY_PEER_GONE);
	ga_run_cancel(&run, GA_WHY_PEER_GONE);
}

static void
test_when_the_daemon_ends_what_waits_is_answered_and_nobody_may_wait_again(void **state)
{
	(void)state;
	set(0, SUSPEND, GA_ACCEPT);
	set(1, SUSPEND, GA_ACCEPT);
	assert_int_equal(ask(GA_HOOK_mail), GA_SUSPENDED_);
	gac_waits_give_up(ga_worker_get(0));
	assert_int_equal(answers, 1);
	assert_int_equal(answer, GA_TEMPFAIL);
	assert_string_equal(seen, "a.mail a.cancelled");
	assert_false(resume_now());
	assert_int_equal(ask(GA_HOOK_mail), GA_TEMPFAIL);
}

static unsigned listed, ended;

static void
list_one(const struct gac_wait_info *info, void *arg)
{
	(void)arg;
	listed++;
	assert_string_equal(info->module, "b");
	assert_string_equal(info->hook, "schedule");
	assert_string_equal(info->label, "the test");
	assert_int_equal(info->object_id, 7);
	assert_int_equal(info->age_ms, 1500);
	assert_int_equal(info->left_ms, 2500);
}

static void
list_end(void *arg)
{
	(void)arg;
	ended++;
}

static void
test_what_waits_is_listed(void **state)
{
	(void)state;
	listed = ended = 0;
	set(1, SUSPEND, GA_PASS);
	scripts[1].timeout_ms = 4000;
	assert_int_equal(ask(GA_HOOK_schedule), GA_SUSPENDED_);
	bed_advance(1500);
	gac_waits_each(list_one, list_end, NULL);
	bed_turns(5);
	assert_int_equal(listed, 1);
	assert_int_equal(ended, 1);
	ga_run_cancel(&run, GA_WHY_PEER_GONE);
	gac_waits_each(list_one, list_end, NULL);
	bed_turns(5);
	assert_int_equal(listed, 1);
	assert_int_equal(ended, 2);
}

/* --- awaits --- */

static void
test_await_timer_resumes_when_it_is_time(void **state)
{
	(void)state;
	set(0, AWAIT_TIMER, GA_ACCEPT);
	assert_int_equal(ask(GA_HOOK_mail), GA_SUSPENDED_);
	bed_advance(4900);
	assert_int_equal(answers, 0);
	bed_advance(200);
	assert_int_equal(answer, GA_ACCEPT);
	assert_string_equal(seen, "a.mail a.resume");
}

static void
test_await_fd_resumes_when_there_is_something_or_time_is_over(void **state)
{
	int fd[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	set(0, AWAIT_FD, GA_ACCEPT);
	scripts[0].fd = fd[0];
	assert_int_equal(ask(GA_HOOK_mail), GA_SUSPENDED_);
	bed_turns(3);
	assert_int_equal(answers, 0);
	assert_int_equal(write(fd[1], "x", 1), 1);
	bed_turns(5);
	assert_int_equal(answers, 1);
	assert_int_equal(read(fd[0], (char[1]){ 0 }, 1), 1);
	assert_int_equal(ask(GA_HOOK_mail), GA_SUSPENDED_);
	bed_advance(3100);
	assert_int_equal(answers, 2);
	assert_string_equal(seen, "a.mail a.resume fd.read a.mail a.resume fd.timeout");
	close(fd[0]);
	close(fd[1]);
}

static bool
is_answered(void *arg)
{
	(void)arg;
	return answers > 0;
}

static void
test_await_work_runs_it_elsewhere_and_resumes(void **state)
{
	(void)state;
	set(0, AWAIT_WORK, GA_ACCEPT);
	assert_int_equal(ask(GA_HOOK_mail), GA_SUSPENDED_);
	bed_until(is_answered, NULL);
	assert_true(worked);
	assert_int_equal(answer, GA_ACCEPT);
}

static void
test_an_await_whose_call_ends_is_stopped(void **state)
{
	(void)state;
	set(0, AWAIT_TIMER, GA_ACCEPT);
	assert_int_equal(ask(GA_HOOK_mail), GA_SUSPENDED_);
	ga_run_cancel(&run, GA_WHY_PEER_GONE);
	bed_advance(60000);
	assert_int_equal(answers, 0);
	assert_string_equal(seen, "a.mail");
}

#define T(name) cmocka_unit_test_setup_teardown(name, up, down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_a_decide_hook_ends_with_the_first_opinion_in_the_order_of_loading),
		T(test_a_shape_hook_asks_everybody_until_one_is_not_content),
		T(test_what_a_permit_hook_was_granted_is_given_back_when_another_holds),
		T(test_an_amend_hook_ends_with_the_first_opinion),
		T(test_a_watch_hook_tells_everybody),
		cmocka_unit_test_setup_teardown(test_a_module_is_asked_only_where_it_wants_the_settings,
		    up_where_it_is_wanted, down),
		cmocka_unit_test(test_a_hook_that_nobody_wants_is_not_in_the_plan),
		T(test_a_failure_is_answered_with_on_failure),
		T(test_a_module_whose_failure_does_not_matter_accepts_nothing),
		T(test_a_resumed_hook_goes_on_where_it_was_and_answers_once),
		T(test_resume_before_the_hook_has_returned_is_fine),
		T(test_resume_may_wait_again),
		T(test_a_wait_that_is_too_long_is_cancelled_and_answered_with_on_failure),
		T(test_without_a_limit_of_its_own_a_wait_has_the_hooks),
		T(test_when_the_object_goes_the_module_is_told_and_nobody_is_answered),
		T(test_cancelled_between_ga_resume_and_resume_it_is_only_cancelled),
		T(test_a_stale_token_reaches_no_other_call),
		T(test_any_thread_may_resume),
		T(test_a_permit_hook_may_not_wait),
		T(test_an_amend_hook_may_not_wait_and_a_failure_leaves_the_result_to_the_others),
		T(test_beyond_max_waits_on_failure_is_the_answer_at_once),
		T(test_when_the_daemon_ends_what_waits_is_answered_and_nobody_may_wait_again),
		T(test_what_waits_is_listed),
		T(test_await_timer_resumes_when_it_is_time),
		T(test_await_fd_resumes_when_there_is_something_or_time_is_over),
		T(test_await_work_runs_it_elsewhere_and_resumes),
		T(test_an_await_whose_call_ends_is_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
