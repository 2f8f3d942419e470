/*
 * test_queue_told.c - what modules are told of attempts that no connection was made for:
 * each end of an envelope once, with its addresses, and what limits keep from starting once
 * before each attempt.
 */
#include <stdio.h>
#include <string.h>

#include "stage.h"

#define S UINT64_C(1000)
#define KEPT (300 * S)			/* connmaxout_after */

static struct told {
	enum ga_attempt_status status;
	enum ga_outcome outcome;
	enum ga_queue_state queue;
	unsigned attempts;
	uint64_t envelope;
	char sender[64], recipient[64], text[200];
} told[400];
static unsigned ntold;

static void
copy(char *to, size_t room, struct ga_str s)
{
	snprintf(to, room, "%.*s", (int)s.n, s.n > 0 ? s.p : "");
}

static void
listen_to(struct ga_call *call, const struct ga_ev_attempt *ev)
{
	struct told *t = &told[ntold++];

	(void)call;
	*t = (struct told){ .status = ev->status, .outcome = ev->outcome, .queue = ev->queue,
		.attempts = ev->attempts, .envelope = ev->envelope_id };
	copy(t->sender, sizeof t->sender, ev->sender);
	copy(t->recipient, sizeof t->recipient, ev->recipient);
	copy(t->text, sizeof t->text, ev->text);
	assert_int_equal(ev->connection_id, 0);
	assert_int_equal(ev->mx_hostname.n, 0);
}

static int
setup(void **state)
{
	(void)state;
	stage_up_hooked("");
	stage.told = listen_to;
	ntold = 0;
	return 0;
}

static void
only(enum ga_attempt_status status, const char *text)
{
	if (ntold != 1)
		fail_msg("%u are told of", ntold);
	assert_int_equal(told[0].status, status);
	assert_string_equal(told[0].text, text);
	assert_string_equal(told[0].sender, "a@sender.example");
	assert_string_equal(told[0].recipient, "to0@d.example");
}

static void
accept_one(void)
{
	stage_accept((struct stage_mail){ .sender = "a@sender.example", .domain = "d.example" });
}

static void
test_what_its_route_ends_is_told_of(void **state)
{
	static const struct { enum ga_route_kind kind; enum ga_attempt_status status; enum ga_outcome outcome; } c[] = {
		{ GA_ROUTE_DEFER, GA_STATUS_DEFERRAL, GA_DEFERRED }, { GA_ROUTE_FAIL, GA_STATUS_FAILURE, GA_FAILED },
		{ GA_ROUTE_DISCARD, GA_STATUS_SUCCESS, GA_DELIVERED } };

	(void)state;
	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
		ntold = 0;
		stage.kind = c[i].kind;
		accept_one();
		assert_int_equal(ntold, 1);
		assert_int_equal(told[0].status, c[i].status);
		assert_int_equal(told[0].outcome, c[i].outcome);
		assert_int_equal(told[0].queue, GA_QUEUE_RAM);
		assert_int_equal(told[0].attempts, 1);
		assert_string_equal(told[0].recipient, "to0@d.example");
	}
}

static void
test_a_message_that_is_not_in_memory_is_read_for_it(void **state)
{
	(void)state;
	accept_one();
	stage_end_all(GA_RESULT_DEFERRAL);	/* delivery's to tell of */
	assert_int_equal(ntold, 0);
	stage.kind = GA_ROUTE_DISCARD;
	bed_advance(STAGE_DAY / 24);
	assert_int_equal(ntold, 1);
	assert_int_equal(told[0].queue, GA_QUEUE_DISK);
	assert_int_equal(told[0].attempts, 2);
	assert_string_equal(told[0].recipient, "to0@d.example");
	assert_int_equal(stage_stats().envelopes, 0);
}

static void
test_held_mail_that_expires_is_told_of(void **state)
{
	(void)state;
	stage_accept((struct stage_mail){ .sender = "a@sender.example", .domain = "d.example", .hold = true });
	bed_advance(2 * STAGE_DAY + 1);
	only(GA_STATUS_FAILURE_TOOLONG, "Held until its lifetime ended.");
}

static void
test_paused_mail_that_expires_is_told_of(void **state)
{
	(void)state;
	stage.kind = GA_ROUTE_PAUSED;
	accept_one();
	assert_int_equal(ntold, 0);
	bed_advance(2 * STAGE_DAY + 1);
	only(GA_STATUS_FAILURE_TOOLONG, "Delivery paused until its lifetime ended.");
}

static void
test_what_is_kept_from_starting_is_told_of_once_and_keeps_its_place(void **state)
{
	(void)state;
	stage.group = "ip2pd7";
	accept_one();
	bed_advance(KEPT - 1);
	assert_int_equal(ntold, 0);
	bed_advance(KEPT / 4 + 1);
	only(GA_STATUS_CONNMAXOUT, "Kept from starting by the limits of throttle group ip2pd7.");
	assert_int_equal(told[0].outcome, GA_DEFERRED);
	assert_int_equal(stage.ntickets, 1);
	assert_int_equal(stage_spool().updates, 0);	/* and writes nothing */
	assert_int_equal(stage_stats().deferral_total, 0);
	bed_advance(20 * KEPT);
	assert_int_equal(ntold, 1);
	stage_end_all(GA_RESULT_DEFERRAL);
	bed_advance(STAGE_DAY / 24);
	assert_int_equal(stage.ntickets, 1);
	bed_advance(2 * KEPT);
	assert_int_equal(ntold, 2);
	assert_int_equal(told[1].status, GA_STATUS_CONNMAXOUT);
	assert_int_equal(told[1].attempts, 2);
	assert_string_equal(told[1].recipient, "to0@d.example");
}

static void
test_a_reload_before_that_time_is_not_told_of(void **state)
{
	(void)state;
	accept_one();
	bed_advance(KEPT - 1);
	stage_end_all(GA_RESULT_RECALLED);
	assert_int_equal(ntold, 0);
	assert_int_equal(stage.ntickets, 1);
}

static void
test_what_limits_keep_until_its_lifetime_ends_fails_in_the_end(void **state)
{
	(void)state;
	accept_one();
	bed_advance(2 * STAGE_DAY + KEPT / 4);
	assert_int_equal(stage.ntickets, 1);
	assert_true((stage.first->flags & GA_TICKET_LAST_CHANCE) != 0);
	assert_int_equal(ntold, 1);			/* connmaxout, once */
	ntold = 0;
	bed_advance(2 * KEPT);
	assert_int_equal(stage.ntickets, 0);
	only(GA_STATUS_FAILURE_TOOLONG, "The limits of its throttle group kept it from starting until its lifetime ended.");
	assert_int_equal(stage_stats().toolong_total, 1);
}

static void
test_the_last_deferral_of_a_route_is_too_long(void **state)
{
	(void)state;
	accept_one();
	stage_end_all(GA_RESULT_DEFERRAL);
	stage.kind = GA_ROUTE_DEFER;
	bed_advance(3 * STAGE_DAY);
	assert_true(ntold > 1);
	for (unsigned i = 0; i + 1 < ntold; i++)
		assert_int_equal(told[i].status, GA_STATUS_DEFERRAL);
	assert_int_equal(told[ntold - 1].status, GA_STATUS_FAILURE_TOOLONG);
	assert_int_equal(told[ntold - 1].outcome, GA_FAILED);
	assert_int_equal(stage_stats().toolong_total, 1);
}

static void
test_a_stop_tells_of_what_was_being_read(void **state)
{
	(void)state;
	accept_one();
	stage_end_all(GA_RESULT_DEFERRAL);
	stage.kind = GA_ROUTE_FAIL;
	stage.reads_hang = true;
	bed_advance(STAGE_DAY / 24);
	assert_int_equal(ntold, 0);
	stage_kill();
	assert_int_equal(ntold, 1);
	assert_int_equal(told[0].status, GA_STATUS_FAILURE);
	assert_string_equal(told[0].recipient, "");
	stage_start("");
}

int
main(void)
{
#define TOLD_TEST(name) cmocka_unit_test_setup_teardown(name, setup, stage_teardown)
	const struct CMUnitTest tests[] = {
		TOLD_TEST(test_what_its_route_ends_is_told_of),
		TOLD_TEST(test_a_message_that_is_not_in_memory_is_read_for_it),
		TOLD_TEST(test_held_mail_that_expires_is_told_of),
		TOLD_TEST(test_paused_mail_that_expires_is_told_of),
		TOLD_TEST(test_what_is_kept_from_starting_is_told_of_once_and_keeps_its_place),
		TOLD_TEST(test_a_reload_before_that_time_is_not_told_of),
		TOLD_TEST(test_what_limits_keep_until_its_lifetime_ends_fails_in_the_end),
		TOLD_TEST(test_the_last_deferral_of_a_route_is_too_long),
		TOLD_TEST(test_a_stop_tells_of_what_was_being_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
