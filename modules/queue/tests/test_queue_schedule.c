/*
 * test_queue_schedule.c - when an envelope is tried, how long it lives, and what
 * delivery_paused and the hook `schedule` make of it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage.h"

#define CONF								\
	"general {\n  queue_lifetime 4h\n}\n"				\
	"ip_address listed {\n"						\
	"  retry_schedule 5m, 15m, 1h\n"				\
	"  domain short.example {\n    queue_lifetime 10m\n  }\n"	\
	"  domain hasty.example {\n    retry_schedule 0s\n  }\n"	\
	"}\n"								\
	"ip_address brief {\n  queue_lifetime 1h\n}\n"

#define S UINT64_C(1000)

static int
setup(void **state)
{
	(void)state;
	stage_up(CONF);
	return 0;
}

static int
setup_hooked(void **state)
{
	(void)state;
	stage_up_hooked(CONF);
	return 0;
}

/* Milliseconds until something is due. */
static uint64_t
wait_ms(void)
{
	struct q_loop *l = q_loop(ga_worker_get(0));

	assert_true(l->nheap > 0);
	return q_envelope(l, l->heap[0])->due_ms - ga_now_ms(l->worker);
}

/* Nothing is tried before, and one envelope then. */
static void
one_is_tried_after(uint64_t ms)
{
	assert_int_equal(stage.ntickets, 0);
	if (ms > 1)
		bed_advance(ms - 1);
	assert_int_equal(stage.ntickets, 0);
	bed_advance(1);
	assert_int_equal(stage.ntickets, 1);
}

static struct ga_envelope
recorded(uint64_t seq)
{
	struct ga_envelope e;
	char reply[1001];

	assert_true(stage_recorded(seq, 0, &e, reply));
	return e;
}

/* --- the curve --- */

static void
test_attempts_follow_the_curve_until_the_lifetime_ends(void **state)
{
	uint64_t accepted = stage_wall(), seq, end = accepted + 2 * STAGE_DAY;

	(void)state;
	seq = stage_accept((struct stage_mail){ .domain = "d.example" });
	/* the curve has attempt 22 behind the end: it is the last one, and at the end */
	for (uint64_t n = 1; n <= 21; n++) {
		uint64_t curve = n * 20 * n * 20 * S, next;

		assert_int_equal(stage.first->attempts, n - 1);
		assert_int_equal(stage.first->flags & GA_TICKET_LAST_CHANCE, 0);
		stage_end_all(GA_RESULT_DEFERRAL);
		next = recorded(seq).next_ms;
		if (n <= 20)
			assert_in_range(next - accepted, curve - curve / 20, curve + curve / 20);
		else
			assert_int_equal(next, end);
		assert_int_equal(next, stage_wall() + wait_ms());
		one_is_tried_after(wait_ms());
	}
	assert_int_equal(stage_wall(), end);
	assert_true((stage.first->flags & GA_TICKET_LAST_CHANCE) != 0);
	stage_end_all(GA_RESULT_DEFERRAL);
	assert_int_equal(stage_stats().toolong_total, 1);
	assert_int_equal(stage_stats().deferral_total, 21);
	assert_int_equal(stage_stats().failed, 1);
	assert_int_equal(recorded(seq).flags, GA_ENV_FAILED | GA_ENV_EXPIRED);
	assert_int_equal(recorded(seq).attempts, 22);
	bed_advance(10 * STAGE_DAY);
	assert_int_equal(stage.ntickets, 0);
}

static void
test_times_are_spread_by_five_percent_both_ways(void **state)
{
	struct q_loop *l = q_loop(ga_worker_get(0));
	uint64_t least = UINT64_MAX, most = 0;

	(void)state;
	stage_accept((struct stage_mail){ .n = 1000 });
	stage_end_all(GA_RESULT_DEFERRAL);
	bed_turns(30);
	assert_int_equal(l->nheap, 1000);
	for (uint32_t i = 0; i < l->nheap; i++) {
		uint64_t wait = q_envelope(l, l->heap[i])->due_ms - ga_now_ms(l->worker);

		least = wait < least ? wait : least;
		most = wait > most ? wait : most;
	}
	assert_in_range(least, 380 * S, 382 * S);
	assert_in_range(most, 418 * S, 420 * S);
}

static void
test_the_curve_counts_from_acceptance_whatever_an_attempt_took(void **state)
{
	uint64_t accepted = stage_wall(), seq;

	(void)state;
	seq = stage_accept((struct stage_mail){ .domain = "d.example" });
	bed_advance(300 * S);
	stage_end_all(GA_RESULT_DEFERRAL);
	assert_in_range(recorded(seq).next_ms - accepted, 380 * S, 420 * S);
}

static void
test_an_attempt_that_took_longer_than_the_wait_is_not_repeated_at_once(void **state)
{
	(void)state;
	stage_accept((struct stage_mail){ .domain = "d.example" });
	bed_advance(1000 * S);
	stage_end_all(GA_RESULT_DEFERRAL);
	assert_in_range(wait_ms(), 380 * S, 420 * S);
}

/* --- retry_schedule --- */

static void
test_retry_schedule_is_kept_to_the_millisecond_and_its_last_wait_repeats(void **state)
{
	static const uint64_t waits[] = { 300, 900, 3600, 3600, 3600 };

	(void)state;
	stage_accept((struct stage_mail){ .domain = "d.example", .vmta = "listed" });
	for (unsigned i = 0; i < 5; i++) {
		bed_advance(7 * S);		/* what an attempt takes is not in a wait */
		stage_end_all(GA_RESULT_DEFERRAL);
		one_is_tried_after(waits[i] * S);
	}
	stage_end_all(GA_RESULT_DEFERRAL);
	/* the end of its life is sooner than another hour */
	one_is_tried_after((4 * 3600 - 300 - 900 - 3 * 3600 - 5 * 7) * S);
	assert_true((stage.first->flags & GA_TICKET_LAST_CHANCE) != 0);
}

static void
test_no_wait_at_all_is_a_second(void **state)
{
	(void)state;
	stage_accept((struct stage_mail){ .domain = "hasty.example", .vmta = "listed" });
	for (int i = 0; i < 5; i++) {
		stage_end_all(GA_RESULT_DEFERRAL);
		one_is_tried_after(1000);
	}
}

/* --- queue_lifetime --- */

static void
test_the_last_attempt_is_at_the_end_and_its_deferral_is_toolong(void **state)
{
	uint64_t seq;

	(void)state;
	seq = stage_accept((struct stage_mail){ .domain = "short.example", .vmta = "listed" });
	stage_end_all(GA_RESULT_DEFERRAL);
	one_is_tried_after(300 * S);
	stage_end_all(GA_RESULT_DEFERRAL);
	one_is_tried_after(300 * S);		/* not 900: its life ends */
	assert_true((stage.first->flags & GA_TICKET_LAST_CHANCE) != 0);
	stage_end_all(GA_RESULT_DEFERRAL);
	assert_int_equal(stage_stats().toolong_total, 1);
	assert_int_equal(stage_stats().failure_total, 0);
	assert_int_equal(recorded(seq).flags, GA_ENV_FAILED | GA_ENV_EXPIRED);
	assert_int_equal(recorded(seq).attempts, 3);
}

static void
test_the_last_attempt_may_still_succeed_or_fail_by_itself(void **state)
{
	uint64_t failed;

	(void)state;
	failed = stage_accept((struct stage_mail){ .domain = "short.example", .vmta = "listed" });
	stage_accept((struct stage_mail){ .domain = "short.example", .vmta = "listed" });
	stage_end_all(GA_RESULT_DEFERRAL);
	bed_advance(300 * S);
	stage_end_all(GA_RESULT_DEFERRAL);
	bed_advance(300 * S);
	assert_int_equal(stage.ntickets, 2);
	stage_end(stage.first->seq == failed ? stage.first : stage.first->next, GA_RESULT_FAILURE);
	stage_end_all(GA_RESULT_SUCCESS);
	assert_int_equal(stage_stats().toolong_total, 0);
	assert_int_equal(stage_stats().failure_total, 1);
	assert_int_equal(stage_stats().success_total, 1);
	assert_int_equal(recorded(failed).flags, GA_ENV_FAILED);
}

static void
test_a_life_that_ends_during_an_attempt_has_one_more(void **state)
{
	(void)state;
	stage_accept((struct stage_mail){ .domain = "short.example", .vmta = "listed" });
	stage.keeps_recalled = true;
	bed_advance(700 * S);
	stage_end_all(GA_RESULT_DEFERRAL);	/* it began in time: a deferral like any other */
	assert_int_equal(stage_stats().deferral_total, 1);
	bed_advance(0);
	assert_int_equal(stage.ntickets, 1);
	assert_true((stage.first->flags & GA_TICKET_LAST_CHANCE) != 0);
	stage_end_all(GA_RESULT_DEFERRAL);
	assert_int_equal(stage_stats().toolong_total, 1);
}

static void
test_a_route_that_defers_is_a_deferral_also_of_the_last_attempt(void **state)
{
	uint64_t seq;
	struct ga_envelope e;
	char reply[1001];

	(void)state;
	stage.kind = GA_ROUTE_DEFER;
	seq = stage_accept((struct stage_mail){ .domain = "short.example", .vmta = "listed" });
	assert_int_equal(stage_stats().deferral_total, 1);
	assert_true(stage_recorded(seq, 0, &e, reply));
	assert_string_equal(reply, "451 4.4.3 said the router");
	bed_advance(600 * S - 1);
	assert_int_equal(stage_stats().toolong_total, 0);
	bed_advance(1);
	assert_int_equal(stage_stats().toolong_total, 1);
	assert_int_equal(stage_stats().deferral_total, 2);
}

static void
test_lifetime_is_that_of_virtual_mta_and_domain(void **state)
{
	static const struct { const char *vmta, *domain; uint64_t s; } lives[] = {
		{ NULL, "short.example", 4 * 3600 },
		{ "brief", "short.example", 3600 },
		{ "listed", "other.example", 4 * 3600 },
		{ "listed", "short.example", 600 },
	};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t accepted = stage_wall(), seq;

		seq = stage_accept((struct stage_mail){ .domain = lives[i].domain, .vmta = lives[i].vmta });
		while (stage_stats().failed == i) {
			stage_end_all(GA_RESULT_DEFERRAL);
			if (stage_stats().failed == i)
				bed_advance(wait_ms());
		}
		assert_int_equal(stage_wall() - accepted, lives[i].s * S);
		assert_true((recorded(seq).flags & GA_ENV_EXPIRED) != 0);
	}
}

static void
test_a_life_that_ended_while_the_daemon_was_down_has_a_last_attempt(void **state)
{
	(void)state;
	stage_accept((struct stage_mail){ .domain = "short.example", .vmta = "listed" });
	stage_end_all(GA_RESULT_DEFERRAL);
	stage_kill();
	bed_wall_step((int64_t)STAGE_DAY);	/* that is all that a process which starts can see */
	stage_start(CONF);
	assert_int_equal(stage.ntickets, 1);
	assert_true((stage.first->flags & GA_TICKET_LAST_CHANCE) != 0);
	assert_int_equal(stage.first->attempts, 1);
	stage_end_all(GA_RESULT_DEFERRAL);
	assert_int_equal(stage_stats().toolong_total, 1);
}

/* --- delivery_paused --- */

static void
test_paused_mail_is_neither_tried_nor_deferred(void **state)
{
	uint64_t seq;

	(void)state;
	stage.kind = GA_ROUTE_PAUSED;
	seq = stage_accept((struct stage_mail){ .n = 2 });
	bed_advance(1800 * S);
	assert_int_equal(stage_stats().paused, 2);
	assert_int_equal(stage_stats().ram, 2);
	assert_int_equal(stage_stats().deferral_total, 0);
	assert_int_equal(stage_spool().updates, 0);
	assert_int_equal(recorded(seq).attempts, 0);
	/* what waits for an operator does not fill the memory */
	assert_null(q_message(q_loop(ga_worker_get(0)), stage_envelope(seq, 0)->message)->live);
	stage_check();
}

/* Between two looks of a post that comes again and again: envelopes looked at, and routed. */
static struct {
	struct ga_post post;
	uint32_t at;
	unsigned routed, most_looked, most_routed;
	bool stop;
} watch;

static void
watch_slices(struct ga_worker *w, struct ga_post *post)
{
	uint32_t at = q_loop(w)->look_at;
	unsigned routed = stage.routed - watch.routed;

	if (at > watch.at && at - watch.at > watch.most_looked)
		watch.most_looked = at - watch.at;
	watch.most_routed = routed > watch.most_routed ? routed : watch.most_routed;
	watch.at = at;
	watch.routed = stage.routed;
	if (!watch.stop)
		ga_loop_post(w, post);
}

static void
test_a_reload_looks_at_a_hundred_thousand_in_slices(void **state)
{
	(void)state;
	stage.kind = GA_ROUTE_PAUSED;
	for (unsigned i = 0; i < 100; i++)
		stage_accept((struct stage_mail){ .n = 1000, .domain = i % 2 == 0 ? "one.example" : "two.example" });
	bed_turns(2000);
	assert_int_equal(stage_stats().paused, 100000);
	memset(&watch, 0, sizeof watch);
	watch.post.fn = watch_slices;
	watch.routed = stage.routed;
	ga_loop_post(ga_worker_get(0), &watch.post);
	bed_reload(CONF);
	for (unsigned i = 0; i < 2000 && stage.routed < 200000; i++) {
		bed_turn();
		bed_advance(0);
	}
	watch.stop = true;
	bed_turns(2);
	assert_int_equal(stage.routed, 200000);
	assert_int_equal(stage_stats().paused, 100000);
	assert_int_equal(watch.most_looked, Q_LOOK_SLICE);
	assert_in_range(watch.most_routed, 1, 300);
	stage_check();
}

static void
test_paused_mail_goes_on_after_the_reload(void **state)
{
	(void)state;
	stage.kind = GA_ROUTE_PAUSED;
	stage_accept((struct stage_mail){ .n = 3 });
	bed_advance(3 * S);
	stage.kind = GA_ROUTE_DELIVER;
	assert_int_equal(stage.ntickets, 0);
	bed_reload(CONF);
	bed_turns(4);
	bed_advance(0);
	assert_int_equal(stage.ntickets, 3);
	assert_int_equal(stage.first->attempts, 0);
	assert_true((stage.first->flags & GA_TICKET_FIRST) != 0);
}

static void
test_paused_mail_is_looked_at_every_minute(void **state)
{
	(void)state;
	stage.kind = GA_ROUTE_PAUSED;
	stage_accept((struct stage_mail){ .domain = "d.example" });
	stage.kind = GA_ROUTE_DELIVER;
	one_is_tried_after(60 * S);
}

static void
test_paused_mail_expires_at_its_end_untried(void **state)
{
	struct ga_envelope e;
	char reply[1001];
	uint64_t seq;

	(void)state;
	stage.kind = GA_ROUTE_PAUSED;
	seq = stage_accept((struct stage_mail){ .domain = "short.example", .vmta = "listed" });
	bed_advance(600 * S - 1);
	assert_int_equal(stage_stats().toolong_total, 0);
	assert_int_equal(stage_stats().paused, 1);
	bed_advance(1);
	assert_int_equal(stage_stats().toolong_total, 1);
	assert_int_equal(stage_stats().failed, 1);
	assert_true(stage_recorded(seq, 0, &e, reply));
	assert_int_equal(e.flags, GA_ENV_FAILED | GA_ENV_EXPIRED);
	assert_int_equal(e.attempts, 0);
	assert_string_equal(reply, "Delivery paused until its lifetime ended.");
	assert_int_equal(stage_stats().deferral_total, 0);
}

static void
test_a_pause_between_two_attempts_counts_none(void **state)
{
	(void)state;
	stage_accept((struct stage_mail){ .domain = "d.example", .vmta = "listed" });
	stage_end_all(GA_RESULT_DEFERRAL);
	stage.kind = GA_ROUTE_PAUSED;
	bed_advance(1200 * S);
	assert_int_equal(stage_stats().paused, 1);
	assert_int_equal(stage_stats().disk, 1);
	stage.kind = GA_ROUTE_DELIVER;
	bed_advance(60 * S);
	assert_int_equal(stage.ntickets, 1);
	assert_int_equal(stage.first->attempts, 1);
	stage_end_all(GA_RESULT_DEFERRAL);
	one_is_tried_after(900 * S);
}

/* --- held --- */

static void
test_held_mail_expires_at_its_end_untried(void **state)
{
	struct ga_envelope e;
	char reply[1001];
	uint64_t seq;

	(void)state;
	seq = stage_accept((struct stage_mail){ .domain = "short.example", .vmta = "listed", .hold = true });
	assert_int_equal(stage_stats().paused, 1);
	bed_advance(600 * S - 1);
	assert_int_equal(stage_stats().failed, 0);
	bed_advance(1);
	assert_int_equal(stage_stats().failed, 1);
	assert_int_equal(stage_stats().toolong_total, 1);
	assert_int_equal(stage.ntickets, 0);
	assert_true(stage_recorded(seq, 0, &e, reply));
	assert_int_equal(e.flags, GA_ENV_SUSPENDED | GA_ENV_FAILED | GA_ENV_EXPIRED);
	assert_string_equal(reply, "Held until its lifetime ended.");
}

static void
test_held_mail_lives_as_long_as_the_configuration_of_now_says(void **state)
{
	(void)state;
	stage_accept((struct stage_mail){ .domain = "d.example", .vmta = "brief", .hold = true });
	bed_reload("ip_address brief {\n  queue_lifetime 30m\n}\n");
	bed_turns(4);
	bed_advance(1800 * S - 1);
	assert_int_equal(stage_stats().failed, 0);
	bed_advance(1);
	assert_int_equal(stage_stats().failed, 1);
	stage_accept((struct stage_mail){ .domain = "d.example", .vmta = "brief", .hold = true });
	bed_reload("ip_address brief {\n  queue_lifetime 2h\n}\n");
	bed_turns(4);
	bed_advance(7200 * S - 1);
	assert_int_equal(stage_stats().failed, 1);
	bed_advance(1);
	assert_int_equal(stage_stats().failed, 2);
}

/* --- the hook `schedule` --- */

static enum ga_verdict schedule_verdict;
static uint64_t schedule_next;
static struct ga_ev_schedule seen;

static enum ga_verdict
say(struct ga_call *call, const struct ga_ev_schedule *ev)
{
	seen = *ev;
	if (schedule_next != 0)
		assert_true(ga_schedule_set(call, schedule_next));
	return schedule_verdict;
}

static void
defer_one(enum ga_verdict verdict, uint64_t next)
{
	stage.schedule = say;
	schedule_verdict = verdict;
	schedule_next = next;
	stage_accept((struct stage_mail){ .domain = "d.example", .vmta = "listed" });
	stage_end_all(GA_RESULT_DEFERRAL);
	stage_check();
}

static void
test_schedule_without_an_opinion_leaves_the_time(void **state)
{
	uint64_t accepted = stage_wall();

	(void)state;
	defer_one(GA_PASS, 0);
	assert_int_equal(seen.accepted_ms, accepted);
	assert_int_equal(seen.attempts, 1);
	assert_int_equal(seen.next_ms, accepted + 300 * S);
	assert_int_equal(seen.expires_ms, accepted + 4 * 3600 * S);
	one_is_tried_after(300 * S);
}

static void
test_schedule_sets_the_time(void **state)
{
	(void)state;
	defer_one(GA_PASS, stage_wall() + 1234567);
	one_is_tried_after(1234567);
}

static void
test_schedule_does_not_outlive_the_lifetime(void **state)
{
	(void)state;
	defer_one(GA_PASS, stage_wall() + 30 * STAGE_DAY);
	one_is_tried_after(4 * 3600 * S);
	assert_true((stage.first->flags & GA_TICKET_LAST_CHANCE) != 0);
}

static void
test_a_time_that_has_passed_is_now(void **state)
{
	(void)state;
	defer_one(GA_PASS, stage_wall() - 5000);
	bed_advance(0);
	assert_int_equal(stage.ntickets, 1);
}

static void
test_schedule_holds_until_the_last_attempt(void **state)
{
	(void)state;
	defer_one(GA_HOLD, 0);
	one_is_tried_after(4 * 3600 * S);
	assert_true((stage.first->flags & GA_TICKET_LAST_CHANCE) != 0);
}

static void
test_verdicts_that_mean_nothing_here_change_nothing(void **state)
{
	static const enum ga_verdict verdicts[] = { GA_ACCEPT, GA_TEMPFAIL, GA_REJECT, GA_DISCARD };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		defer_one(verdicts[i], 0);
		one_is_tried_after(300 * S);
		stage_end_all(GA_RESULT_SUCCESS);
	}
}

static enum ga_verdict
think(struct ga_call *call, const struct ga_ev_schedule *ev)
{
	(void)ev;
	return stage_suspend(call);
}

static void
think_about_one(void)
{
	stage.schedule = think;
	stage_accept((struct stage_mail){ .domain = "d.example", .vmta = "listed" });
	stage_end_all(GA_RESULT_DEFERRAL);
	assert_int_equal(stage_wait.asked, 1);
	/* it is out, and nothing is on record, until the module has said */
	assert_int_equal(stage_stats().in_flight, 1);
	assert_int_equal(stage_spool().updates, 0);
	stage_check();
}

static void
test_schedule_may_think(void **state)
{
	(void)state;
	think_about_one();
	bed_advance(10 * S);
	stage_resume(GA_PASS);
	assert_int_equal(stage_spool().updates, 1);
	stage_check();
	one_is_tried_after(290 * S);		/* of the time that was proposed */
}

static void
test_schedule_that_thinks_too_long_is_not_waited_for(void **state)
{
	(void)state;
	think_about_one();
	bed_advance(30 * S);
	assert_int_equal(stage_wait.cancelled, 1);
	assert_int_equal(stage_wait.why, GA_WHY_TIMEOUT);
	assert_int_equal(stage_spool().updates, 1);
	one_is_tried_after(270 * S);
}

static void
test_a_stop_while_schedule_thinks_loses_no_attempt(void **state)
{
	(void)state;
	think_about_one();
	stage_kill();
	assert_int_equal(stage_wait.cancelled, 1);
	assert_int_equal(stage_wait.resumed, 0);
	assert_int_equal(stage_wait.why, GA_WHY_DRAIN);
	stage_start(CONF);
	assert_int_equal(stage_stats().disk, 1);
	one_is_tried_after(300 * S);
	assert_int_equal(stage.first->attempts, 1);
}

/* A message that is not in memory is read back before the module is asked. */
static void
test_a_stop_while_the_message_is_read_back_loses_no_attempt(void **state)
{
	struct ga_ticket *t;

	(void)state;
	stage.schedule = think;
	stage_accept((struct stage_mail){ .domain = "d.example", .vmta = "listed" });
	stage_restart(CONF);
	t = stage.first;
	assert_null(t->message);
	stage.first = NULL;
	stage.last = &stage.first;
	stage.ntickets = 0;
	t->result = GA_RESULT_DEFERRAL;
	t->done(t->home, t);		/* the spool's answer is on its way when the loop ends */
	assert_int_equal(stage_spool().reads, 1);
	stage_kill();
	assert_int_equal(stage_wait.asked, 0);
	stage_start(CONF);
	assert_int_equal(stage_stats().disk, 1);
	one_is_tried_after(300 * S);
	assert_int_equal(stage.first->attempts, 1);
}

#define CONFIGURED(name) cmocka_unit_test_setup_teardown(name, setup, stage_teardown)
#define HOOKED(name) cmocka_unit_test_setup_teardown(name, setup_hooked, stage_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STAGE_TEST(test_attempts_follow_the_curve_until_the_lifetime_ends),
		STAGE_TEST(test_times_are_spread_by_five_percent_both_ways),
		STAGE_TEST(test_the_curve_counts_from_acceptance_whatever_an_attempt_took),
		STAGE_TEST(test_an_attempt_that_took_longer_than_the_wait_is_not_repeated_at_once),
		CONFIGURED(test_retry_schedule_is_kept_to_the_millisecond_and_its_last_wait_repeats),
		CONFIGURED(test_no_wait_at_all_is_a_second),
		CONFIGURED(test_the_last_attempt_is_at_the_end_and_its_deferral_is_toolong),
		CONFIGURED(test_the_last_attempt_may_still_succeed_or_fail_by_itself),
		CONFIGURED(test_a_life_that_ends_during_an_attempt_has_one_more),
		CONFIGURED(test_a_route_that_defers_is_a_deferral_also_of_the_last_attempt),
		CONFIGURED(test_lifetime_is_that_of_virtual_mta_and_domain),
		CONFIGURED(test_a_life_that_ended_while_the_daemon_was_down_has_a_last_attempt),
		CONFIGURED(test_paused_mail_is_neither_tried_nor_deferred),
		CONFIGURED(test_a_reload_looks_at_a_hundred_thousand_in_slices),
		CONFIGURED(test_paused_mail_goes_on_after_the_reload),
		CONFIGURED(test_paused_mail_is_looked_at_every_minute),
		CONFIGURED(test_paused_mail_expires_at_its_end_untried),
		CONFIGURED(test_a_pause_between_two_attempts_counts_none),
		CONFIGURED(test_held_mail_expires_at_its_end_untried),
		CONFIGURED(test_held_mail_lives_as_long_as_the_configuration_of_now_says),
		HOOKED(test_schedule_without_an_opinion_leaves_the_time),
		HOOKED(test_schedule_sets_the_time),
		HOOKED(test_schedule_does_not_outlive_the_lifetime),
		HOOKED(test_a_time_that_has_passed_is_now),
		HOOKED(test_schedule_holds_until_the_last_attempt),
		HOOKED(test_verdicts_that_mean_nothing_here_change_nothing),
		HOOKED(test_schedule_may_think),
		HOOKED(test_schedule_that_thinks_too_long_is_not_waited_for),
		HOOKED(test_a_stop_while_schedule_thinks_loses_no_attempt),
		HOOKED(test_a_stop_while_the_message_is_read_back_loses_no_attempt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
