/*
 * test_queue_stop.c - how a queue ends and begins again: drain, a stop that waits for
 * nobody, what is on record when, and what comes back.
 *
 * Each test that kills the process leaves it to LeakSanitizer to find what was not freed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage.h"

static struct ga_envelope
recorded(uint64_t seq, uint32_t index)
{
	struct ga_envelope e;
	char reply[1001];

	assert_true(stage_recorded(seq, index, &e, reply));
	return e;
}

/* --- drain --- */

static void
test_a_drain_takes_back_what_waits_and_ends(void **state)
{
	(void)state;
	stage_accept((struct stage_mail){ .n = 300, .domain = "big.example" });
	assert_int_equal(stage.ntickets, 200);
	bed_drain();
	assert_true(bed_held());
	assert_int_equal(stage.recalls, 1);
	bed_turns(10);
	assert_false(bed_held());
	assert_int_equal(stage.ntickets, 0);
	assert_int_equal(stage_stats().waiting, 300);
	assert_int_equal(stage_spool().updates, 0);
	stage_check();
}

static void
test_a_drain_waits_for_what_is_in_flight_and_records_it(void **state)
{
	uint64_t seq;

	(void)state;
	seq = stage_accept((struct stage_mail){ .n = 3 });
	stage.keeps_recalled = true;
	bed_drain();
	bed_turns(10);
	assert_true(bed_held());
	stage_end(stage.first, GA_RESULT_SUCCESS);
	bed_turns(4);
	assert_true(bed_held());
	stage_end(stage.first, GA_RESULT_DEFERRAL);
	stage_end(stage.first, GA_RESULT_FAILURE);
	bed_turns(4);
	assert_false(bed_held());
	assert_int_equal(recorded(seq, 0).flags & GA_ENV_DONE, GA_ENV_DONE);
	assert_int_equal(recorded(seq, 1).attempts, 1);
	assert_int_equal(recorded(seq, 2).flags, GA_ENV_FAILED);
	/* nothing is tried any more, however long the stop takes */
	bed_advance(3600000);
	assert_int_equal(stage.ntickets, 0);
	stage_check();
}

static void
test_a_drain_takes_back_what_is_still_being_routed(void **state)
{
	(void)state;
	stage.routes_late = true;
	stage_accept((struct stage_mail){ .n = 3 });
	bed_drain();
	bed_turns(10);
	assert_true(bed_held());
	stage_routes();
	assert_false(bed_held());
	assert_int_equal(stage.ntickets, 0);
	assert_int_equal(stage_stats().waiting, 3);
}

static void
test_mail_that_comes_during_a_drain_is_stored_and_waits(void **state)
{
	(void)state;
	bed_drain();
	assert_false(bed_held());
	stage_accept((struct stage_mail){ .n = 2 });
	assert_int_equal(stage.routed, 0);
	assert_int_equal(stage_stats().waiting, 2);
	stage_restart("");
	assert_int_equal(stage.ntickets, 2);
}

/* --- a stop that waits for nobody --- */

static void
test_a_stop_with_tickets_and_routes_out_frees_all(void **state)
{
	(void)state;
	stage_accept((struct stage_mail){ .n = 50 });
	stage.routes_late = true;
	stage_accept((struct stage_mail){ .n = 50, .sender = "x@other.example" });
	assert_int_equal(stage_stats().in_flight, 100);
	bed_drain();
	stage_kill();
	stage.routes_late = false;
	stage_start("");
	assert_int_equal(stage.ntickets, 100);
}

static void
test_a_stop_with_results_on_their_way_frees_all_and_tries_again(void **state)
{
	(void)state;
	stage_accept((struct stage_mail){ .n = 20 });
	while (stage.ntickets > 10)
		stage_end(stage.first, GA_RESULT_DEFERRAL);
	while (stage.ntickets > 0)
		stage_end(stage.first, GA_RESULT_SUCCESS);
	stage_kill();		/* no result has come home */
	stage_start("");
	assert_int_equal(stage.ntickets, 20);
	assert_int_equal(stage.first->attempts, 0);
}

static void
test_a_stop_with_mail_at_the_spool_frees_all(void **state)
{
	struct stage_submit *s[10];

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		s[i] = stage_submit((struct stage_mail){ .n = 3, .discard = i % 2 == 0 });
	stage_kill();
	for (unsigned i = 0; i < 10; i++) {
		/* what needs no commit has its answer, of the rest nobody knows */
		assert_int_equal(s[i]->answers, i % 2 == 0);
		stage_submit_free(s[i]);
	}
	stage_start("");
	assert_int_equal(stage.ntickets, 15);
}

static void
test_a_stop_in_a_lane_that_goes_on_at_its_next_turn_frees_all(void **state)
{
	struct stage_submit *s;

	(void)state;
	stage.kind = GA_ROUTE_FAIL;
	s = stage_submit((struct stage_mail){ .n = 150, .domain = "big.example" });
	while (stage.routed == 0)
		bed_turn();
	stage_submit_free(s);
	stage_kill();
	stage_start("");
	assert_int_equal(stage_stats().failed, 150);
}

/* --- crash order: on record first --- */

static unsigned looked;

static uint32_t
table_state(uint64_t seq, uint32_t index)
{
	const struct q_envelope *e = stage_envelope(seq, index);

	assert_non_null(e);		/* not forgotten yet */
	assert_int_equal(e->heap_at, 0);	/* nor has it a next time */
	return e->state;
}

static void
done_is_first(struct ga_worker *w, const struct ga_spool_done *d)
{
	(void)w;
	looked++;
	assert_int_equal(table_state(d->end.seq, d->end.envelope), Q_OUT);
	assert_int_equal(d->end.result, GA_RESULT_SUCCESS);
}

static void
update_is_first(struct ga_worker *w, const struct ga_spool_update *u)
{
	(void)w;
	looked++;
	assert_int_equal(table_state(u->seq, u->envelope), Q_OUT);
}

static void
test_a_result_is_on_record_before_the_envelope_moves_on(void **state)
{
	(void)state;
	looked = 0;
	stage.on_done = done_is_first;
	stage.on_update = update_is_first;
	stage_accept((struct stage_mail){ .n = 3 });
	stage_end(stage.first, GA_RESULT_SUCCESS);
	stage_end(stage.first, GA_RESULT_DEFERRAL);
	stage_end(stage.first, GA_RESULT_FAILURE);
	bed_turns(4);
	assert_int_equal(looked, 3);
}

static void
test_a_success_that_delivery_recorded_is_not_recorded_twice(void **state)
{
	(void)state;
	stage_accept((struct stage_mail){ .n = 1 });
	stage.first->recorded = true;
	stage_end_all(GA_RESULT_SUCCESS);
	assert_int_equal(stage_spool().dones, 0);
	assert_int_equal(stage_stats().messages, 0);
	spool_memory_forget_all();
}

static void
test_a_crash_after_each_result_repeats_nothing(void **state)
{
	(void)state;
	stage_accept((struct stage_mail){ .n = 6 });
	for (unsigned left = 6; left > 0; left--) {
		assert_int_equal(stage.ntickets, left);
		stage_end(stage.first, left % 2 == 0 ? GA_RESULT_SUCCESS : GA_RESULT_FAILURE);
		bed_turns(4);
		stage_restart("");
	}
	assert_int_equal(stage.ntickets, 0);
	assert_int_equal(stage_stats().failed, 3);
}

/* --- recovery --- */

static void
test_envelopes_come_back_as_they_were_recorded(void **state)
{
	static const struct { uint32_t flags, attempts; uint64_t in_ms; } was[] = {
		{ 0, 0, 0 },					/* never tried: now */
		{ 0, 3, 500000 },				/* waits */
		{ 0, 2, 0 },					/* came due meanwhile */
		{ GA_ENV_FAILED, 1, 0 },
		{ GA_ENV_FAILED | GA_ENV_EXPIRED, 22, 0 },
		{ GA_ENV_SUSPENDED, 1, 0 },
		{ GA_ENV_DONE, 0, 0 },
	};
	struct ga_message *m = stage_message(&(struct stage_mail){ .n = 7 }, 42);
	uint64_t seq;

	(void)state;
	for (unsigned i = 0; i < 7; i++) {
		m->envelopes[i].flags = was[i].flags;
		m->envelopes[i].attempts = was[i].attempts;
		m->envelopes[i].next_ms = was[i].in_ms > 0 ? stage_wall() + was[i].in_ms : 0;
	}
	stage_loaded(m);
	seq = spool_memory_last_seq();
	stage_restart("");
	assert_int_equal(stage_stats().envelopes, 6);
	assert_int_equal(stage_stats().failed, 2);
	assert_int_equal(stage_stats().paused, 1);
	assert_int_equal(stage_stats().in_flight, 2);
	assert_int_equal(stage_stats().ram, 1);
	assert_int_equal(stage_stats().disk, 3);
	assert_null(stage_envelope(seq, 6));
	assert_int_equal(stage_envelope(seq, 1)->attempts, 3);
	assert_int_equal(stage.ntickets, 2);
	stage_check();
	bed_advance(500000 - 1);
	assert_int_equal(stage.ntickets, 2);
	bed_advance(1);
	assert_int_equal(stage.ntickets, 3);
	for (const struct ga_ticket *t = stage.first; t != NULL; t = t->next)
		assert_int_equal(t->attempts, was[t->envelope].attempts);
}

static void
test_what_failed_stays_failed_and_what_is_held_stays_held(void **state)
{
	uint64_t failed;

	(void)state;
	failed = stage_accept((struct stage_mail){ .n = 2 });
	stage_end_all(GA_RESULT_FAILURE);
	stage_accept((struct stage_mail){ .n = 3, .hold = true });
	for (unsigned i = 0; i < 3; i++) {
		stage_restart("");
		assert_int_equal(stage_stats().failed, 2);
		assert_int_equal(stage_stats().paused, 3);
		assert_int_equal(stage.ntickets, 0);
		stage_check();
	}
	assert_int_equal(recorded(failed, 0).flags, GA_ENV_FAILED);
	bed_advance(2 * STAGE_DAY);		/* until the end of their lives, counted from acceptance */
	assert_int_equal(stage_stats().failed, 5);
	assert_int_equal(stage_stats().paused, 0);
}

static void
test_bounces_are_counted_and_marked_as_such(void **state)
{
	struct ga_message *m = stage_message(&(struct stage_mail){ .n = 1, .sender = "" }, 43);
	const struct ga_queue *queue = ga_service_get(GA_QUEUE_SERVICE, GA_QUEUE_VERSION);

	(void)state;
	m->flags |= GA_MSG_BOUNCE;
	queue->add(ga_worker_get(0), m, false);
	ga_message_unref(m);
	assert_int_equal(stage_stats().bounce, 1);
	assert_int_equal(stage_stats().ram, 0);
	assert_true((stage.first->flags & GA_TICKET_BOUNCE) != 0);
	stage_check();
	stage_end_all(GA_RESULT_DEFERRAL);
	assert_int_equal(stage_stats().bounce, 0);
	assert_int_equal(stage_stats().disk, 1);
}

static void
test_mail_comes_back_in_the_order_it_was_accepted(void **state)
{
	uint64_t last = 0;

	(void)state;
	stage.routes_late = true;
	for (unsigned i = 0; i < 50; i++)
		stage_accept((struct stage_mail){ .domain = "d.example" });
	stage_kill();
	stage.routes_late = false;
	stage_start("");
	assert_int_equal(stage.ntickets, 50);
	for (const struct ga_ticket *t = stage.first; t != NULL; t = t->next) {
		assert_true(t->seq > last);
		last = t->seq;
	}
}

static void
test_two_messages_of_one_id_are_both_delivered(void **state)
{
	(void)state;
	stage_loaded(stage_message(&(struct stage_mail){ .n = 1 }, 77));
	stage_loaded(stage_message(&(struct stage_mail){ .n = 2 }, 77));
	stage_restart("");
	assert_int_equal(stage.ntickets, 3);
	stage_check();
	stage_end_all(GA_RESULT_SUCCESS);
	assert_int_equal(stage_spool().live, 0);
}

static void
test_what_was_accepted_by_a_clock_that_was_ahead_is_not_kept_for_ever(void **state)
{
	struct ga_message *m = stage_message(&(struct stage_mail){ .n = 2 }, 78);
	uint64_t ahead = 3650 * STAGE_DAY;

	(void)state;
	m->accepted_ms += ahead;
	m->envelopes[1].attempts = 1;
	m->envelopes[1].next_ms = m->accepted_ms + 400000;
	stage_loaded(m);
	stage_restart("");
	assert_int_equal(stage.ntickets, 1);
	bed_advance(400000);
	assert_int_equal(stage.ntickets, 2);	/* not in ten years */
}

static void
test_the_body_is_read_back_after_a_restart(void **state)
{
	(void)state;
	stage_accept((struct stage_mail){ .n = 1 });
	assert_non_null(stage.first->message);	/* the first attempt has it in memory */
	stage_restart("");
	assert_null(stage.first->message);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STAGE_TEST(test_a_drain_takes_back_what_waits_and_ends),
		STAGE_TEST(test_a_drain_waits_for_what_is_in_flight_and_records_it),
		STAGE_TEST(test_a_drain_takes_back_what_is_still_being_routed),
		STAGE_TEST(test_mail_that_comes_during_a_drain_is_stored_and_waits),
		STAGE_TEST(test_a_stop_with_tickets_and_routes_out_frees_all),
		STAGE_TEST(test_a_stop_with_results_on_their_way_frees_all_and_tries_again),
		STAGE_TEST(test_a_stop_with_mail_at_the_spool_frees_all),
		STAGE_TEST(test_a_stop_in_a_lane_that_goes_on_at_its_next_turn_frees_all),
		STAGE_TEST(test_a_result_is_on_record_before_the_envelope_moves_on),
		STAGE_TEST(test_a_success_that_delivery_recorded_is_not_recorded_twice),
		STAGE_TEST(test_a_crash_after_each_result_repeats_nothing),
		STAGE_TEST(test_envelopes_come_back_as_they_were_recorded),
		STAGE_TEST(test_what_failed_stays_failed_and_what_is_held_stays_held),
		STAGE_TEST(test_bounces_are_counted_and_marked_as_such),
		STAGE_TEST(test_mail_comes_back_in_the_order_it_was_accepted),
		STAGE_TEST(test_two_messages_of_one_id_are_both_delivered),
		STAGE_TEST(test_what_was_accepted_by_a_clock_that_was_ahead_is_not_kept_for_ever),
		STAGE_TEST(test_the_body_is_read_back_after_a_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
