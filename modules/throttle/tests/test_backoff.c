/*
 * test_backoff.c - Dynamic Delivery in virtual time, against a receiver that has limits
 * of its own and does not tell them.
 *
 * The delivery of this test opens a connection at once; a fifth of a second later the
 * receiver refuses it at the greeting or has an answer for each recipient.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../backoff.h"
#include "bed.h"
#include "throttle_rig.h"

static const struct ga_module *const modules[] = { &throttle_LTX_ga_module, NULL };

#define TICK_MS 20
#define ANSWER_MS 200

/* --- the receiver --- */

static struct {
	double rate, tokens;		/* recipients a second; 0: any */
	unsigned connections;		/* 0: any */
	unsigned deferred_percent, failed_percent;	/* of what it would take */
} host;
static struct { unsigned taken, deferred, failed; } tally;
static unsigned turn;			/* makes shares exact */

static void
refill(void)
{
	host.tokens = fmin(host.tokens + host.rate * TICK_MS / 1000, fmax(host.rate, 1));
}

static void
answer(struct ga_ticket *t)
{
	unsigned at = turn++ * 37 % 100;

	t->stage = GA_AT_RCPT;
	t->result = GA_RESULT_SUCCESS;
	if (at < host.deferred_percent)
		t->result = GA_RESULT_DEFERRAL;
	else if (at < host.deferred_percent + host.failed_percent)
		t->result = GA_RESULT_FAILURE;
	else if (host.rate > 0 && host.tokens < 1)
		t->result = GA_RESULT_DEFERRAL;
	else
		host.tokens--;
}

/* --- delivery of the test --- */

static unsigned open_most, backlog;	/* backlog: what waits when there is always mail */

static unsigned
established(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CONNS_MAX; i++)
		n += conns[i].group != NULL && !conns[i].refused;
	return n;
}

static void
run(struct conn *c, struct ga_batch batch)
{
	c->batch = batch;
	c->due_us = ga_mono_us() + ANSWER_MS * 1000;
}

static void
open_one(struct ga_group *g, struct ga_worker *w, struct ga_batch batch)
{
	bool full = host.connections != 0 && established() >= host.connections;
	struct conn *c = rig_open(g, batch);

	(void)w;
	c->refused = full;
	run(c, batch);
	if (rig_open_now() > open_most)
		open_most = rig_open_now();
}

static void
end_batch(struct conn *c)
{
	for (struct ga_ticket *t = c->batch.first; t != NULL; t = t->next) {
		if (c->refused) {
			t->result = GA_RESULT_DEFERRAL;
			t->stage = GA_AT_GREETING;
		} else {
			answer(t);
		}
		tally.taken += t->result == GA_RESULT_SUCCESS;
		tally.deferred += t->result == GA_RESULT_DEFERRAL;
		tally.failed += t->result == GA_RESULT_FAILURE;
	}
	rig_end_batch(c);
}

static void
work(struct conn *c)
{
	struct ga_batch batch;

	if (c->group == NULL || c->batch.n == 0 || c->due_us > ga_mono_us())
		return;
	end_batch(c);
	if (c->refused) {
		rig_close(c);
		return;
	}
	batch = thr->next(c->group, 1, NULL, NULL);
	if (batch.n > 0)
		run(c, batch);
}

/* --- routes and tickets --- */

static void
put(struct ga_route *r)
{
	static uint64_t seq;

	thr->enqueue(ga_worker_get(0), rig_ticket(ga_worker_get(0), r, ++seq, rig_free_ticket));
}

static void
tick(struct ga_route *r, unsigned waiting)
{
	for (unsigned n = r->group == NULL ? 0 : r->group->waiting; n < waiting; n++)
		put(r);
	bed_advance(TICK_MS);
	refill();
	for (unsigned i = 0; i < CONNS_MAX; i++)
		work(&conns[i]);
	bed_turns(4);
}

/* There is always mail. */
static void
run_s(struct ga_route *r, double s)
{
	memset(&tally, 0, sizeof tally);
	open_most = 0;
	for (unsigned i = 0; i < s * 1000 / TICK_MS; i++)
		tick(r, backlog);
}

/* Seconds until the group is in backoff, or is not; most: it was not. */
static double
until_backoff(struct ga_route *r, bool in, double most)
{
	uint64_t begin = ga_mono_us();

	while (thr_in_backoff(r->group) != in && (double)(ga_mono_us() - begin) / 1e6 < most)
		tick(r, backlog);
	return (double)(ga_mono_us() - begin) / 1e6;
}

/* --- fixture --- */

static struct ga_route *
up(const char *conf)
{
	struct ga_route *r;

	memset(&host, 0, sizeof host);
	backlog = 300;
	rig_up(conf, 1, modules, rig_delivery(open_one, run));
	r = rig_route("ip1pd1");
	tick(r, 1);
	return r;
}

/* All mail goes, but the groups stay as they are. */
static void
finish(struct ga_route *r)
{
	thr->recall(ga_worker_get(0), NULL, NULL);
	bed_turns(10);
	for (unsigned i = 0; i < 20; i++)
		tick(r, 0);
	while (rig_close_idle(NULL, ga_worker_get(0)))
		;
	bed_turns(10);
	assert_int_equal(rig_open_now(), 0);
}

static void
down(struct ga_route *r)
{
	finish(r);
	ga_route_unref(r);
	bed_turns(10);
	bed_advance(24 * 3600 * 1000);
	bed_turns(10);
	assert_int_equal(rig_groups(), 0);
	bed_down();
}

#define PROGRAM(more) "throttle_program P {\n" more "\n}\n"
#define GENERAL(more) "general {\n  throttle_program P\n" more "\n}\n"

/* --- triggers --- */

static void
test_forty_per_cent_deferrals_begin_a_backoff_within_the_window(void **state)
{
	struct ga_route *r = up(PROGRAM("  deferral_rate 30%\n") GENERAL("  max_delivery_rate 10/s\n"
	    "  max_concurrent_connections 40\n"));

	(void)state;
	run_s(r, 300);
	assert_false(thr_in_backoff(r->group));
	host.deferred_percent = 40;
	assert_true(until_backoff(r, true, 100) < 60);
	assert_int_equal(r->group->max, 10);
	assert_true(fabs(r->group->backoff->in_force.rate - 2.5) < 0.01);
	assert_int_equal(r->group->terms->written.connections, 40);
	assert_non_null(strstr(thr_backoff_reason(r->group), "deferral_rate: "));
	run_s(r, 100);
	assert_in_range(tally.taken + tally.deferred, 248, 253);
	down(r);
}

static void
test_deferrals_below_the_share_begin_none(void **state)
{
	struct ga_route *r = up(PROGRAM("  deferral_rate 50%\n  failure_rate 50%\n")
	    GENERAL("  max_delivery_rate 10/s\n"));

	(void)state;
	host.deferred_percent = host.failed_percent = 40;
	run_s(r, 200);
	assert_true(tally.deferred > 700 && tally.failed > 700);
	assert_false(thr_in_backoff(r->group));
	down(r);
}

static void
test_failures_have_a_share_of_their_own(void **state)
{
	struct ga_route *r = up(PROGRAM("  deferral_rate 90%\n  failure_rate 20%\n")
	    GENERAL("  max_delivery_rate 10/s\n"));

	(void)state;
	host.failed_percent = 25;
	assert_true(until_backoff(r, true, 100) < 60);
	assert_non_null(strstr(thr_backoff_reason(r->group), "failure_rate: "));
	down(r);
}

static void
test_too_few_results_begin_none(void **state)
{
	struct ga_route *r = up(PROGRAM("  deferral_rate 30%\n  minimum_sample 20\n")
	    GENERAL("  max_delivery_rate 15/min\n"));

	(void)state;
	host.deferred_percent = 100;
	run_s(r, 600);
	assert_true(tally.deferred > 100);
	assert_false(thr_in_backoff(r->group));
	bed_reload(PROGRAM("  deferral_rate 30%\n  minimum_sample 10\n") GENERAL("  max_delivery_rate 15/min\n"));
	assert_true(until_backoff(r, true, 100) < 60);
	down(r);
}

static void
test_what_the_host_had_no_part_in_does_not_count(void **state)
{
	struct ga_route *r = up(PROGRAM("  deferral_rate 30%\n") GENERAL(""));
	struct ga_ticket t = { .result = GA_RESULT_DEFERRAL, .stage = GA_AT_NOTHING };

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		thr_backoff_feed(r->group, &t, 1);
	t.result = GA_RESULT_CONNMAXOUT;
	t.stage = GA_AT_RCPT;
	for (unsigned i = 0; i < 100; i++)
		thr_backoff_feed(r->group, &t, 1);
	assert_null(r->group->backoff);		/* nothing was counted */
	assert_false(thr_in_backoff(r->group));
	down(r);
}

/* --- in backoff, and after --- */

static void
test_limits_return_after_return_after(void **state)
{
	struct ga_route *r = up(PROGRAM("  deferral_rate 30%\n  return_after 10m\n")
	    GENERAL("  max_delivery_rate 20/s\n"));

	(void)state;
	host.deferred_percent = 40;
	until_backoff(r, true, 100);
	host.deferred_percent = 0;
	assert_true(fabs(until_backoff(r, false, 3600) - 600) < 1);
	assert_int_equal(r->group->max, 100);
	run_s(r, 100);
	assert_in_range(tally.taken, 1990, 2005);
	down(r);
}

static void
test_a_share_of_no_limit_is_one_of_what_was_used(void **state)
{
	struct ga_route *r = up(PROGRAM("  deferral_rate 30%\n  window 10s\n  backoff_max_delivery_rate 50%\n")
	    GENERAL("  max_concurrent_connections 0\n"));

	(void)state;
	host.rate = 40;
	backlog = 8;
	until_backoff(r, true, 100);
	assert_true(r->group->backoff->used.connections > 20);
	assert_int_equal(r->group->max, r->group->backoff->used.connections / 4);
	run_s(r, 100);
	run_s(r, 100);
	assert_int_equal(tally.deferred, 0);		/* of what was taken, not of what was tried */
	assert_true(open_most <= r->group->max);
	down(r);
}

static void
test_a_reply_begins_a_backoff_without_a_program(void **state)
{
	struct ga_route *r = up("general {\n  max_delivery_rate 100/s\n  backoff_max_delivery_rate 3/s\n"
	    "  backoff_max_concurrent_connections 2\n  backoff_return_after 2m\n}\n");

	(void)state;
	run_s(r, 10);
	assert_null(r->group->backoff);
	thr->begin_backoff(ga_worker_get(0), ga_str_c("nobody"), "421 no", 0);
	thr->begin_backoff(ga_worker_get(0), ga_str_c("ip1pd1"), "421 slow down", 0);
	assert_string_equal(thr_backoff_reason(r->group), "421 slow down");
	run_s(r, 1);
	run_s(r, 100);
	assert_in_range(tally.taken, 298, 302);
	assert_int_equal(rig_open_now(), 2);
	assert_true(fabs(until_backoff(r, false, 3600) - 19) < 1);
	thr->begin_backoff(ga_worker_get(0), ga_str_c("ip1pd1"), "421 slow down", 600000);
	assert_true(fabs(until_backoff(r, false, 3600) - 600) < 1);
	down(r);
}

static void
test_an_operator_ends_a_backoff(void **state)
{
	struct ga_route *r = up(PROGRAM("  deferral_rate 30%\n") GENERAL("  max_delivery_rate 10/s\n"));

	(void)state;
	host.deferred_percent = 40;
	until_backoff(r, true, 100);
	host.deferred_percent = 0;
	assert_true(thr_backoff_end(r->group));
	assert_false(thr_backoff_end(r->group));
	run_s(r, 100);
	assert_in_range(tally.taken, 990, 1005);
	down(r);
}

static void
test_a_reload_changes_a_backoff_that_has_begun(void **state)
{
	struct ga_route *r = up(PROGRAM("  deferral_rate 30%\n") GENERAL("  max_delivery_rate 40/s\n"));

	(void)state;
	host.deferred_percent = 40;
	until_backoff(r, true, 100);
	host.deferred_percent = 0;
	run_s(r, 10);
	assert_in_range(tally.taken, 98, 106);
	bed_reload(PROGRAM("  deferral_rate 30%\n  backoff_max_delivery_rate 10%\n  return_after 5m\n")
	    GENERAL("  max_delivery_rate 20/s\n"));
	run_s(r, 1);
	run_s(r, 100);
	assert_in_range(tally.taken, 198, 202);
	assert_true(fabs(until_backoff(r, false, 3600) - (300 - 111)) < 1);
	bed_reload("general {\n}\n");
	host.deferred_percent = 100;
	run_s(r, 100);
	assert_false(thr_in_backoff(r->group));
	down(r);
}

static void
test_a_thousand_backoffs_cost_a_timer_each(void **state)
{
	static char keys[1000][16];
	struct ga_route *r = up(PROGRAM("  deferral_rate 30%\n  return_after 20m\n")
	    GENERAL("  system_max_smtp_connections 100\n")), *other[1000];
	uint64_t fired;

	(void)state;
	finish(r);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(keys[i], sizeof keys[i], "ip2pd%u", i);
		other[i] = rig_route(keys[i]);
		put(other[i]);
	}
	bed_turns(20);
	for (unsigned i = 0; i < 1000; i++)
		thr->begin_backoff(ga_worker_get(0), ga_str_c(keys[i]), "421 no", 0);
	for (unsigned i = 0; i < 2000; i++)
		tick(r, 0);
	for (unsigned i = 0; i < 1000; i++)
		ga_route_unref(other[i]);
	while (rig_close_idle(NULL, ga_worker_get(0)))
		;
	bed_turns(100);
	bed_advance(120000);
	fired = bed_fired();
	bed_advance(15 * 60000);
	assert_int_equal(bed_fired(), fired);
	assert_int_equal(rig_groups(), 1001);
	bed_advance(15 * 60000);
	assert_int_equal(bed_fired(), fired + 1000);
	bed_turns(100);
	assert_int_equal(rig_groups(), 1);
	down(r);
}

static void
test_a_group_that_comes_again_is_still_in_backoff(void **state)
{
	struct ga_route *r = up(PROGRAM("  deferral_rate 30%\n") GENERAL("  max_delivery_rate 10/s\n"));

	(void)state;
	host.deferred_percent = 40;
	until_backoff(r, true, 100);
	finish(r);
	ga_route_unref(r);
	bed_turns(10);
	bed_advance(5 * 60000);
	r = rig_route("ip1pd1");
	run_s(r, 1);
	assert_true(thr_in_backoff(r->group));
	down(r);
}

static void
test_a_window_outlives_its_mail(void **state)
{
	struct ga_route *r = up(PROGRAM("  deferral_rate 30%\n  minimum_sample 30\n")
	    GENERAL("  max_delivery_rate 1000/s\n"));

	(void)state;
	host.deferred_percent = 100;
	for (unsigned i = 0; i < 40 && (r->group == NULL || !thr_in_backoff(r->group)); i++) {
		tick(r, 1);
		finish(r);
		ga_route_unref(r);
		bed_turns(10);
		r = rig_route("ip1pd1");
		tick(r, 1);
	}
	assert_true(thr_in_backoff(r->group));
	down(r);
}

static void
test_a_program_without_a_share_is_refused(void **state)
{
	(void)state;
	assert_true(bed_refuses(&(struct bed){ .modules = modules, .workers = 1,
		.conf = PROGRAM("  window 2m\n") GENERAL("") }));
	assert_true(bed_refuses(&(struct bed){ .modules = modules, .workers = 1,
		.conf = "general {\n  throttle_program Q\n}\n" }));
	assert_false(bed_refuses(&(struct bed){ .modules = modules, .workers = 1,
		.conf = PROGRAM("  failure_rate 20%\n") GENERAL("") }));
}

/* --- recovery --- */

#define GRADUAL "  deferral_rate 30%\n  return_after 5m\n  recovery gradual\n"

/* An hour; the share of what the host would take that was used, and that was deferred. */
static void
well_used(struct ga_route *r, const char *what, double possible, double s)
{
	double used, deferred;

	run_s(r, s);
	used = 100 * tally.taken / (possible * s);
	deferred = 100.0 * tally.deferred / (tally.taken + tally.deferred);
	print_message("%s: %.1f %% used, %.2f %% deferred\n", what, used, deferred);
	assert_true(used >= 90);
	assert_true(deferred < 2);
}

static void
recover_to(double rate)
{
	struct ga_route *r = up(PROGRAM(GRADUAL) GENERAL("  max_delivery_rate 100/s\n"));

	host.rate = rate;
	assert_true(until_backoff(r, true, 200) < 60);
	run_s(r, 300 + 120);
	well_used(r, "hidden rate", rate, 3600);
	host.rate = 2 * rate;
	run_s(r, 900);
	well_used(r, "doubled", 2 * rate, 1800);
	host.rate = rate / 2;
	run_s(r, 30);
	well_used(r, "quartered", rate / 2, 1800);
	assert_true(thr_in_backoff(r->group));
	down(r);
}

static void
test_a_hidden_rate_is_found_and_followed(void **state)
{
	(void)state;
	recover_to(5);
	recover_to(50);
}

static void
test_a_hidden_number_of_connections_is_found(void **state)
{
	struct ga_route *r = up(PROGRAM(GRADUAL) GENERAL("  max_concurrent_connections 40\n"));

	(void)state;
	host.connections = 3;
	assert_true(until_backoff(r, true, 200) < 60);
	run_s(r, 300 + 120);
	well_used(r, "hidden connections", 3 * 1000.0 / ANSWER_MS, 3600);
	down(r);
}

/* Nothing is written that the way back could be measured by. */
static void
test_a_hidden_rate_is_found_without_a_written_one(void **state)
{
	static const double rates[] = { 5, 50 };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct ga_route *r = up(PROGRAM(GRADUAL) GENERAL("  max_delivery_rate 0\n"));

		host.rate = rates[i];
		assert_true(until_backoff(r, true, 200) < 60);
		run_s(r, 300 + 120);
		well_used(r, "hidden rate, none written", rates[i], 3600);
		host.rate = 2 * rates[i];
		run_s(r, 900);
		well_used(r, "doubled", 2 * rates[i], 1800);
		host.rate = rates[i] / 2;
		run_s(r, 30);
		well_used(r, "quartered", rates[i] / 2, 1800);
		down(r);
	}
}

static void
test_a_reload_to_at_once_ends_a_recovery(void **state)
{
	struct ga_route *r = up(PROGRAM(GRADUAL) GENERAL("  max_delivery_rate 100/s\n"));

	(void)state;
	host.rate = 10;
	until_backoff(r, true, 200);
	run_s(r, 420);
	assert_string_equal(thr_state(r->group), "recovery");
	bed_reload(PROGRAM("  deferral_rate 30%\n  return_after 5m\n") GENERAL("  max_delivery_rate 100/s\n"));
	host.rate = 0;
	run_s(r, 1);
	assert_string_equal(thr_state(r->group), "normal");
	run_s(r, 100);
	assert_in_range(tally.taken, 9900, 10100);
	down(r);
}

static void
test_refusals_while_connecting_lower_no_rate_that_is_not_written(void **state)
{
	struct ga_route *r = up(PROGRAM(GRADUAL) GENERAL("  max_concurrent_connections 40\n"));

	(void)state;
	host.connections = 3;
	assert_true(until_backoff(r, true, 200) < 60);
	assert_true(r->group->backoff->in_force.rate == 0);
	assert_int_equal(r->group->max, 10);
	run_s(r, 300 + 120);
	assert_true(r->group->backoff->in_force.rate == 0);
	down(r);
}

static void
test_without_a_hidden_limit_all_is_normal_again(void **state)
{
	struct ga_route *r = up(PROGRAM(GRADUAL) GENERAL("  max_delivery_rate 100/s\n"));

	(void)state;
	host.deferred_percent = 40;
	until_backoff(r, true, 200);
	host.deferred_percent = 0;
	assert_in_range((unsigned)until_backoff(r, false, 3600), 301, 700);
	down(r);
}

static void
test_deferrals_that_are_not_for_the_rate_do_not_hold_it_down(void **state)
{
	struct ga_route *r = up(PROGRAM(GRADUAL) GENERAL("  max_delivery_rate 100/s\n"));

	(void)state;
	host.deferred_percent = 5;
	thr->begin_backoff(ga_worker_get(0), ga_str_c("ip1pd1"), "421 no", 0);
	assert_in_range((unsigned)until_backoff(r, false, 3600), 301, 1200);
	down(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forty_per_cent_deferrals_begin_a_backoff_within_the_window),
		cmocka_unit_test(test_deferrals_below_the_share_begin_none),
		cmocka_unit_test(test_failures_have_a_share_of_their_own),
		cmocka_unit_test(test_too_few_results_begin_none),
		cmocka_unit_test(test_what_the_host_had_no_part_in_does_not_count),
		cmocka_unit_test(test_limits_return_after_return_after),
		cmocka_unit_test(test_a_share_of_no_limit_is_one_of_what_was_used),
		cmocka_unit_test(test_a_reply_begins_a_backoff_without_a_program),
		cmocka_unit_test(test_an_operator_ends_a_backoff),
		cmocka_unit_test(test_a_reload_changes_a_backoff_that_has_begun),
		cmocka_unit_test(test_a_thousand_backoffs_cost_a_timer_each),
		cmocka_unit_test(test_a_group_that_comes_again_is_still_in_backoff),
		cmocka_unit_test(test_a_window_outlives_its_mail),
		cmocka_unit_test(test_a_program_without_a_share_is_refused),
		cmocka_unit_test(test_a_hidden_rate_is_found_and_followed),
		cmocka_unit_test(test_a_hidden_number_of_connections_is_found),
		cmocka_unit_test(test_refusals_while_connecting_lower_no_rate_that_is_not_written),
		cmocka_unit_test(test_a_hidden_rate_is_found_without_a_written_one),
		cmocka_unit_test(test_a_reload_to_at_once_ends_a_recovery),
		cmocka_unit_test(test_without_a_hidden_limit_all_is_normal_again),
		cmocka_unit_test(test_deferrals_that_are_not_for_the_rate_do_not_hold_it_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
