/*
 * test_queue_lanes.c - who gets a turn: lanes, their windows, and what a reload calls back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage.h"

static void
test_one_that_comes_home_makes_room_for_one(void **state)
{
	(void)state;
	stage_accept((struct stage_mail){ .n = 300, .domain = "big.example" });
	for (int i = 0; i < 50; i++) {
		stage_end(stage.first, GA_RESULT_SUCCESS);
		bed_turns(4);
		assert_int_equal(stage.ntickets, 200);
	}
	stage_check();
}

static void
test_lanes_are_told_apart_by_sender_and_virtual_mta(void **state)
{
	(void)state;
	stage_accept((struct stage_mail){ .n = 250, .domain = "big.example" });
	stage_accept((struct stage_mail){ .n = 250, .domain = "big.example", .sender = "x@other.example" });
	stage_accept((struct stage_mail){ .n = 250, .domain = "big.example", .vmta = "second" });
	assert_int_equal(stage.ntickets, 600);
	/* the local part of the sender makes no difference */
	stage_accept((struct stage_mail){ .n = 1, .domain = "big.example", .sender = "y@other.example" });
	assert_int_equal(stage.ntickets, 600);
}

static void
test_one_campaign_leaves_room_for_another_of_its_sender(void **state)
{
	unsigned second = 0, none = 0;
	uint32_t first;

	(void)state;
	stage_accept((struct stage_mail){ .n = 250, .domain = "big.example", .send = "spring" });
	first = stage.first->send_key;
	assert_int_not_equal(first, 0);
	stage_accept((struct stage_mail){ .n = 3, .domain = "big.example", .send = "summer" });
	stage_accept((struct stage_mail){ .n = 2, .domain = "big.example" });
	assert_int_equal(stage.ntickets, 205);
	for (const struct ga_ticket *t = stage.first; t != NULL; t = t->next) {
		second += t->send_key != 0 && t->send_key != first;
		none += t->send_key == 0;
	}
	assert_int_equal(second, 3);
	assert_int_equal(none, 2);
	stage_check();
}

static void
test_the_send_is_known_again_after_a_restart(void **state)
{
	uint32_t key;

	(void)state;
	stage_accept((struct stage_mail){ .domain = "big.example", .send = "spring" });
	key = stage.first->send_key;
	stage_restart("");
	assert_int_equal(stage.ntickets, 1);
	assert_int_equal(stage.first->send_key, key);
	assert_int_not_equal(key, 0);
}

/* --- routes that fail at once --- */

static enum ga_route_kind
big_fails(struct ga_str domain)
{
	return ga_str_eq(domain, GA_STR("big.example")) ? GA_ROUTE_FAIL : GA_ROUTE_DELIVER;
}

/* A post that makes the next one: between two of its turns other things happen. */
struct turn {
	struct ga_post post;
	unsigned turns, most, last, until;
	unsigned small_at;		/* attempts when the small mail had its ticket */
};

static void
my_turn(struct ga_worker *w, struct ga_post *post)
{
	struct turn *t = GA_CONTAINER(post, struct turn, post);

	if (stage.routed - t->last > t->most)
		t->most = stage.routed - t->last;
	t->last = stage.routed;
	t->turns++;
	if (t->small_at == 0 && stage_tickets_to("small.example") > 0)
		t->small_at = stage.routed;
	if (stage.routed < t->until)
		ga_loop_post(w, &t->post);
}

static void
turns_until(struct turn *t, unsigned until)
{
	t->post.fn = my_turn;
	t->until = until;
	t->last = stage.routed;
	ga_loop_post(ga_worker_get(0), &t->post);
	for (int i = 0; i < 2000 && t->last < until; i++)
		bed_turn();
	assert_int_equal(t->last, until);
}

static void
test_posts_get_their_turn_between_slices_of_failing_routes(void **state)
{
	struct turn t = { .turns = 0 };
	struct stage_submit *big, *small;

	(void)state;
	stage.kind_of = big_fails;
	big = stage_submit((struct stage_mail){ .n = 20000, .domain = "big.example" });
	small = stage_submit((struct stage_mail){ .domain = "small.example" });
	turns_until(&t, 20001);
	assert_in_range(t.most, 1, 102);
	assert_in_range(t.small_at, 1, 300);	/* not after the 20,000 before it */
	assert_int_equal(stage_stats().failed, 20000);
	bed_turns(4);
	stage_submit_free(big);
	stage_submit_free(small);
}

static void
test_each_that_comes_home_does_not_start_another_slice(void **state)
{
	struct turn t = { .turns = 0 };

	(void)state;
	stage_accept((struct stage_mail){ .n = 20200, .domain = "big.example" });
	stage.kind_of = big_fails;
	for (unsigned i = 0; i < 200; i++)
		stage_end(stage.first, GA_RESULT_SUCCESS);
	turns_until(&t, 20200);
	assert_in_range(t.most, 1, 100);
	assert_int_equal(stage_stats().failed, 20000);
}

/* --- a route that discards --- */

static void
test_what_is_discarded_is_no_success_and_does_not_come_back(void **state)
{
	uint64_t seq;
	struct ga_envelope e;
	char reply[1001];

	(void)state;
	stage.kind = GA_ROUTE_DISCARD;
	seq = stage_accept((struct stage_mail){ .n = 3, .domain = "d.example" });
	assert_int_equal(stage_stats().discarded_total, 3);
	assert_int_equal(stage_stats().success_total, 0);
	assert_int_equal(stage_stats().envelopes, 0);
	assert_int_equal(stage.ntickets, 0);
	assert_false(stage_recorded(seq, 0, &e, reply));
	stage.kind = GA_ROUTE_DELIVER;
	stage_restart("");
	assert_int_equal(stage_stats().envelopes, 0);
	assert_int_equal(stage.ntickets, 0);
}

/* --- reload --- */

static void
test_a_reload_calls_back_what_waits_and_routes_it_again(void **state)
{
	unsigned before;

	(void)state;
	stage_accept((struct stage_mail){ .n = 3 });
	assert_int_equal(stage.ntickets, 3);
	before = stage.routed;
	bed_reload("");
	bed_turns(10);
	assert_int_equal(stage.recalls, 1);
	assert_int_equal(stage.routed, before + 3);
	assert_int_equal(stage.ntickets, 3);
	assert_int_equal(stage.first->attempts, 0);	/* that was none */
	assert_true((stage.first->flags & GA_TICKET_FIRST) != 0);
	assert_int_equal(stage_spool().updates, 0);
	stage_check();
	stage_end_all(GA_RESULT_SUCCESS);
	assert_int_equal(stage_stats().success_total, 3);
}

static void
test_a_reload_leaves_alone_what_is_in_flight(void **state)
{
	const struct ga_ticket *t;
	unsigned before;

	(void)state;
	stage_accept((struct stage_mail){ .n = 3 });
	t = stage.first;
	before = stage.routed;
	stage.keeps_recalled = true;
	bed_reload("");
	bed_turns(10);
	assert_int_equal(stage.routed, before);
	assert_ptr_equal(stage.first, t);
	stage_end_all(GA_RESULT_SUCCESS);
	assert_int_equal(stage_stats().success_total, 3);
}

static void
test_what_a_reload_called_back_keeps_its_place(void **state)
{
	uint64_t first;

	(void)state;
	first = stage_accept((struct stage_mail){ .n = 200, .domain = "big.example" });
	stage_accept((struct stage_mail){ .n = 1000, .domain = "big.example" });
	bed_reload("");
	bed_turns(20);
	assert_int_equal(stage.ntickets, 200);
	for (const struct ga_ticket *t = stage.first; t != NULL; t = t->next)
		assert_int_equal(t->seq, first);
	stage_check();
}

static void
test_what_a_throttle_kept_from_starting_is_no_attempt(void **state)
{
	(void)state;
	stage_accept((struct stage_mail){ .n = 2, .domain = "d.example" });
	stage_end_all(GA_RESULT_CONNMAXOUT);
	assert_int_equal(stage.ntickets, 2);
	assert_int_equal(stage.first->attempts, 0);
	assert_int_equal(stage_spool().updates, 0);	/* and writes nothing */
	assert_int_equal(stage_stats().deferral_total, 0);
}

static void
test_routes_that_come_late_are_counted_and_bounded(void **state)
{
	(void)state;
	stage.routes_late = true;
	stage_accept((struct stage_mail){ .n = 300, .domain = "big.example" });
	assert_int_equal(stage_stats().in_flight, 200);
	assert_int_equal(stage.ntickets, 0);
	stage_check();
	stage_routes();
	assert_int_equal(stage.ntickets, 200);
	stage_check();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STAGE_TEST(test_one_that_comes_home_makes_room_for_one),
		STAGE_TEST(test_lanes_are_told_apart_by_sender_and_virtual_mta),
		STAGE_TEST(test_one_campaign_leaves_room_for_another_of_its_sender),
		STAGE_TEST(test_the_send_is_known_again_after_a_restart),
		STAGE_TEST(test_posts_get_their_turn_between_slices_of_failing_routes),
		STAGE_TEST(test_each_that_comes_home_does_not_start_another_slice),
		STAGE_TEST(test_what_is_discarded_is_no_success_and_does_not_come_back),
		STAGE_TEST(test_a_reload_calls_back_what_waits_and_routes_it_again),
		STAGE_TEST(test_a_reload_leaves_alone_what_is_in_flight),
		STAGE_TEST(test_what_a_reload_called_back_keeps_its_place),
		STAGE_TEST(test_what_a_throttle_kept_from_starting_is_no_attempt),
		STAGE_TEST(test_routes_that_come_late_are_counted_and_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
